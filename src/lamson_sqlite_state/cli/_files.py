"""Options and errors for the files of rows that a command reads or writes beside the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from ..errors import StorageError
from ..transfer import Format

# The command that opens the file says what is wrong with it. Click would say it in other words.
FILE: Final = click.Path(readable=False)

format_option: Final = click.option(
    "--format",
    "form",
    type=click.Choice(("jsonl", "csv")),
    help="JSON Lines or CSV; by default, what the file's name says, or jsonl.",
)


def format_by_name(path: str) -> Format:
    """Return the format that a file's name says."""
    return "csv" if path.lower().endswith(".csv") else "jsonl"


@contextmanager
def named(file: str) -> Iterator[None]:
    """Give the errors from reading or writing a file its name, which the system leaves out."""
    try:
        yield
    except OSError as error:
        if error.filename is None and not isinstance(error, StorageError):
            error.filename = file
        raise
