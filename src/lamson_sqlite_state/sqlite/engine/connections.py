"""The connections of this process: which files each has open, and how each is closed for good.

Everything here is guarded by `fork.open_lock`; only a signal handler can come in between.
"""

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
        identity: the database, from the moment the connection is about to be used. Before
            that it holds no locks, and whoever finds it need not mind it.
        side_files: its -wal and -shm, from the moment it has opened them.
        descriptors: those that SQLite has opened for it, as far as they were found.
        data_version: changes when another connection has written
            (https://www.sqlite.org/pragma.html#pragma_data_version); as of the last look, or
            -1 before the first.
        lost_at: when it was first seen to have lost its name and could not be left, by
            `Clock.monotonic`, or None.
        spare_cursor: one that is not in use, or None. Making one for each question costs a tenth
            of the answer. Whoever uses it takes it away meanwhile, so that a signal handler or a
            finalizer gets another.
    """

    identity: Identity | None = None
    side_files: Mapping[str, Identity | None] = MappingProxyType({})
    descriptors: Mapping[int, Identity] = MappingProxyType({})
    data_version = -1
    lost_at: float | None = None
    spare_cursor: sqlite3.Cursor | None = None

    @classmethod
    def to(cls, path: str, *, is_read_only: bool = False) -> "Connection":
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
"""Makes a connection to an existing file, which is the one of this identity at the moment."""


def connect_to_write(path: str, _identity: Identity) -> Connection:
    """Return a new, unused connection to an existing file."""
    return Connection.to(path)


_connections: Final[set[Connection]] = set()
"""All of this process that were not closed yet. Their stores may be garbage already."""

_unusable: Final[set[Identity]] = set()
"""Databases that a connection is open to which must not be used. SQLite's book of them outlives it:
another connection would believe in locks that were lost with the descriptors."""

made: int = 0
"""How many connections were ever made here. Whoever closes a descriptor of a file that a signal
handler may have opened a store on meanwhile asks this right before, with no call between: closing
would drop the locks of the handler's connection, so then the descriptor stays open for good."""


def forget(connection: Connection) -> None:
    """Close a connection, for good.

    One whose descriptors are another's by now stays open, as closing it would close those. SQLite
    cannot use its database in this process any more.
    """
    connection.spare_cursor = None  # the two refer to each other
    if connection.is_closed() or _descriptors.secured(connection.descriptors):
        connection.descriptors = {}  # what is being closed is not lost
        connection.close()
        _connections.discard(connection)
    else:
        if connection.identity is not None:
            _unusable.add(connection.identity)
        disown(connection)


def disown(connection: Connection) -> None:
    """Have a connection never closed, also not by the garbage collector at exit.

    Its reference count never reaches zero again.
    """
    _connections.discard(connection)
    import ctypes  # costly to import, and needed by nobody else

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def is_unusable(identity: Identity) -> bool:
    """Whether descriptors of this database were closed here, and given to other files."""
    return identity in _unusable


def have_lost_descriptors() -> bool:
    """Whether any connection of this process has."""
    return any(_descriptors.are_lost(connection.descriptors) for connection in tuple(_connections))


def side_files_here(identity: Identity) -> Mapping[str, Identity | None] | None:
    """Return with which side files this process uses the database through this package.

    Empty where it is only just opening it, None where it does not use it.
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
    # What the garbage collector has just found in one thread is no longer among the stores
    # that another thread closes before it forks.
    for connection in tuple(_connections):
        forget(connection)


fork.close_before_fork.append(_close_leftovers)


def create(path: str, file_mode: int) -> None:
    """Create an empty file for a database, with exactly these permissions, under the write lock.

    (Root that is killed between two system calls here leaves an empty file of its own.)

    Raises:
        FileExistsError: it is there already.
    """
    made_before = made
    descriptor = new_files.create_new(path, file_mode, is_guarded=True)
    if made_before == made:
        os.close(descriptor)
