"""Gives a command the store that it works on, and the printer for its results."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar, cast

import click

from ..maintenance import ExistingStorage
from ..sqlite.storage import SQLiteStorage
from ._printing import Printer

F = TypeVar("F", bound=Callable[..., Any])

_JSON: Final = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


class Session:
    """One call of the command.

    Attributes:
        given_path: the store's path, or None if it was not given.
        timeout_seconds: how long to wait for writers.
        other_files: the paths of the files that were given beside the store. An error about one
            of them is not the store's.
    """

    def __init__(self) -> None:
        self.given_path: str | None = None
        self.timeout_seconds = 30.0
        self.other_files: set[str] = set()

    @property
    def path(self) -> str:
        """The path of the store.

        Raises:
            click.UsageError: no path was given, or one that names no file.
        """
        if not self.given_path:
            raise click.UsageError("which store? Give --store PATH, or set LAMSON_STATE_STORE")
        if self.given_path == ":memory:":
            raise click.UsageError("':memory:' names no file: give the path of a store")
        return self.given_path

    def store(self) -> ExistingStorage:
        """Return the store, which must be there."""
        return ExistingStorage(self.path, timeout=self.timeout_seconds)

    @contextmanager
    def store_or_new(
        self, *, may_create: bool, is_dry_run: bool = False
    ) -> Iterator[SQLiteStorage]:
        """Give the store, or a new one where there is none.

        Args:
            may_create: whether to make a new store; without this, a missing store is an error.
            is_dry_run: whether to make the new store in a temporary directory.
        """
        with ExitStack() as stack:
            store: SQLiteStorage
            if not may_create or os.path.exists(self.path):
                store = self.store()
            elif is_dry_run:
                store = SQLiteStorage(f"{stack.enter_context(TemporaryDirectory())}/states")
            else:
                store = SQLiteStorage(self.path, timeout=self.timeout_seconds)
            yield stack.enter_context(store)

    def note_other_file(self, path: str) -> None:
        """Note a file that was given beside the store."""
        self.other_files |= {path, os.path.abspath(path), os.path.realpath(path)}


def with_session(command: F) -> F:
    """Pass a command its session and its printer, and give it the option --json."""

    @functools.wraps(command)
    def called(*args: Any, is_json: bool, **kwargs: Any) -> Any:
        session = click.get_current_context().find_object(Session)
        return command(session, Printer(is_json=is_json), *args, **kwargs)

    return cast("F", _JSON(called))
