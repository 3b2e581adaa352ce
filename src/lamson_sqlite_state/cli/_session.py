"""What all commands need: the store that is meant, where the results go, and how they end."""

import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import click

from ..maintenance import ExistingStorage
from ..sqlite.storage import SQLiteStorage
from ._printing import Printer

F = TypeVar("F", bound=Callable[..., Any])

DONE: Final = 0
"""The exit status where all went well. The help documents each status."""

NOTHING: Final = 1
"""Nothing matched, or there was a finding."""

USAGE: Final = 2
"""The command, or a file that was given to it, is not as it should be."""

UNUSABLE: Final = 3
"""The store could not be used."""

_JSON: Final = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


class PipeClosed(Exception):
    """Nobody reads the output any more. For a BrokenPipeError, Click would exit with 1."""


class Interrupted(Exception):
    """Somebody has pressed Ctrl-C. For a KeyboardInterrupt, Click would print an empty line."""


class Session:
    """One call of the command.

    Attributes:
        given_path: of the store, or None if it was not given.
        timeout_seconds: how long to wait for writers.
        other_files: paths that were given to the command, beside the store's: an error about one
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
            click.UsageError: none was given.
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
        """Give the store, or a new one where it is missing, if that was asked for.

        Args:
            may_create: whether it was.
            is_dry_run: whether the new one is only for a moment.
        """
        if not may_create or os.path.exists(self.path):
            with self.store() as store:
                yield store
        elif is_dry_run:
            with tempfile.TemporaryDirectory() as nowhere, SQLiteStorage(f"{nowhere}/s") as store:
                yield store
        else:
            with SQLiteStorage(self.path, timeout=self.timeout_seconds) as store:
                yield store

    def other_file(self, path: str) -> str:
        """Note a file that was given beside the store."""
        self.other_files |= {path, os.path.abspath(path), os.path.realpath(path)}
        return path


def with_session(command: F) -> F:
    """Pass a command its session and its printer, and give it the option --json."""

    @functools.wraps(command)
    def called(*args: Any, is_json: bool, **kwargs: Any) -> Any:
        session = click.get_current_context().find_object(Session)
        return command(session, Printer(is_json=is_json), *args, **kwargs)

    return cast("F", _JSON(passing_ends_on(called)))


def passing_ends_on(command: F) -> F:
    """Raise `PipeClosed` and `Interrupted` for what Click would end the command with itself."""

    @functools.wraps(command)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError as error:
            raise PipeClosed from error
        except KeyboardInterrupt as error:
            raise Interrupted from error

    return cast("F", called)
