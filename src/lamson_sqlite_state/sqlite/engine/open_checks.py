"""Checks whether a database may be opened now, and gives a new connection its settings.

Everything here but `unsafe_fork` is called with `fork.open_lock` held.
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
    """The files at the paths of a database, as they were seen before a connection was made.

    Args:
        path: the database.
        identity: the file that stands there.

    Attributes:
        path: the same.
        identity: the same.
        paths: the paths of the database and of all files beside it.
        side_files: the files that stood at the paths of the -wal and the -shm, if any.
    """

    def __init__(self, path: str, identity: Identity) -> None:
        self.path: str = path
        self.identity: Identity = identity
        self.paths: StorePaths = StorePaths(path)
        self.side_files: Mapping[str, Identity | None] = self._now()

    def refuse_replaced(self) -> Mapping[str, Identity | None]:
        """Return the side files that are there now, if all files that were seen are still there.

        Raises:
            Busy: a file was deleted or replaced. So this connection may have other files open than
                other processes have. Two logs, or two indexes of one log, would lose states.
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
    """The cases of which -wal and -shm stand beside a database.

    Each case is a text, which says what a call waits for if it has to wait (`Busy.blocker`). It is
    no Enum, because making an Enum takes a twentieth of the package's import.
    """

    # All processes that have the database open use these files, or no process has it open.
    RIGHT: Final = ""
    # The database was replaced, and this process has the old one open with these files. No process
    # has the new one open. SQLite would replay the old log into the new database.
    OF_OUR_OLD_DATABASE: Final = "this process has the old database open, which was replaced"
    OF_ANOTHERS_OLD_DATABASE: Final = (
        "the file was replaced under a process that has the old file open, and the log of the old "
        "file would be taken for the new file's (the next call of that process will mend this)"
    )
    # The files in use were deleted, and new ones may stand in their place. A second log beside the
    # one in use would lose acknowledged states.
    LOST: Final = (
        "{missing} was deleted under a process that has the database open (the next call of that "
        "process will mend this)"
    )
    COMING_AND_GOING: Final = "the database's -shm comes and goes"


def refuse_unsafe(seen: SeenFiles, *, is_locked: bool) -> bool:
    """Refuse to connect to a database where a connection would do harm.

    Args:
        seen: the files at the paths of the database now.
        is_locked: whether the caller holds the write lock.

    Returns:
        True if a connection is safe. False if the log of a database that this process has open, and
        that was replaced, has to be removed first. Only the holder of the write lock may do that.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
        StorageError: this process has closed descriptors of the database, and other files have
            their numbers now; or the database alone is mounted, without its side files.
        Busy: a side file was deleted, or the database replaced, under a running process. That
            process mends this at its next call (`recovery`).
    """
    _refuse_unusable(seen.path, seen.identity)
    what = _what_they_are(seen)
    if what == _SideFiles.OF_OUR_OLD_DATABASE:
        if is_locked:
            for side_file in seen.side_files:
                new_files.remove(side_file)
        return is_locked
    if what == _SideFiles.LOST:
        # Or the side files are in another container, because only the database is mounted here.
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
            "restart it, and close() the store before the process becomes a daemon, or use the "
            "store only after that",
            path,
            code="descriptors-lost",
        )


def _what_they_are(seen: SeenFiles) -> str:
    in_use_here = side_files_here(seen.identity)
    is_one_missing = None in seen.side_files.values()
    if in_use_here is None and lock_holder(seen.path, seen.identity, SHARED_LOCKS) is None:
        # SQLite keeps both while any process has the database open. The last to close it deletes
        # both.
        return _SideFiles.RIGHT if is_one_missing else _whose_log(seen)
    if is_one_missing:
        return _SideFiles.LOST
    # The files in use may have been deleted, and new ones may stand in their place: a process that
    # opened the database just after the deletion made those, and has closed it since.
    if in_use_here is None:
        are_right = is_log_in_use(*seen.paths.side_files)
    else:
        are_right = not in_use_here or seen.side_files == in_use_here
    return _SideFiles.RIGHT if are_right else _SideFiles.LOST


def _whose_log(seen: SeenFiles) -> str:
    # No process holds a lock on the database. So a process that has the -shm open has it open with
    # an old database, or is just exiting: the kernel closes its files one after the other. In both
    # cases it helps to wait. (Or the process has lost its lock, because it has also opened and
    # closed the database to copy it. Then `has_open` finds SQLite's descriptor.)
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
    """Make a new connection ready for use, and make a store of an empty database.

    Returns:
        False if a store has yet to be made. Only the holder of the write lock may do that.

    Raises:
        NoStore: the database is empty, and by the settings the store must exist already.
        StorageError: the file cannot be used as a store, or not with these settings.
    """
    # Another program may have planted triggers or views that call harmful functions.
    connection.execute("PRAGMA trusted_schema = OFF")
    if not schema.is_sound(connection, path):
        if settings.must_exist and not schema.is_marked_as_store(connection):
            raise NoStore(
                "this is an empty database, and no store is made of it here",
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
    # SQLite silently ignores a level that it does not know or cannot keep. The store promises the
    # level, so ask which one SQLite uses now.
    (level,) = first_row(connection, "PRAGMA synchronous")
    if level != _SYNCHRONOUS_LEVELS[synchronous]:
        raise StorageError(
            f"SQLite has synchronous={level} where {synchronous} was asked for",
            "use another build of SQLite",
            path,
            code="sqlite-error",
        )


def unsafe_fork(path: str) -> UnsafeFork:
    """Return the error for each call of a store that was open when C code forked this process."""
    return UnsafeFork(
        "this process was forked by C code, past Python's fork hooks, while the store was open",
        "close() the store before such a fork, or fork before its first use",
        path,
    )
