"""What a driver's error means: try again, or which of our errors, with which remedy."""

import os
import sqlite3
from typing import Final

from . import _remedies
from ._remedies import storage_error
from ._schema import salvage
from .errors import NotAStateFile, StorageError

__all__ = ["OPENING_SECONDS", "NeedsWriteLock", "NotNow", "translated"]


OPENING_SECONDS: Final = 0.25


class NotNow(Exception):
    """Somebody else has what this call needs; nothing was done, and it may be tried again.

    Args:
        culprit: who, as a clause for `LockTimeout`.
        grace_seconds: how long to try at least, whatever the timeout: others who are only
            just opening or closing the database are no writers that one would wait for.
    """

    def __init__(self, culprit: str, grace_seconds: float = 0) -> None:
        super().__init__(culprit)
        self.culprit = culprit
        self.grace_seconds = grace_seconds


class NeedsWriteLock(Exception):
    """The file is no store yet: making it one is for the holder of the write lock."""


def translated(error: sqlite3.Error, path: str, *, is_writing: bool) -> Exception:
    """Return what to raise ``from`` an error of SQLite's.

    Args:
        error: what the driver raised.
        path: the database.
        is_writing: whether it came out of a statement that writes.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        culprit = "another SQLite program holds a transaction on the database open"
        return NotNow(culprit, 0 if is_writing else OPENING_SECONDS)
    if primary == sqlite3.SQLITE_NOTADB:
        return NotAStateFile("this is not an SQLite database: give another path", path)
    if primary == sqlite3.SQLITE_CORRUPT:
        return NotAStateFile(
            f"the database is damaged ({error}): restore a backup, or make a store of what can be "
            f"read with {salvage(path)}",
            path,
        )
    if primary == sqlite3.SQLITE_FULL:
        return StorageError("the disk is full, nothing was written: free some space", path)
    if primary == sqlite3.SQLITE_READONLY:
        remedy = _remedies.obstacle(path) or (
            "give this user write permission to the file, its -wal and -shm, and the directory"
        )
        return StorageError(f"the database cannot be written, nothing was: {remedy}", path)
    if primary == sqlite3.SQLITE_CANTOPEN:
        return _cannot_open(path)
    if primary == sqlite3.SQLITE_IOERR:
        outcome = (
            "whether the state was written is unknown" if is_writing else "nothing was written"
        )
        remedy = _remedies.of_failing_disk(path)
        return StorageError(f"input/output error ({_name(error)}), {outcome}: {remedy}", path)
    if "decode to UTF-8" in str(error):  # the driver's own, with no code of SQLite's
        return NotAStateFile(
            "it holds a text that is no UTF-8, which no store has written: lamson-state check "
            "lists such rows",
            path,
        )
    if primary == sqlite3.SQLITE_ERROR and "no such" in str(error):
        return NotAStateFile(f"the table of states is not as it was made ({error})", path)
    return StorageError(f"SQLite says: {error} ({_name(error)})", path)


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)


def _cannot_open(path: str) -> StorageError:
    # SQLite keeps the reason to itself, so ask the system what it says to as many opens as a
    # store needs: the database, its -wal, its -shm and the lock file.
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
    remedy = _remedies.obstacle(path)
    if remedy is None:
        # Whatever kept it from being opened is over. Where other threads open files, too, that is
        # a shortage of descriptors.
        return StorageError(
            "the database, its -wal or its -shm could not be opened, but can be now: try again, "
            "and raise the limit of file descriptors if this process uses many (ulimit -n)",
            path,
        )
    return StorageError(f"the database or its -wal and -shm cannot be opened: {remedy}", path)
