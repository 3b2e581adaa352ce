"""Translates an error of sqlite3: into `Busy` (try again), or a `StorageError` with a remedy."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Final

from ...errors import NO_PERMISSION, LockTimeout, NotAStateFile, Obstacle, StorageError
from ..process import remedies
from ..process.remedies import storage_error
from .schema import remedy_for_damage

OPENING_SECONDS: Final = 0.25

_LOOK_INSIDE: Final = "look at the file with the sqlite3 shell, or restore a backup"


class Busy(Exception):
    """Another process or thread has what this call needs. Nothing was done; the call may try again.

    Args:
        blocker: who has it, as a clause for `LockTimeout`.
        grace_seconds: how long to try at least, whatever the timeout. A process that is just
            opening or closing the database is done in a moment, and is no writer, for whom the
            timeout is meant.
    """

    def __init__(self, blocker: str, grace_seconds: float = 0) -> None:
        super().__init__(blocker)
        self.blocker = blocker
        self.grace_seconds = grace_seconds


def translated(error: sqlite3.Error, path: str, *, is_writing: bool) -> Exception:
    """Return what to raise ``from`` an error of SQLite's.

    Args:
        error: what the driver raised.
        path: the database.
        is_writing: whether the error came from a statement that writes.
    """
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        blocker = "another SQLite program holds a transaction on the database open"
        return Busy(blocker, 0 if is_writing else OPENING_SECONDS)
    if primary == sqlite3.SQLITE_NOTADB:
        return NotAStateFile("this is not an SQLite database", "give another path", path)
    if primary == sqlite3.SQLITE_CORRUPT:
        problem = f"the database is damaged ({error})"
        return NotAStateFile(problem, remedy_for_damage(path), path, code="damaged")
    if primary == sqlite3.SQLITE_FULL:
        problem = "the disk is full, nothing was written"
        return StorageError(problem, "free some space", path, code="disk-full")
    if primary == sqlite3.SQLITE_READONLY:
        found = remedies.obstacle(path) or NO_PERMISSION
        return found.error("the database cannot be written, nothing was", path)
    if primary == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path)
    if primary == sqlite3.SQLITE_IOERR:
        return _failing_disk(error, path, is_writing=is_writing)
    if "decode to UTF-8" in str(error):  # the driver's own, with no code of SQLite's
        return NotAStateFile(
            "it holds a text that is no UTF-8, which no store has written",
            "lamson-state check lists such rows",
            path,
            code="unreadable-row",
        )
    if primary == sqlite3.SQLITE_ERROR and "no such" in str(error):
        problem = f"the table of states is not as it was made ({error})"
        return NotAStateFile(problem, _LOOK_INSIDE, path)
    problem = f"SQLite says: {error} ({_name(error)})"
    return StorageError(problem, _LOOK_INSIDE, path, code="sqlite-error")


@contextlib.contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into those of this package, while a copy of a store is read.

    Raises:
        LockTimeout: another program writes to the copy.
        StorageError: what `translated` returns.
    """
    try:
        yield
    except sqlite3.Error as error:
        ours = translated(error, path, is_writing=False)
        if isinstance(ours, Busy):
            ours = LockTimeout(ours.blocker, "end that program", path)
        raise ours from error


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)


def _failing_disk(error: sqlite3.Error, path: str, *, is_writing: bool) -> StorageError:
    found, outcome = remedies.of_failing_disk(path), "nothing was written"
    if is_writing:  # the code has to tell that, whatever the reason
        outcome = "whether the state was written is unknown"
        found = Obstacle("outcome-unknown", found.remedy, found.reason)
    return found.error(f"input/output error ({_name(error)}), {outcome}", path)


def _cannot_open(path: str) -> StorageError:
    # SQLite does not tell the reason. So open as many files as a store needs (the database, its
    # -wal, its -shm and the lock file), and see what the system says.
    descriptors: list[int] = []
    try:
        while len(descriptors) < 4:
            descriptors.append(os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY))
        os.stat(path)
    except OSError as error:
        return storage_error(error, path)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    found = remedies.obstacle(path)
    if found is None:
        # The reason is gone by now. Most likely other threads had used up the descriptors.
        return StorageError(
            "the database, its -wal or its -shm could not be opened, but can be now",
            "try again, and raise the limit of file descriptors if this process uses many "
            "(ulimit -n)",
            path,
            code="too-many-files",
        )
    return found.error("the database or its -wal and -shm cannot be opened", path)
