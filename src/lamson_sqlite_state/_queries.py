"""Questions to SQLite whose answers have many rows, or take long."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

__all__ = ["LongQuery", "all_rows", "fetch"]

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


class LongQuery:
    """A query that takes long, in a thread of its own.

    Signals are handled only between two steps of Python, so a query of a second would keep Ctrl-C
    waiting that long. (A progress handler would be asked meanwhile, but the driver swallows what
    is raised in it.)

    Args:
        connection: used by nobody else meanwhile, and closed by nobody who has not called `stop`.
        sql: the query.
    """

    def __init__(self, connection: sqlite3.Connection, sql: str) -> None:
        self._connection = connection
        self._sql = sql
        self._rows: list[Any] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def rows(self, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Return all rows, once they are there. An exception in this thread ends the query.

        Args:
            meanwhile: is called ten times a second, and may raise.

        Raises:
            sqlite3.ProgrammingError: the connection was closed meanwhile.
        """
        try:
            self._thread.start()
            while self._thread.is_alive():
                self._thread.join(_TICK_SECONDS)
                meanwhile()
        finally:
            self.stop()
        for error in self._errors:
            _ = self._connection.total_changes  # closed by a fork: that is what to raise
            raise error
        return self._rows

    def stop(self) -> None:
        """Return once the thread has ended."""
        while self._thread.is_alive():
            self._connection.interrupt()  # again, as it may only be about to start
            self._thread.join(_TICK_SECONDS)

    def _run(self) -> None:
        try:
            self._rows.extend(all_rows(self._connection, self._sql))
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            self._errors.append(error)
