"""Lists the connections of this process and the files that each has open, and closes them.

`fork.open_lock` is held while a connection is made or closed, so only a signal handler can come in
between. `have_lost_descriptors` and `disown` are also called without that lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from ... import sqlite_uri
from ..process import descriptors as _descriptors
from ..process import filesystem, fork, new_files
from ..process.filesystem import Identity


class Connection(sqlite3.Connection):
    """A connection that knows which files it has open.

    Attributes:
        identity: which file the database is; None until the connection is about to be used. Until
            then, the connection holds no locks.
        side_files: the -wal and -shm of the connection; empty until it has opened them.
        descriptors: those that SQLite has opened for the connection, as far as they were found.
        data_version: SQLite's number when the cache was last revalidated, or -1 before that. If
            SQLite has another number now, another connection has written
            (https://www.sqlite.org/pragma.html#pragma_data_version).
        lost_at: when a path was first seen to name another file than the one open here, or none, by
            `Clock.monotonic`. None while the paths name the open files.
        spare_cursor: a cursor that is not in use, or None. Making a cursor for each query takes a
            tenth of a read. A call takes the cursor away while it uses it, so that a signal handler
            or a finalizer makes another one.
    """

    identity: Identity | None = None
    side_files: Mapping[str, Identity | None] = MappingProxyType({})
    descriptors: Mapping[int, Identity] = MappingProxyType({})
    data_version = -1
    lost_at: float | None = None
    spare_cursor: sqlite3.Cursor | None = None

    @classmethod
    def to(cls, path: str, *, is_read_only: bool = False) -> Connection:
        """Return a new, unused connection to an existing file."""
        global made
        # Never mode=rwc, because SQLite would create a file that was deleted a moment ago, with
        # permissions of its own.
        mode = "ro" if is_read_only else "rw"
        connection = sqlite_uri.connect(path, f"mode={mode}", factory=cls)
        _connections.add(connection)
        made += 1
        return connection

    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        try:
            _ = self.total_changes
        except sqlite3.ProgrammingError:
            return True
        return False

    def is_in_place(self, path: str) -> bool:
        """Whether the paths of the database and its side files still name the files open here."""
        return self.identity == filesystem.identity(path) and all(
            identity == filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )

    def is_left_behind(self, path: str) -> bool:
        """Whether the path names another database now, and no side file there is open here."""
        return filesystem.identity(path) not in (None, self.identity) and all(
            identity != filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )


Connect: TypeAlias = Callable[[str, Identity], Connection]
"""Makes a connection to an existing file, which has this identity at the moment."""


def connect_to_write(path: str, _identity: Identity) -> Connection:
    """Return a new, unused connection to an existing file."""
    return Connection.to(path)


_connections: Final[set[Connection]] = set()
"""All connections of this process that were not closed yet. Their stores may be garbage already."""

_unusable: Final[set[Identity]] = set()
"""Databases that have a connection here which can neither be used nor closed. No other connection
may be made to them, because SQLite would believe in locks that were lost with the descriptors."""

made: int = 0
"""How many connections were ever made here.

While a function here or in `lock_probe` has a file open for a moment, a signal handler may open a
store on the same file. To close the function's descriptor would then drop the locks of the
handler's connection. So the function compares the number right before the closing, with no call
between the two. If the number has changed, the descriptor stays open for good."""


def forget(connection: Connection) -> None:
    """Close a connection for good.

    If the numbers of its descriptors are other files' by now, the connection stays open, because to
    close it would close those files. Then this process cannot use the database any more.
    """
    connection.spare_cursor = None  # cursor and connection refer to each other
    # Asked twice: once a signal handler has closed the connection, its numbers may be other files'.
    is_secured = connection.is_closed() or _descriptors.secured(connection.descriptors)
    if is_secured or connection.is_closed():
        connection.descriptors = {}  # a descriptor that is being closed is not lost
        connection.close()
        _connections.discard(connection)
    else:
        if connection.identity is not None:
            _unusable.add(connection.identity)
        disown(connection)


def disown(connection: Connection) -> None:
    """Have a connection never closed, not even by the garbage collector at exit.

    The connection's reference count never reaches zero again.
    """
    _connections.discard(connection)
    import ctypes  # imported here, because the import is slow and hardly any process needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def is_unusable(identity: Identity) -> bool:
    """Whether descriptors of this database were closed here, and given to other files."""
    return identity in _unusable


def have_lost_descriptors() -> bool:
    """Whether any connection of this process has lost a descriptor."""
    return any(_descriptors.are_lost(connection.descriptors) for connection in tuple(_connections))


def side_files_here(identity: Identity) -> Mapping[str, Identity | None] | None:
    """Return the side files of the connection that this package has to a database.

    Returns:
        None if there is no connection; empty if the connection is only just being opened.
    """
    found = [
        connection.side_files
        for connection in tuple(_connections)
        if connection.identity == identity and not connection.is_closed()
    ]
    return max(found, key=len, default=None)


def database_of(side_file: Identity) -> Identity | None:
    """Return the database that a connection of this process uses with this side file."""
    for connection in tuple(_connections):
        if side_file in connection.side_files.values() and not connection.is_closed():
            return connection.identity
    return None


def _close_leftovers() -> None:
    # If one thread's garbage collector has just found a store, another thread that forks no longer
    # finds that store, to close it. But the store's connection is still listed here.
    for connection in tuple(_connections):
        forget(connection)


fork.close_before_fork.append(_close_leftovers)


def create(path: str, file_mode: int) -> None:
    """Create an empty file for a database, with exactly these permissions, under the write lock.

    (If a process of root is killed between two system calls here, an empty file stays that belongs
    to root.)

    Raises:
        FileExistsError: there is a file already.
    """
    made_before = made
    descriptor = new_files.create_new(path, file_mode, is_guarded=True)
    if made_before == made:
        os.close(descriptor)
