"""Lists the connections of this process and the files that each has open, and closes them.

`fork.open_lock` guards all of this; only a signal handler can come in between.
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
        identity: which file the database is; None until the connection is about to be used. Before
            that, the connection holds no locks.
        side_files: the -wal and -shm of the connection; empty until it has opened them.
        descriptors: those that SQLite has opened for the connection, as far as they were found.
        data_version: what SQLite said at the last look, or -1 before the first. Another number says
            that another connection has written
            (https://www.sqlite.org/pragma.html#pragma_data_version).
        lost_at: when the database was first seen to have lost its name, by `Clock.monotonic`; None
            while it has its name.
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
        # Never mode=rwc: a file deleted a moment ago is not created with SQLite's permissions.
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
        """Whether all names still stand for the files that are open here."""
        return self.identity == filesystem.identity(path) and all(
            identity == filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )

    def is_left_behind(self, path: str) -> bool:
        """Whether another database has the name now, and the side files are not this one's."""
        return filesystem.identity(path) not in (None, self.identity) and all(
            identity != filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )


Connect: TypeAlias = Callable[[str, Identity], Connection]
"""Makes a connection to an existing file, which at the moment has this identity."""


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

A signal handler may open a store on a file that is open here for a moment. Closing that descriptor
would drop the locks of the handler's connection. So the number is compared right before the
closing, with no call between the two. If the number has changed, the descriptor stays open for
good."""


def forget(connection: Connection) -> None:
    """Close a connection for good.

    If its descriptors are other files' by now, the connection stays open, because closing it would
    close those. SQLite cannot use the database in this process any more.
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
    """Return with which side files this process uses a database through this package.

    Returns:
        None where the process does not use the database; empty where it is only just opening it.
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
    # A store that one thread's garbage collector has just found is no longer among the stores that
    # another thread closes before it forks. Its connection still is among these.
    for connection in tuple(_connections):
        forget(connection)


fork.close_before_fork.append(_close_leftovers)


def create(path: str, file_mode: int) -> None:
    """Create an empty file for a database, with exactly these permissions, under the write lock.

    (If root is killed between two system calls here, an empty file of root's stays.)

    Raises:
        FileExistsError: it is there already.
    """
    made_before = made
    descriptor = new_files.create_new(path, file_mode, is_guarded=True)
    if made_before == made:
        os.close(descriptor)
