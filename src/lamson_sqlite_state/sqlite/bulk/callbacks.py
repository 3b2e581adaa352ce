"""Functions that a caller gives us to be called: what they raise is the caller's."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec

P = ParamSpec("P")


class _Raised(Exception):
    """Passes by all that judges errors of the system and of SQLite."""


@contextmanager
def raising_through(function: Callable[P, None]) -> Iterator[Callable[P, None]]:
    """Give a function that does the same, and have what it raises come out of the block unjudged.

    A progress bar whose terminal is gone raises an `OSError`, as a full disk does.
    """
    errors: list[Exception] = []

    def call(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            function(*arguments, **options)
        except (OSError, sqlite3.Error) as error:
            errors.append(error)
            raise _Raised from error

    with suppress(_Raised):
        yield call
    if errors:
        raise errors.pop()
