"""A deleted -wal is made up for, and a replaced database is left.

Everything here is called with a connection that still holds the old files open. Because it does, no
new file can be given their inode numbers.
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
    """Close a connection, and leave no log behind that belongs to no file.

    If the database was deleted, moved away or replaced, SQLite leaves the side files where they are
    (``databaseIsUnmoved`` in pager.c), and would take them for the log of the file that has the
    name now. So they are removed if they are still this connection's. Before that, their content is
    written into the database, which may have been moved and not deleted.
    """
    is_moved = bool(connection.side_files) and connection.identity != filesystem.identity(path)
    if is_moved and not descriptors.are_lost(connection.descriptors):
        with contextlib.suppress(sqlite3.Error):
            first_row(connection, "PRAGMA wal_checkpoint(PASSIVE)")
        for side_file, identity in connection.side_files.items():
            # Asked while the file is still open: later, another file may be given its inode number.
            if identity is not None and identity == filesystem.identity(side_file):
                new_files.remove(side_file)
    forget(connection)


def replace_by_copy(connection: Connection, path: str) -> None:
    """Save a database whose -wal or -shm was deleted, by giving its name to a whole copy.

    The deleted log may hold the only copy of acknowledged states. Every process that has the log
    open still reads it, but a process that opens the database now gets a new log: two logs for one
    database. So what this connection sees is copied into a new file, and that file takes the name.
    For every other process the database was replaced then, which the process notices and can leave
    without harm. If this process merely reopened the database, the others would read pages of the
    new log out of the old one.

    Called with the write lock held. What a crash leaves at any moment:

    - If the log still has its name (only the -shm was deleted), its content is written into the
      database first, because the log is removed before the renaming. So nothing is lost.
    - If the log was deleted, the database is not written to, because a crash between two pages,
      with no log left to put that right, would leave the database damaged. A crash before the
      renaming leaves the database as it was, without its log. A crash after it leaves the copy.

    Raises:
        sqlite3.Error, OSError: the copy could not be made. The connection still has everything,
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
            return  # a signal handler that used the store has made the copy already
        for side_file in connection.side_files:
            new_files.remove(side_file)
        os.rename(copy, path)
    finally:
        _discard(copy, (found.st_dev, found.st_ino))
    new_files.sync_directory(os.path.dirname(path))


def _discard(copy: str, identity: Identity) -> None:
    # A full disk needs the room. (If a signal handler has released the lock, another process may
    # be making a copy of its own: that one stays.)
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
