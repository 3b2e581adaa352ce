"""How a connection is opened: whether that is safe now, and with which settings.

Everything here is called with `_fork.opening` held.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import quote

from . import _filesystem, _fork, _schema
from ._filesystem import Identity
from ._schema import first_row
from ._sqlite_errors import NeedsWriteLock, NotNow
from .errors import StorageError, UnsafeFork

__all__ = ["SideFiles", "connect", "open_here", "prepare", "refuse_unsafe", "unsafe_fork"]

SideFiles: TypeAlias = Mapping[str, Identity | None]

open_here: Final[dict[int, set[Identity | None]]] = {}
"""Which files this process has open through SQLite, by the id of the object that has."""

_WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SYNCHRONOUS_LEVELS: Final = {"NORMAL": 1, "FULL": 2}

# Length and start of the bytes where SQLite's unix VFS keeps its shared locks in a database
# (os.h, SHARED_FIRST and SHARED_SIZE). Whoever has a database in WAL mode open holds one.
_SHARED_LOCKS: Final = (510, 0x40000000 + 2)

# Likewise of the lock in a -shm that everyone holds who has it open (os_unix.c, UNIX_SHM_DMS).
_DEADMAN_SWITCH: Final = (1, 128)


def refuse_unsafe(
    path: str, identity: Identity | None, side_files: SideFiles, *, is_locked: bool
) -> None:
    """Do nothing where a connection to the database would be safe.

    Args:
        path: the database.
        identity: which file that is.
        side_files: its -wal and -shm, by their paths.
        is_locked: whether the caller holds the write lock.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
        NotNow: a side file was deleted under a running process, which mends that at its next
            call (`_rescue`). With a new log beside the one in use, acknowledged states would
            be lost.
        NeedsWriteLock: there is a log that belongs to another database, which only the holder
            of the write lock may remove.
    """
    if identity is not None and _fork.was_inherited(identity):
        raise unsafe_fork(path)
    if _is_open_here(identity):
        _refuse_missing(side_files)
        return
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        if _is_locked_by_others(descriptor, _SHARED_LOCKS):
            _refuse_missing(side_files)
        elif any(map(_is_shm_in_use, side_files)):
            # Nobody has this database open, nor can while we hold these locks, yet somebody
            # has its log open: the database was replaced under a running process. SQLite
            # would replay the log of the old one into the new one.
            if not is_locked:
                raise NeedsWriteLock
            for side_file in side_files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(side_file)
    finally:
        os.close(descriptor)


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


def _refuse_missing(side_files: SideFiles) -> None:
    # Both are there while anyone has the database open, and neither once all have closed it.
    missing = [path for path in side_files if not _filesystem.identity(path)]
    if missing:
        raise NotNow(
            f"{' and '.join(map(os.path.basename, missing))} was deleted under a process that has "
            "the database open (its next call will mend that)"
        )


def _is_open_here(identity: Identity | None) -> bool:
    # Closing a descriptor drops all POSIX locks that this process has on the file, so files
    # that are open in this process must not be opened to ask for locks.
    return any(identity in identities for identities in open_here.values())


def _is_shm_in_use(side_file: str) -> bool:
    identity = _filesystem.identity(side_file)
    if identity is None or not side_file.endswith("-shm"):
        return False
    if _is_open_here(identity):
        return True
    try:
        descriptor = os.open(side_file, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return _is_locked_by_others(descriptor, _DEADMAN_SWITCH)
    finally:
        os.close(descriptor)


def _is_locked_by_others(descriptor: int, locks: tuple[int, int]) -> bool:
    """Whether another process holds any of these POSIX locks. If not, this one does now."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *locks)
    except (BlockingIOError, PermissionError):
        return True
    return False
