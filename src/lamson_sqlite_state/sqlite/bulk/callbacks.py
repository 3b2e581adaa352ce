"""Calls functions of the caller's (progress), and lets their errors out as they are."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

P = ParamSpec("P")


class _Raised(Exception):
    """Carries an error past all code that handles `OSError` and `sqlite3.Error`."""


@contextmanager
def raising_through(function: Callable[P, None]) -> Iterator[Callable[P, None]]:
    """Give a function that does the same, and let its errors leave the block as they are.

    A progress bar whose terminal is gone raises an `OSError`, as a full disk does. Without this,
    the block would report an error of the store.
    """

    def call(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            function(*arguments, **options)
        except (OSError, sqlite3.Error) as error:
            raise _Raised(error) from error

    try:
        yield call
    except _Raised as raised:
        error = raised.args[0]
        raise error from error.__cause__
