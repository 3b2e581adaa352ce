"""How a connection is opened: whether that is safe now, and with which settings.

Everything here is called with `fork.open_lock` held.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Final

from ...errors import NoStore, StorageError, UnsafeFork
from ..process import filesystem, fork, new_files, remedies
from ..process.backoff import LOG
from ..process.filesystem import Identity
from ..process.store_paths import StorePaths
from . import schema
from .connections import database_of, is_unusable, side_files_here
from .driver_errors import OPENING_SECONDS, Busy
from .lock_probe import DEADMAN_SWITCH, SHARED_LOCKS, has_open, is_log_in_use, lock_holder
from .queries import first_row
from .settings import Settings

WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024

_SYNCHRONOUS_LEVELS: Final = {"NORMAL": 1, "FULL": 2}


class SeenFiles:
    """Which files had the names before a connection to a database was made.

    Args:
        path: the database.
        identity: which file that is.

    Attributes:
        path: the same.
        identity: the same.
        paths: of the database's files.
        side_files: which files the -wal and the -shm were.
    """

    def __init__(self, path: str, identity: Identity) -> None:
        self.path: str = path
        self.identity: Identity = identity
        self.paths: StorePaths = StorePaths(path)
        self.side_files: Mapping[str, Identity | None] = self._now()

    def refuse_replaced(self) -> Mapping[str, Identity | None]:
        """Return which side files have the names now, if no file that was there has been replaced.

        Raises:
            Busy: what was opened is not what others have open. Two logs, or two indexes of one log,
                would lose states.
        """
        found = self._now()
        for side_file, identity in found.items():
            if self.side_files[side_file] not in (None, identity):
                raise Busy(f"{os.path.basename(side_file)} keeps being deleted", OPENING_SECONDS)
        if self.identity != filesystem.identity(self.path):
            raise Busy("the database keeps being replaced", OPENING_SECONDS)
        return found

    def _now(self) -> Mapping[str, Identity | None]:
        return {path: filesystem.identity(path) for path in self.paths.side_files}


class _SideFiles:
    """What the -wal and the -shm of a database are: each is a text of what a call has to wait for.

    (No Enum, because making one takes a twentieth of the package's import.)
    """

    # They are those of all who have the database open, or of nobody.
    RIGHT: Final = ""
    # The database was replaced, and this process has the old one open with them. So nobody else
    # needs them. They would be replayed into the new database.
    OF_OUR_OLD_DATABASE: Final = "this process has the old database open, which was replaced"
    OF_ANOTHERS_OLD_DATABASE: Final = (
        "the file was replaced under a process that has the old one open, whose log would be taken "
        "for the new one's (that process's next call will mend that)"
    )
    # They were deleted, or made anew. A new log beside the one in use would lose acknowledged
    # states.
    LOST: Final = (
        "{missing} was deleted under a process that has the database open (its next call will mend "
        "that)"
    )
    COMING_AND_GOING: Final = "its -shm comes and goes"


def refuse_unsafe(seen: SeenFiles, *, is_locked: bool) -> bool:
    """Do nothing where a connection to the database would be safe.

    Args:
        seen: the files that have the names now.
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
    _refuse_unusable(seen.path, seen.identity)
    what = _what_they_are(seen)
    if what == _SideFiles.OF_OUR_OLD_DATABASE:
        if is_locked:
            for side_file in seen.side_files:
                new_files.remove(side_file)
        return is_locked
    if what == _SideFiles.LOST:
        # Or they are where another container has the database.
        remedies.refuse_alone_mounted(seen.path)
    if what != _SideFiles.RIGHT:
        missing = [path for path, there in seen.side_files.items() if there is None]
        names = map(os.path.basename, missing or seen.side_files)
        raise Busy(what.format(missing=" or ".join(names)), OPENING_SECONDS)
    return True


def _refuse_unusable(path: str, identity: Identity) -> None:
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


def _what_they_are(seen: SeenFiles) -> str:
    in_use_here = side_files_here(seen.identity)
    is_one_missing = None in seen.side_files.values()
    if in_use_here is None and lock_holder(seen.path, seen.identity, SHARED_LOCKS) is None:
        # Both are there while anyone has the database open, and neither once all have closed it.
        return _SideFiles.RIGHT if is_one_missing else _whose_log(seen)
    if is_one_missing:
        return _SideFiles.LOST
    # Others may be where those were that were deleted: made by an opener that was just too late to
    # see them, and has left since.
    if in_use_here is None:
        are_right = is_log_in_use(*seen.paths.side_files)
    else:
        are_right = not in_use_here or seen.side_files == in_use_here
    return _SideFiles.RIGHT if are_right else _SideFiles.LOST


def _whose_log(seen: SeenFiles) -> str:
    # Nobody has the database open. If somebody has its log open, then with another database,
    # or is exiting this moment, as the kernel closes one file after the other. Neither may be
    # held against the log; waiting cures both. (The lock on the database may also have been
    # dropped, by a program that copied the file while it had it open: its descriptor tells.)
    shm_identity = filesystem.identity(seen.paths.shm)
    if shm_identity is None:
        return _SideFiles.COMING_AND_GOING
    if database_of(shm_identity) is not None:
        return _SideFiles.OF_OUR_OLD_DATABASE
    holder = lock_holder(seen.paths.shm, shm_identity, DEADMAN_SWITCH)
    if holder is None or has_open(holder, seen.identity):
        return _SideFiles.RIGHT
    return _SideFiles.OF_ANOTHERS_OLD_DATABASE


def prepare(
    connection: sqlite3.Connection, path: str, settings: Settings, *, is_locked: bool
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
        if settings.must_exist and not schema.is_marked_as_store(connection):
            raise NoStore(
                "this is an empty database, and none is made here",
                "give the path of a store",
                path,
            )
        if not is_locked:
            return False
        schema.create(connection, path)
        LOG.info("%s: made ready as a store", path)
    first_row(connection, f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    connection.execute(f"PRAGMA synchronous = {settings.synchronous}")
    _refuse_other_level(connection, path, settings.synchronous)
    return True


def _refuse_other_level(connection: sqlite3.Connection, path: str, synchronous: str) -> None:
    # SQLite ignores what it does not know or cannot do, so read back what the store promises.
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
