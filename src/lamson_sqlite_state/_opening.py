"""How a connection is opened: whether that is safe now, and with which settings.

Everything here is called with `_fork.opening` held.
"""

import contextlib
import os
import sqlite3
from collections.abc import Collection
from typing import Final

from . import _filesystem, _fork, _schema
from ._filesystem import Identity
from ._schema import first_row
from ._sharing import DEADMAN_SWITCH, SHARED_LOCKS, Interrupted, Probe, is_open_here
from ._sqlite_errors import NeedsWriteLock, NotNow
from .errors import StorageError, UnsafeFork

__all__ = ["prepare", "refuse_unsafe", "unsafe_fork"]

_WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SYNCHRONOUS_LEVELS: Final = {"NORMAL": 1, "FULL": 2}


def refuse_unsafe(
    path: str,
    identity: Identity,
    side_files: Collection[str],
    probes: list[Probe],
    *,
    is_locked: bool,
) -> None:
    """Do nothing where a connection to the database would be safe.

    Args:
        path: the database.
        identity: which file that is.
        side_files: paths of its -wal and -shm.
        probes: where a signal handler that closes the store, or forks, finds what is open.
        is_locked: whether the caller holds the write lock.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
        NotNow: a side file was deleted under a running process, which mends that at its next
            call (`_rescue`). With a new log beside the one in use, acknowledged states would
            be lost.
        NeedsWriteLock: there is a log that belongs to another database, which only the holder
            of the write lock may remove.
    """
    if _fork.was_inherited(identity):
        raise unsafe_fork(path)
    if is_open_here(identity):
        _refuse_missing(side_files)
        return
    database = Probe(path)
    probes.append(database)
    try:
        if database.is_locked_by_others(SHARED_LOCKS):
            _refuse_missing(side_files)
        elif any(_is_shm_in_use(side_file, probes) for side_file in side_files):
            # Nobody has this database open, nor can while we hold these locks, yet somebody
            # has its log open: the database was replaced under a running process. SQLite
            # would replay the log of the old one into the new one.
            if not is_locked:
                raise NeedsWriteLock
            for side_file in side_files:
                with contextlib.suppress(FileNotFoundError):
                    # No call stands between look and deed, so no signal handler does. One that
                    # used the store has closed the probe, and then the log may be its own.
                    if database.descriptor is None:
                        raise Interrupted
                    os.unlink(side_file)
    finally:
        database.close()


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


def _refuse_missing(side_files: Collection[str]) -> None:
    # Both are there while anyone has the database open, and neither once all have closed it.
    missing = [path for path in side_files if not _filesystem.identity(path)]
    if missing:
        raise NotNow(
            f"{' and '.join(map(os.path.basename, missing))} was deleted under a process that has "
            "the database open (its next call will mend that)"
        )


def _is_shm_in_use(side_file: str, probes: list[Probe]) -> bool:
    identity = _filesystem.identity(side_file)
    if identity is None or not side_file.endswith("-shm"):
        return False
    if is_open_here(identity):
        return True
    try:
        probe = Probe(side_file)
    except FileNotFoundError:
        return False
    probes.append(probe)
    try:
        return probe.is_locked_by_others(DEADMAN_SWITCH)
    finally:
        probe.close()
