"""Runs a query that may take long, and interrupts it at a signal, so that Ctrl-C works."""

import contextlib
import os
import select
import signal
import sqlite3
import threading
from functools import partial
from itertools import chain, starmap
from typing import Any, Final

from ..engine.queries import all_rows

_STEPS: Final = 10_000
"""So many steps of SQLite's machine take a millisecond or so."""

_PIPE_BYTES: Final = 4096


def rows_unless_signalled(connection: sqlite3.Connection, sql: str) -> list[Any]:
    """Return all rows of a query that may take long; what a signal handler raises ends it.

    Python runs signal handlers between two of its own steps only, so a query of a second would
    keep Ctrl-C waiting that long. Handlers must not run in the middle of a query, either: they may
    close the connection, or fork. So a signal interrupts the query, whichever thread the kernel
    gives it to; then its handler runs; and unless that raises, the query begins again.

    Args:
        connection: used by nobody else meanwhile.
        sql: the query.

    Raises:
        sqlite3.ProgrammingError: a signal handler has closed the connection.
    """
    if threading.current_thread() is not threading.main_thread():
        return all_rows(connection, sql)  # handlers run in the main thread
    steps = _STEPS
    while True:
        try:
            return _rows_until_a_signal(connection, sql, steps)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        steps *= 2  # so that no storm of signals keeps the query from its end


def _rows_until_a_signal(connection: sqlite3.Connection, sql: str, steps: int) -> list[Any]:
    # A signal has a byte written into a pipe, in whichever thread it arrives, and SQLite looks at
    # the pipe every so many steps of its machine. All of that is done in C, as SQLite's driver
    # swallows what a handler raises in a function of Python's that SQLite has called. Each
    # `finally` begins with the one call into C that must not be missed: see `process.reentry`.
    ends: list[int] = []
    pipe = chain.from_iterable(starmap(os.pipe, ((),)))
    close = map(os.close, ends)
    replaced: list[int] = []
    restore = map(signal.set_wakeup_fd, replaced)
    poll = select.poll()
    try:
        ends.extend(pipe)
        reader, writer = ends
        for end in ends:
            os.set_blocking(end, False)
        poll.register(reader, select.POLLIN)
        try:
            replaced.extend(map(signal.set_wakeup_fd, (writer,)))
            try:
                look: Any = partial(poll.poll, 0)  # what it returns is true if there is a byte
                connection.set_progress_handler(look, steps)
                return all_rows(connection, sql)
            finally:
                try:  # noqa: SIM105 - suppress() is a function of Python's
                    connection.set_progress_handler(None, 0)
                except sqlite3.ProgrammingError:  # a handler has closed the connection
                    pass
        finally:
            any(restore)
            if replaced and replaced[0] >= 0:  # asyncio's, say, which is to learn of the signals
                with contextlib.suppress(BlockingIOError):
                    os.write(replaced[0], os.read(reader, _PIPE_BYTES))
    finally:
        any(close)
