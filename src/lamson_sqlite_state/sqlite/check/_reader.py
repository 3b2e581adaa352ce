"""Reads a store for a check: writes nothing, and leaves all files as they were found."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Final, TypeAlias, TypeVar

from ... import sqlite_uri
from ..engine import connections, lock_probe, old_shelf, schema
from ..engine.connections import Connection
from ..engine.database import Database
from ..engine.driver_errors import OPENING_SECONDS, Busy, translated_errors
from ..engine.lock_probe import SHARED_LOCKS
from ..engine.settings import Settings
from ..engine.store_handle import StoreHandle
from ..process import filesystem, fork
from ..process.filesystem import Identity
from ..process.reentry import holding
from ..process.store_paths import StorePaths

T = TypeVar("T")

Work: TypeAlias = Callable[[sqlite3.Connection], T]

_TIMEOUT_SECONDS: Final = 1.0

_MAGIC: Final = b"SQLite format 3\0"

# The place in a database's header that says how the database is written: 2 for through a log, 1 for
# not (https://www.sqlite.org/fileformat.html section 1.3).
_WRITE_VERSION: Final = 18


class ReadOnlyStore(StoreHandle):
    """A store that is never written to, created or mended.

    Args:
        path: an existing file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(Settings(path, timeout=_TIMEOUT_SECONDS, cache_size=0))

    def read(self, work: "Work[T]") -> T:
        """Return what ``work`` returns for a connection to the file that has the name now.

        Args:
            work: a function that leaves no statement half read. It may be called again.

        Raises:
            StorageError: the file cannot be read.
        """
        return self.run(lambda states: states.database.read(work))

    def _new_database(self) -> Database:
        return _LookedAt(self.path, self._settings, self.cache, _connect_to_look)


class _LookedAt(Database):
    """The database of a `ReadOnlyStore`: neither created nor mended."""

    def _mend_under_lock(self) -> None:
        if filesystem.identity(self.path) is None:
            raise old_shelf.no_store("no such file", self.path)
        raise Busy("the store is being made, mended or replaced", OPENING_SECONDS)


def _connect_to_look(path: str, identity: Identity) -> Connection:
    # The last connection to close writes the log back and deletes it, unless it may only read. But
    # a log that a crash has left is to stay as it is. So the connection may only read where there
    # is a log that no process uses. Everywhere else it may write: where others use the database,
    # one of them closes last; and where there is no log, SQLite makes one, which a connection that
    # may only read would leave behind.
    is_left_over = (
        os.path.lexists(StorePaths(path).wal)
        and connections.side_files_here(identity) is None
        and lock_probe.lock_holder(path, identity, SHARED_LOCKS) is None
    )
    return Connection.to(path, is_read_only=is_left_over)


class Copy:
    """A store that nobody has opened since it was copied, so that it has no log yet.

    Opening the copy as a store would switch it to a log. Therefore each question opens the file
    anew, read-only, and closes it.

    Args:
        path: an existing file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def _connection(self) -> sqlite3.Connection:
        return sqlite_uri.connect(
            self._path,
            "mode=ro",
            factory=sqlite3.Connection,
            timeout_seconds=_TIMEOUT_SECONDS,
        )

    def read(self, work: "Work[T]") -> T:
        """Do as `ReadOnlyStore.read`."""
        with translated_errors(self._path), closing(self._connection()) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            if not schema.is_unmarked(connection):  # a look of its own finds that
                schema.is_sound(connection, self._path)
            return work(connection)


def is_database(path: str, identity: Identity) -> bool:
    """Whether a file begins as a database does; also true if it is empty or cannot be read here."""
    header = _header_of(path, identity)
    return not header or header.startswith(_MAGIC)


def is_switched(path: str, identity: Identity) -> bool:
    """Whether a database is written through a log, as every store is from its first use on."""
    header = _header_of(path, identity)
    return header is None or header[_WRITE_VERSION : _WRITE_VERSION + 1] != b"\x01"


def _header_of(path: str, identity: Identity) -> bytes | None:
    with contextlib.suppress(OSError):
        # With the lock held, no other thread opens the database or forks meanwhile.
        return holding(fork.open_lock, lock_probe.header_of, path, identity)
    return None
