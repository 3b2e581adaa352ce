"""How a connection is opened: whether that is safe now, and with which settings.

Everything here is called with `_fork.opening` held.
"""

import fcntl
import os
import sqlite3
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from . import _filesystem, _fork, _schema
from ._filesystem import Identity
from ._schema import first_row
from ._sqlite_errors import NeedsWriteLock, NotNow
from .errors import StorageError, UnsafeFork

__all__ = ["connect", "open_here", "prepare", "refuse_unsafe", "unsafe_fork"]

open_here: Final[dict[int, Identity]] = {}
"""Which databases this process has open, by the id of the object that has it open."""

_WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SYNCHRONOUS_LEVELS: Final = {"NORMAL": 1, "FULL": 2}

# Length and start of the bytes where SQLite's unix VFS keeps its shared locks in a database
# (os.h, SHARED_FIRST and SHARED_SIZE). Whoever has a database in WAL mode open holds one.
_SHARED_LOCKS: Final = (510, 0x40000000 + 2)


def refuse_unsafe(
    path: str, identity: Identity | None, side_files: Mapping[str, Identity | None]
) -> None:
    """Do nothing where a connection to the database would be safe.

    Args:
        path: the database.
        identity: which file that is.
        side_files: its -wal and -shm, by their paths.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
        NotNow: a side file was deleted under a running process, which mends that at its next
            call (`_rescue`). With a new log beside the one in use, acknowledged states would
            be lost.
    """
    if identity is not None and _fork.was_inherited(identity):
        raise unsafe_fork(path)
    # Both are there while anyone has the database open, and neither once all have closed it.
    missing = [side_file for side_file in side_files if not _filesystem.identity(side_file)]
    if missing and _is_in_use(path, identity):
        raise NotNow(
            f"{' and '.join(map(os.path.basename, missing))} was deleted under a process that has "
            "the database open (its next call will mend that)"
        )


def connect(path: str) -> sqlite3.Connection:
    """Return a new connection to an existing file. It holds no locks until it is used."""
    return sqlite3.connect(
        # mode=rw: a file deleted a moment ago is not created anew with SQLite's permissions.
        f"file:{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )


def prepare(
    connection: sqlite3.Connection, path: str, synchronous: str, *, is_locked: bool
) -> None:
    """Make a new connection ready for use, and make a store of an empty file.

    Raises:
        NeedsWriteLock: the file is empty and the caller does not hold the write lock.
        StorageError: the file cannot be used as a store, or not with these settings.
    """
    # Another program may have planted triggers or views with functions in them.
    connection.execute("PRAGMA trusted_schema = OFF")
    if not _schema.is_sound(connection, path):
        if not is_locked:
            raise NeedsWriteLock
        _schema.create(connection, path)
    first_row(connection, f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # SQLite ignores what it does not know or cannot do, so read back what we promise.
    (level,) = first_row(connection, "PRAGMA synchronous")
    if level != _SYNCHRONOUS_LEVELS[synchronous]:
        raise StorageError(
            f"SQLite has synchronous={level} where {synchronous} was asked for: use another "
            "build of SQLite",
            path,
        )


def unsafe_fork(path: str) -> UnsafeFork:
    """Return what every call in the child of an unhooked fork raises."""
    return UnsafeFork(
        "this process was forked by C code, past Python's fork hooks, while the store was open: "
        "close() the store before such a fork, or fork before its first use",
        path,
    )


def _is_in_use(path: str, identity: Identity | None) -> bool:
    # Closing a descriptor drops all POSIX locks that this process has on the file, so the
    # file must not be touched where this process has it open itself.
    if identity in open_here.values():
        return True
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SHARED_LOCKS)
    except (BlockingIOError, PermissionError):
        return True
    finally:
        os.close(descriptor)
    return False
