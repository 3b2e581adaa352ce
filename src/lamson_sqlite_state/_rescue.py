"""What is done when files are deleted or replaced under a running process.

Called with the write lock held, and with a connection that still holds the old files open.
Because it does, their inode numbers cannot be taken by new files.
"""

import contextlib
import os
import sqlite3

from . import _filesystem
from ._schema import first_row
from ._sharing import Connection

__all__ = ["leave_moved_database", "replace_by_copy"]


def leave_moved_database(connection: Connection) -> None:
    """Leave a database that no longer has its name: deleted, moved away or replaced.

    What its log holds is written into it, in case it was moved and not deleted. Its side files
    go if they still have their names: they would be taken for the log of the file that has
    the name now. When SQLite closes a moved database it touches no names
    (``databaseIsUnmoved`` in pager.c).
    """
    with contextlib.suppress(sqlite3.Error):
        first_row(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    connection.close()
    for path, identity in connection.side_files.items():
        if identity is not None and identity == _filesystem.identity(path):
            os.unlink(path)


def replace_by_copy(connection: Connection, path: str) -> None:
    """Save a database whose -wal or -shm was deleted, by giving its name to a whole copy.

    The deleted log may hold the only copy of acknowledged states. Every process that has it
    open still reads it, but whoever opens the database now gets a new log: two logs for one
    database. So what this connection sees is written into the database, then copied into a new
    file that takes the name; for every other process that is a replaced database, which it
    notices and can leave without harm. Merely reopening would make the others read pages
    of the new log out of the old one.

    A crash before the renaming leaves the checkpointed database, one after it the copy.

    Raises:
        sqlite3.Error, OSError: the copy could not be made. The connection still has everything,
            and the next call tries again.
    """
    first_row(connection, "PRAGMA wal_checkpoint(FULL)")
    copy = f"{path}.rescue"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(copy)
    found = os.stat(path)
    descriptor = _filesystem.create_file(copy, found.st_mode & 0o777)
    try:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, found.st_uid, found.st_gid)
    finally:
        os.close(descriptor)
    target = sqlite3.connect(copy, isolation_level=None)
    try:
        connection.backup(target)
        first_row(target, "PRAGMA journal_mode = WAL")
    finally:
        target.close()
    if connection.identity != _filesystem.identity(path):
        os.unlink(copy)  # a signal handler that used the store has done it already
        return
    for side_file in connection.side_files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(side_file)
    os.rename(copy, path)
    _filesystem.sync_directory(os.path.dirname(path))
