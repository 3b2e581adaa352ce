"""Questions to SQLite whose answers have many rows, or take long."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

__all__ = ["all_rows", "fetch", "patiently"]

_TICK_SECONDS: Final = 0.1


def fetch(
    connection: sqlite3.Connection,
    statements: Sequence[str],
    parameters: Sequence[Sequence[object]],
) -> list[Any]:
    """Run statements and return the rows that they yield, in one call into C: see `first_row`."""
    return list(chain.from_iterable(map(connection.execute, statements, parameters)))


def all_rows(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[object] = ()
) -> list[Any]:
    """Return all rows of a query: as `fetch`."""
    return fetch(connection, (sql,), (parameters,))


def patiently(connection: sqlite3.Connection, sql: str, meanwhile: Callable[[], None]) -> list[Any]:
    """Return all rows of a query that takes long; an exception in this thread ends it at once.

    It runs in a thread of its own, as signals are handled only between two steps of Python: a
    query of a second would keep Ctrl-C waiting that long. (A progress handler would be asked
    meanwhile, but the driver swallows what is raised in it.)

    Args:
        connection: used by nobody else meanwhile.
        sql: the query.
        meanwhile: is called ten times a second.
    """
    rows: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            rows.extend(all_rows(connection, sql))
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    try:
        thread.start()
        while thread.is_alive():
            thread.join(_TICK_SECONDS)
            meanwhile()
    finally:
        while thread.is_alive():
            connection.interrupt()  # again, as it may only be about to start
            thread.join(_TICK_SECONDS)
    for error in errors:
        raise error
    return rows
