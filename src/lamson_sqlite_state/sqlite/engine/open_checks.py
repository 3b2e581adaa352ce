"""How a connection is opened: whether that is safe now, and with which settings.

Everything here is called with `fork.open_lock` held.
"""

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from ...errors import NoStore, StorageError, UnsafeFork
from ..process import filesystem, fork, remedies
from ..process.filesystem import Identity
from . import schema
from .connections import database_of, is_unusable, side_files_here
from .driver_errors import OPENING_SECONDS, Busy
from .lock_probe import DEADMAN_SWITCH, SHARED_LOCKS, has_open, is_log_in_use, lock_holder
from .queries import first_row

WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SYNCHRONOUS_LEVELS: Final = {"NORMAL": 1, "FULL": 2}


class _SideFiles(Enum):
    """What the -wal and the -shm of a database are, as far as others tell."""

    RIGHT = auto()
    """They are those of all who have the database open, or of nobody."""

    LOST = auto()
    """They were deleted, or made anew, under a process that has the database open. A new log beside
    the one in use would lose acknowledged states."""

    COMING_AND_GOING = auto()
    """The -shm has just been deleted."""

    OF_OUR_OLD_DATABASE = auto()
    """The database was replaced, and this process has the old one open with them. So nobody else
    needs them. They would be replayed into the new database."""

    OF_ANOTHERS_OLD_DATABASE = auto()
    """As before, but another process has the old one open, and mends that at its next call."""


def refuse_unsafe(
    path: str, identity: Identity, side_files: tuple[str, str], *, is_locked: bool
) -> bool:
    """Do nothing where a connection to the database would be safe.

    Args:
        path: the database.
        identity: which file that is.
        side_files: paths of its -wal and -shm.
        is_locked: whether the caller holds the write lock.

    Returns:
        False where a log of this process's old database has to be removed first, which only the
        holder of the write lock may do.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
        StorageError: descriptors of the database were closed here, and given to other files; or the
            database alone is mounted, without its side files.
        Busy: a side file was deleted, or the database replaced, under a running process that
            mends that at its next call (`recovery`).
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
    found = {side_file: filesystem.identity(side_file) for side_file in side_files}
    what = _what_they_are(path, identity, found)
    if what is _SideFiles.OF_OUR_OLD_DATABASE:
        if is_locked:
            for side_file in side_files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(side_file)
        return is_locked
    if what is _SideFiles.LOST:
        # Or they are where another container has the database.
        remedies.refuse_alone_mounted(path)
        missing = [side_file for side_file, there in found.items() if there is None] or side_files
        blocker = (
            f"{' or '.join(map(os.path.basename, missing))} was deleted under a process that "
            "has the database open (its next call will mend that)"
        )
    elif what is _SideFiles.OF_ANOTHERS_OLD_DATABASE:
        blocker = (
            "the file was replaced under a process that has the old one open, whose log would "
            "be taken for the new one's (that process's next call will mend that)"
        )
    elif what is _SideFiles.COMING_AND_GOING:
        blocker = "its -shm comes and goes"
    else:
        return True
    raise Busy(blocker, OPENING_SECONDS)


def _what_they_are(
    path: str, identity: Identity, found: Mapping[str, Identity | None]
) -> _SideFiles:
    in_use_here = side_files_here(identity)
    is_in_use = in_use_here is not None or lock_holder(path, identity, SHARED_LOCKS) is not None
    if not is_in_use:
        # Both are there while anyone has the database open, and neither once all have closed it.
        return _SideFiles.RIGHT if None in found.values() else _whose_log(identity, *found)
    if None in found.values():
        return _SideFiles.LOST
    # Others may be where those were that were deleted: made by an opener that was just too late to
    # see them, and has left since.
    if in_use_here is None:
        are_right = is_log_in_use(*found)
    else:
        are_right = not in_use_here or found == in_use_here
    return _SideFiles.RIGHT if are_right else _SideFiles.LOST


def _whose_log(identity: Identity, _wal: str, shm: str) -> _SideFiles:
    # Nobody has the database open. If somebody has its log open, then with another database,
    # or is exiting this moment, as the kernel closes one file after the other. Neither may be
    # held against the log; waiting cures both. (The lock on the database may also have been
    # dropped, by a program that copied the file while it had it open: its descriptor tells.)
    shm_identity = filesystem.identity(shm)
    if shm_identity is None:
        return _SideFiles.COMING_AND_GOING
    if database_of(shm_identity) is not None:
        return _SideFiles.OF_OUR_OLD_DATABASE
    holder = lock_holder(shm, shm_identity, DEADMAN_SWITCH)
    if holder is None or has_open(holder, identity):
        return _SideFiles.RIGHT
    return _SideFiles.OF_ANOTHERS_OLD_DATABASE


def prepare(
    connection: sqlite3.Connection,
    path: str,
    synchronous: str,
    *,
    is_locked: bool,
    must_exist: bool = False,
) -> bool:
    """Make a new connection ready for use, and make a store of an empty file.

    Returns:
        False where a store has yet to be made, which only the holder of the write lock may do.

    Raises:
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
            return False
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
    return True


def unsafe_fork(path: str) -> UnsafeFork:
    """Return what every call in the child of an unhooked fork raises."""
    return UnsafeFork(
        "this process was forked by C code, past Python's fork hooks, while the store was open",
        "close() the store before such a fork, or fork before its first use",
        path,
    )
