"""Questions to SQLite whose answers have many rows, or take long."""

import _thread
import os
import sqlite3
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
        # Single locks and flags, as a signal handler that raises, or asks to stop, may come between
        # any two lines: then Thread and Event leave locks taken behind, and may take a thread for
        # ended that is not.
        self._is_stopped = self._is_running = self._is_over = False
        self._over = _thread.allocate_lock()
        self._over.acquire()
        self._process = -1

    def rows(self, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Return all rows, once they are there. An exception in this thread ends the query.

        Args:
            meanwhile: is called ten times a second, and may raise.

        Raises:
            sqlite3.ProgrammingError: the connection was closed meanwhile, or this is a child that a
                signal handler has forked meanwhile.
        """
        self._process = os.getpid()
        try:
            try:
                _thread.start_new_thread(self._run, ())
                while not self._is_awaited():
                    meanwhile()
            finally:
                self.stop()
        finally:
            self.stop()  # a second Ctrl-C may have struck before the first one was under way
        if self._process != os.getpid():
            self._errors.append(sqlite3.ProgrammingError("a fork has left the query to the parent"))
        for error in self._errors:
            _ = self._connection.total_changes  # closed by a fork: that is what to raise
            raise error
        return self._rows

    def stop(self) -> None:
        """Return once the query is over, or will never begin: the connection may be closed then.

        What a signal handler raises meanwhile is raised after that.
        """
        self._is_stopped = True
        raised: BaseException | None = None
        while self._is_running and self._process == os.getpid():
            try:
                self._connection.interrupt()  # again, as it may only be about to start
                self._is_awaited()
            except BaseException as error:  # noqa: BLE001 - it is raised below
                raised = error
        if raised is not None:
            raise raised

    def _is_awaited(self) -> bool:
        """Wait a tick at most; return whether the query is over, or in another process."""
        is_over = self._over.acquire(timeout=_TICK_SECONDS)
        return is_over or self._is_over or self._process != os.getpid()

    def _run(self) -> None:
        self._is_running = True  # before it is known whether it is to: `stop` asks the other way
        try:
            if not self._is_stopped:
                self._rows.extend(all_rows(self._connection, self._sql))
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            self._errors.append(error)
        finally:
            self._is_over, self._is_running = True, False
            self._over.release()
