"""What is done when files are deleted or replaced under a running process.

Called with a connection that still holds the old files open. Because it does, their inode
numbers cannot be taken by new files.
"""

import contextlib
import os
import sqlite3

from ..process import descriptors, filesystem, new_files
from .connections import Connection, forget
from .queries import first_row


def close(connection: Connection, path: str) -> None:
    """Close a connection, and leave no log behind that belongs to no file.

    If its database no longer has its name (it was deleted, moved away or replaced), SQLite
    leaves the side files where they are (``databaseIsUnmoved`` in pager.c), and would take
    them for the log of the file that has the name now. They go if they are still this one's,
    after what they hold is written into the database: it may have been moved and not deleted.
    """
    is_moved = bool(connection.side_files) and connection.identity != filesystem.identity(path)
    if is_moved and not descriptors.are_lost(connection.descriptors):
        with contextlib.suppress(sqlite3.Error):
            first_row(connection, "PRAGMA wal_checkpoint(PASSIVE)")
        for side_file, identity in connection.side_files.items():
            # While it is still open: afterwards, another file may be given its inode number.
            if identity is not None and identity == filesystem.identity(side_file):
                with contextlib.suppress(FileNotFoundError):  # others leave it, too
                    os.unlink(side_file)
    forget(connection)


def replace_by_copy(connection: Connection, path: str) -> None:
    """Save a database whose -wal or -shm was deleted, by giving its name to a whole copy.

    The deleted log may hold the only copy of acknowledged states. Every process that has it
    open still reads it, but whoever opens the database now gets a new log: two logs for one
    database. So what this connection sees is copied into a new file that takes the name; for
    every other process that is a replaced database, which it notices and can leave without
    harm. Merely reopening would make the others read pages of the new log out of the old one.

    Called with the write lock held. A log that still has its name (the -shm was deleted) goes
    before the renaming, so what it holds is written into the database first, and a crash leaves
    everything at any moment. Where the log was deleted, the database is not written to: a
    crash between two pages, with no log left to put that right, would leave it damaged. So
    a crash before the renaming leaves it as it was, without its log; one after it, the copy.

    Raises:
        sqlite3.Error, OSError: the copy could not be made. The connection still has everything,
            and the next call tries again.
    """
    log = f"{path}-wal"
    if connection.side_files.get(log) == filesystem.identity(log) is not None:
        first_row(connection, "PRAGMA wal_checkpoint(FULL)")
    copy = f"{path}.rescue"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(copy)
    descriptor = new_files.create_like(copy, path)
    found = os.fstat(descriptor)
    os.close(descriptor)
    try:
        _copy_to(copy, connection)
        if connection.identity != filesystem.identity(path):
            return  # a signal handler that used the store has done it already
        for side_file in connection.side_files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(side_file)
        os.rename(copy, path)
    finally:
        # A disk that is full needs the room. (Where a signal handler has let go of the lock,
        # another process may be at a copy of its own.)
        if (found.st_dev, found.st_ino) == filesystem.identity(copy):
            for suffix in ("", "-journal", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    os.unlink(copy + suffix)
    new_files.sync_directory(os.path.dirname(path))


def _copy_to(copy: str, connection: Connection) -> None:
    target = sqlite3.Connection(copy, isolation_level=None)
    try:
        connection.backup(target)
        first_row(target, "PRAGMA journal_mode = WAL")
    finally:
        target.close()
