"""How a connection is opened: whether that is safe now, and with which settings.

Everything here is called with `fork.open_lock` held.
"""

import contextlib
import os
import sqlite3
from typing import Final

from ...errors import NoStore, StorageError, UnsafeFork
from ..process import filesystem, fork, remedies
from ..process.filesystem import Identity
from . import schema
from .connections import (
    DEADMAN_SWITCH,
    SHARED_LOCKS,
    database_of,
    has_open,
    is_log_in_use,
    is_unusable,
    lock_holder,
    side_files_here,
)
from .driver_errors import OPENING_SECONDS, Busy, NeedsWriteLock
from .schema import first_row

WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SYNCHRONOUS_LEVELS: Final = {"NORMAL": 1, "FULL": 2}


def refuse_unsafe(
    path: str, identity: Identity, side_files: tuple[str, str], *, is_locked: bool
) -> None:
    """Do nothing where a connection to the database would be safe.

    Args:
        path: the database.
        identity: which file that is.
        side_files: paths of its -wal and -shm.
        is_locked: whether the caller holds the write lock.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
        StorageError: descriptors of it were closed here, and given to other files.
        Busy: a side file was deleted, or the database replaced, under a running process that
            mends it at its next call (`recovery`). A new log beside the one in use would lose
            acknowledged states; the old log would be replayed into the new database.
        StorageError: the database alone is mounted, without its side files.
        NeedsWriteLock: this process itself has the replaced database open, so its log is known
            to be of no use to others, but only the holder of the write lock may remove it.
    """
    if fork.was_inherited(identity):
        raise unsafe_fork(path)
    if is_unusable(identity):
        raise StorageError(
            "this process has closed the descriptors of the open store (as python-daemon does), "
            "and opened other files that have their numbers now",
            "restart it, and close() the store before it becomes a daemon, or use it only after "
            "that",
            path,
            code="descriptors-lost",
        )
    # Both are there while anyone has the database open, and neither once all have closed it.
    found = {side_file: filesystem.identity(side_file) for side_file in side_files}
    missing = [side_file for side_file, there in found.items() if there is None]
    in_use = side_files_here(identity)
    is_in_use = in_use is not None or lock_holder(path, identity, SHARED_LOCKS) is not None
    if not is_in_use and not missing:
        _refuse_log_of_another(identity, side_files, is_locked=is_locked)
    elif is_in_use and not missing:
        # Others may be where those were that were deleted: made by an opener that was just too
        # late to see them, and has left since.
        are_theirs = found == in_use if in_use else in_use is not None or is_log_in_use(*side_files)
        missing = [] if are_theirs else list(side_files)
    if is_in_use and missing:
        # Or they are where another container has the database.
        remedies.refuse_alone_mounted(path)
        raise Busy(
            f"{' or '.join(map(os.path.basename, missing))} was deleted under a process that "
            "has the database open (its next call will mend that)",
            OPENING_SECONDS,
        )


def _refuse_log_of_another(
    identity: Identity, side_files: tuple[str, str], *, is_locked: bool
) -> None:
    # Nobody has the database open. If somebody has its log open, then with another database,
    # or is exiting this moment, as the kernel closes one file after the other. Neither may be
    # held against the log; waiting cures both. (The lock on the database may also have been
    # dropped, by a program that copied the file while it had it open: its descriptor tells.)
    shm = side_files[1]
    shm_identity = filesystem.identity(shm)
    if shm_identity is None:
        raise Busy("its -shm comes and goes", OPENING_SECONDS)
    if database_of(shm_identity) is not None:
        if not is_locked:
            raise NeedsWriteLock
        for side_file in side_files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(side_file)
        return
    holder = lock_holder(shm, shm_identity, DEADMAN_SWITCH)
    if holder is not None and not has_open(holder, identity):
        raise Busy(
            "the file was replaced under a process that has the old one open, whose log would "
            "be taken for the new one's (that process's next call will mend that)",
            OPENING_SECONDS,
        )


def prepare(
    connection: sqlite3.Connection,
    path: str,
    synchronous: str,
    *,
    is_locked: bool,
    must_exist: bool = False,
) -> None:
    """Make a new connection ready for use, and make a store of an empty file.

    Raises:
        NeedsWriteLock: the file is empty and the caller does not hold the write lock.
        NoStore: it is an empty database, of which none is to be made.
        StorageError: the file cannot be used as a store, or not with these settings.
    """
    # Another program may have planted triggers or views with functions in them.
    connection.execute("PRAGMA trusted_schema = OFF")
    if not schema.is_sound(connection, path):
        if must_exist and not schema.is_ours(connection):
            raise NoStore(
                "this is an empty database, and none is made here",
                "give the path of a store",
                path,
            )
        if not is_locked:
            raise NeedsWriteLock
        schema.create(connection, path)
    first_row(connection, f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # SQLite ignores what it does not know or cannot do, so read back what we promise.
    (level,) = first_row(connection, "PRAGMA synchronous")
    if level != _SYNCHRONOUS_LEVELS[synchronous]:
        raise StorageError(
            f"SQLite has synchronous={level} where {synchronous} was asked for",
            "use another build of SQLite",
            path,
            code="sqlite-error",
        )


def unsafe_fork(path: str) -> UnsafeFork:
    """Return what every call in the child of an unhooked fork raises."""
    return UnsafeFork(
        "this process was forked by C code, past Python's fork hooks, while the store was open",
        "close() the store before such a fork, or fork before its first use",
        path,
    )
