"""Mends a store whose -wal or -shm was deleted, and leaves a database that was replaced.

Everything here is called with a connection that still holds the old files open. Therefore no new
file can be given their inode numbers.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3

from ..process import descriptors, filesystem, new_files
from ..process.filesystem import Identity
from ..process.store_paths import StorePaths
from .connections import Connection, forget
from .queries import first_row


def close(connection: Connection, path: str) -> None:
    """Close a connection, and leave no log behind that belongs to no database.

    If the database was deleted, moved away or replaced, SQLite leaves the side files where they are
    (``databaseIsUnmoved`` in pager.c). Later it would take them for the log of the file that has
    the name by then. So this removes the side files, if they are still those of this connection.
    Before that, it writes their content into the database, which may only have been moved.
    """
    is_moved = bool(connection.side_files) and connection.identity != filesystem.identity(path)
    if is_moved and not descriptors.are_lost(connection.descriptors):
        with contextlib.suppress(sqlite3.Error):
            first_row(connection, "PRAGMA wal_checkpoint(PASSIVE)")
        for side_file, identity in connection.side_files.items():
            # Compared while the file is still open. Later, another file may get its inode number.
            if identity is not None and identity == filesystem.identity(side_file):
                new_files.remove(side_file)
    forget(connection)


def replace_by_copy(connection: Connection, path: str) -> None:
    """Save a database whose -wal or -shm was deleted, by giving its name to a whole copy.

    The deleted log may hold the only copy of acknowledged states. Every process that has the log
    open still reads it. But a process that opens the database now gets a new log, and then there
    are two logs of one database. So all that this connection sees is copied into a new file, and
    the new file takes the database's name. Every other process then notices that the database was
    replaced, and leaves the old one without harm. If this process merely reopened the database, the
    others would look in the old log for pages of the new one.

    Called with the write lock held. After a crash at any moment:

    - If the log still has its name (only the -shm was deleted), nothing is lost. The log is removed
      before the copy takes the name, so its content is written into the database before that.
    - If the log was deleted, the database is not written to. A crash between two pages would damage
      it for good, because there is no log left to repair it from. A crash before the copy takes the
      name leaves the database as it was, without its log. A crash after that leaves the copy.

    Raises:
        sqlite3.Error, OSError: the copy could not be made. The connection still sees all states,
            and the next call tries again.
    """
    paths = StorePaths(path)
    if connection.side_files.get(paths.wal) == filesystem.identity(paths.wal) is not None:
        first_row(connection, "PRAGMA wal_checkpoint(FULL)")
    copy = paths.rescue
    new_files.remove(copy)
    descriptor = new_files.create_like(copy, path)
    found = os.fstat(descriptor)
    os.close(descriptor)
    try:
        _copy_to(copy, connection)
        if connection.identity != filesystem.identity(path):
            return  # a signal handler that used the store has put another copy in place already
        for side_file in connection.side_files:
            new_files.remove(side_file)
        os.rename(copy, path)
    finally:
        _discard(copy, (found.st_dev, found.st_ino))
    new_files.sync_directory(os.path.dirname(path))


def _discard(copy: str, identity: Identity) -> None:
    # Remove what an error has left of the copy, because a full disk needs the room. If a signal
    # handler has released the lock, another process may be making its own copy, which stays.
    if identity == filesystem.identity(copy):
        for file in StorePaths(copy).sqlite_files:
            with contextlib.suppress(OSError):
                os.unlink(file)


def _copy_to(copy: str, connection: Connection) -> None:
    target = sqlite3.Connection(copy, isolation_level=None)
    try:
        connection.backup(target)
        first_row(target, "PRAGMA journal_mode = WAL")
    finally:
        target.close()
