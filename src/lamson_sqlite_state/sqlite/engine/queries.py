"""Runs SQL statements whole: in one call into C, in which no signal handler can run.

Python runs signal handlers only between instructions of Python code. If a handler closed the store
or forked in the middle of a statement, the statement would stay half read, and would keep the
closed connection's files open: see rule 2 of `process.reentry`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final

_row_count: Final = attrgetter("rowcount")  # -1 of a statement such as PRAGMA or SELECT


def first_row(
    connection: sqlite3.Connection | sqlite3.Cursor, sql: str, parameters: Sequence[object] = ()
) -> Any:
    """Run a query that yields at most one row, and return that row, or None."""
    try:
        return next(chain.from_iterable(map(connection.execute, (sql,), (parameters,))), None)
    finally:
        del connection  # the traceback of an error would keep it, and its files open


def run_in_c(connection: sqlite3.Connection, *statements: tuple[str, Sequence[object]]) -> int:
    """Run statements, each with its parameters, and return the most rows that one of them changed.

    If one fails, those before it have run, and those after it do not run.
    """
    changed: int = max(map(_row_count, map(connection.execute, *zip(*statements, strict=True))))
    return changed


def fetch(
    connection: sqlite3.Connection,
    statements: Sequence[str],
    parameters: Sequence[Sequence[object]],
) -> list[Any]:
    """Run statements and return the rows that they yield."""
    return list(chain.from_iterable(map(connection.execute, statements, parameters)))


def all_rows(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[object] = ()
) -> list[Any]:
    """Return all rows of a query."""
    return fetch(connection, (sql,), (parameters,))
