"""Who has a database open: which connections of this process, and whether any other process.

POSIX drops all locks that a process has on a file when it closes *any* descriptor of it, SQLite's
locks included (https://www.sqlite.org/howtocorrupt.html section 2.2). So a file that may be
open in this process is not opened to ask, and `Probe` is the only one that opens at all.
Everything here is guarded by `_fork.opening`; only a signal handler can come in between.
"""

import fcntl
import os
import sqlite3
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from . import _filesystem, _fork
from ._filesystem import Identity

__all__ = ["DEADMAN_SWITCH", "SHARED_LOCKS", "Connection", "Interrupted", "Probe", "is_open_here"]

# Length and start of the bytes where SQLite's unix VFS keeps its shared locks in a database
# (os.h, SHARED_FIRST and SHARED_SIZE). Whoever has a database in WAL mode open holds one.
SHARED_LOCKS: Final = (510, 0x40000000 + 2)

# Likewise of the lock in a -shm that everyone holds who has it open (os_unix.c, UNIX_SHM_DMS).
DEADMAN_SWITCH: Final = (1, 128)


class Interrupted(Exception):
    """A signal handler has used the store meanwhile: look again at how things are."""


class Connection(sqlite3.Connection):
    """A connection that knows which files it has open.

    Attributes:
        identity: the database, from the moment the connection is about to be used. Before
            that it holds no locks, and whoever finds it need not mind it.
        side_files: its -wal and -shm, from the moment it has opened them.
    """

    identity: Identity | None = None
    side_files: Mapping[str, Identity | None] = MappingProxyType({})

    @classmethod
    def to(cls, path: str) -> "Connection":
        """Return a new, unused connection to an existing file."""
        global _made
        connection = sqlite3.connect(
            # mode=rw: a file deleted a moment ago is not created with SQLite's permissions.
            f"file:{quote(os.fsencode(path))}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            factory=cls,
        )
        _connections.add(connection)
        _made += 1
        return connection

    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        try:
            _ = self.total_changes
        except sqlite3.ProgrammingError:
            return True
        return False

    def has_open(self, identity: Identity) -> bool:
        """Whether this is a file that is held open here."""
        is_known = identity == self.identity or identity in self.side_files.values()
        return is_known and not self.is_closed()

    def is_in_place(self, path: str) -> bool:
        """Whether all names still stand for the files that are open here."""
        return self.identity == _filesystem.identity(path) and all(
            identity == _filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )


_connections: Final["weakref.WeakSet[Connection]"] = weakref.WeakSet()
_made = 0
"""How many connections were ever made here."""


def is_open_here(identity: Identity) -> bool:
    """Whether this process has the file open through SQLite."""
    return any(connection.has_open(identity) for connection in _fork.members(_connections))


class Probe:
    """A descriptor, for a moment, of a file of SQLite's: to ask which POSIX locks others hold.

    Only for a file that `is_open_here` denies. Must be closed; may be closed more than once.

    Attributes:
        descriptor: None once it is closed, also by a signal handler that used the store.

    Args:
        path: the file.
        create_mode: create it, with exactly these permissions; None: it must exist.

    Raises:
        FileExistsError: it was to be created.
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, create_mode: int | None = None) -> None:
        self._made_before = _made
        self.descriptor: int | None
        if create_mode is None:
            self.descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        else:
            self.descriptor = _filesystem.create_file(path, create_mode)

    def is_locked_by_others(self, locks: tuple[int, int]) -> bool:
        """Whether another process holds any of these locks. If not, this one does until `close`.

        Raises:
            Interrupted: a signal handler has closed the probe.
        """
        if self.descriptor is None:
            raise Interrupted
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, *locks)
        except (BlockingIOError, PermissionError):
            return True
        return False

    def close(self) -> None:
        """Let go of the locks and the descriptor.

        A descriptor that a signal handler has connected beside, to another store in this
        process, stays open for good: closing it would drop the locks of that connection.
        """
        # No call stands between the look at _made and os.close, so no handler runs there.
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None and self._made_before == _made:
            os.close(descriptor)
