"""Gives each call a connection to the file that its path names now, and each writer the write lock.

The counters of `coherence` tell every process what this package writes. They do not tell of other
tools' writes, nor of files that come and go. So the cache is revalidated: the first call after each
10 ms looks for both, and empties the cache if it finds one of them.

Not thread-safe: the store's RLock guards every call. No call here waits for another process. If one
is at work, the call raises `Busy`, so that the store can release its RLock before it waits.

Every commit is made under the write lock, together with the checkpoint that SQLite may make in it.
So processes share the file fairly. And SQLite's WAL-reset race cannot occur: a commit and a
checkpoint at one instant corrupt the file (versions 3.7.0 to 3.51.2,
https://www.sqlite.org/wal.html#walresetbug).
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from ...errors import StorageError
from ..coherence.cache import Cache
from ..process import filesystem
from ..process.backoff import LOG
from ..process.clock import Clock
from ..process.filesystem import Identity
from . import old_shelf, recovery
from .connections import Connect, Connection, connect_to_write
from .driver_errors import OPENING_SECONDS, Busy, translated
from .open_database import OpenDatabase
from .queries import first_row
from .settings import Settings

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Database:
    """The file at ``path``, with its write lock. The first call opens the file.

    The arguments are those of `OpenDatabase`.

    Attributes:
        path: absolute, with symbolic links resolved.
        file: the open file.
    """

    def __init__(
        self, path: str, settings: Settings, cache: Cache, connect: Connect = connect_to_write
    ) -> None:
        self.path: str = path
        self.file: OpenDatabase = OpenDatabase(path, settings, cache, connect)

    @property
    def identity(self) -> Identity | None:
        """Which file is open here now, if any."""
        return self.file.identity

    def close(self) -> None:
        """Close the connection and the lock descriptor; harmless where they are closed."""
        self.file.close()

    def abandon(self) -> None:
        """Never close the inherited connection: see `OpenDatabase.abandon`."""
        self.file.abandon()

    def revalidate(self) -> Connection:
        """Return the connection. Open the file if need be, and revalidate the cache if that is due.

        If a file of the store was deleted or replaced, this mends the store or opens the new file.
        If that needs the write lock, and another process holds the lock, this raises Busy for up to
        0.25 s, and then goes on with the old file.

        Raises:
            Busy, StorageError, sqlite3.Error, OSError: the file could not be opened.
        """
        file = self.file
        while True:
            connection = file.connection
            if connection is None:
                if not file.open(is_locked=False):
                    self._mend_under_lock()
                continue
            if file.cache.is_fresh():
                return connection
            try:
                return self._looked_around(connection)
            except sqlite3.ProgrammingError:
                file.reopen_if_closed(connection)

    def read(self, work: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Call ``work`` with the connection, after the cache was revalidated if that is due.

        Args:
            work: only reads. It is given the connection and the arguments. It is called again if
                it finds that a signal handler has closed the connection.
            arguments: of the work.

        Raises:
            Busy, StorageError: nothing was read.
        """
        try:
            while True:
                connection = self.revalidate()
                try:
                    return work(connection, *arguments)
                except sqlite3.ProgrammingError:
                    self.file.reopen_if_closed(connection)
        except (sqlite3.Error, OSError) as error:
            self.file.raise_storage_error(error, is_writing=False)

    def locked(
        self,
        work: Callable[[Connection, int, *Arguments], int | None],
        *arguments: *Arguments,
    ) -> int:
        """Call ``work`` under the write lock, with a connection to the file that the path names.

        Args:
            work: is given the connection, the time (Unix time in ms) and the arguments. It is
                called again if it returns None or finds the connection closed. Both mean that a
                signal handler has used or closed the store, and that nothing was written.
            arguments: of the work.

        Raises:
            Busy: nothing was done.
            StorageError: nothing was written, unless the code is "outcome-unknown".
        """
        return self.file.write_lock.hold(self._locked, work, arguments)

    def _locked(
        self,
        work: Callable[[Connection, int, *Arguments], int | None],
        arguments: tuple[*Arguments],
    ) -> int:
        file = self.file
        lock, watch = file.write_lock, file.watch
        changed: int | None = None
        try:
            while changed is None:
                connection = file.connection
                if (
                    connection is None
                    or file.versions.counters is None
                    or not file.cache.is_fresh()
                    or not lock.try_lock()
                    or not watch.is_unchanged()
                    or lock.depth > 1
                ):
                    connection = self._locked_connection()
                try:
                    changed = work(connection, time.time_ns() // 1_000_000, *arguments)
                except sqlite3.ProgrammingError:
                    file.reopen_if_closed(connection)
            return changed
        except (sqlite3.Error, OSError) as error:
            file.raise_storage_error(error, is_writing=True)

    def _locked_connection(self) -> Connection:
        """Return the connection to the file that the path names now, with the write lock held.

        Revalidate the cache if that is due.

        Raises:
            Busy, StorageError, sqlite3.Error, OSError: the lock was not to be had, or the file
                could not be opened.
        """
        while True:
            self._refuse_to_begin()
            if not self.file.write_lock.try_lock():
                raise Busy(f"another process holds {self.file.write_lock.path}")
            now = Clock.monotonic()  # before the first check, because the 10 ms begin there
            connection = self._connection_in_place()
            if connection is None:
                continue
            try:
                if self.file.write_lock.depth > 1:  # the outer call may be insert_start's script
                    connection.execute(self.file.set_synchronous)
                if not self.file.cache.is_fresh():
                    self._look_for_edits(connection, now)
                return connection
            except sqlite3.ProgrammingError:
                self.file.reopen_if_closed(connection)

    def _connection_in_place(self) -> Connection | None:
        """Return the connection if all files are in place. If not, mend one thing, return None."""
        file = self.file
        lock, watch, versions = file.write_lock, file.watch, file.versions
        try:
            stamp = watch.look()
        except FileNotFoundError as error:  # the whole directory is gone
            if error.filename != watch.directory:
                raise
            lock.close()
            return None
        connection = file.connection
        is_untouched = connection is not None and stamp is None and versions.is_whole()
        if not is_untouched and not lock.is_in_place():
            lock.close()
        elif connection is None:
            file.open(is_locked=True)
        elif not is_untouched and not connection.is_in_place(self.path):
            self._mend(connection)
        elif not is_untouched and not versions.is_in_place():
            file.cache.empty(None)
            versions.open_or_make(lock)
            file.cache.empty(versions.counters)
        else:
            if stamp is not None:
                watch.settle(stamp)
            return connection
        return None

    def _refuse_to_begin(self) -> None:
        # Called before `try_lock`, which makes the lock file and its directory.
        file = self.file
        if not file.settings.must_exist:
            # A shelf that stands beside an open store does not matter.
            if file.connection is None and not file.is_shelf_known:
                old_shelf.refuse_beside(self.path)
        elif file.connection is None:
            file.open(is_locked=False)  # it stays closed if it is a copy that has no log yet
        elif filesystem.identity(self.path) is None:
            file.existing()

    def _looked_around(self, connection: Connection) -> Connection:
        file = self.file
        now = Clock.monotonic()
        if file.is_all_in_place(connection):
            connection.lost_at = None
        else:
            self._mend_for_a_reader(connection, now)
            connection = file.connection or connection
            if not file.versions.is_in_place():
                file.cache.empty(None)
                file.versions.open()
        self._look_for_edits(connection, now)
        return connection

    def _look_for_edits(self, connection: Connection, now: float) -> None:
        cache, counters = self.file.cache, self.file.versions.counters
        (data_version,) = first_row(connection, "PRAGMA data_version")
        if data_version != connection.data_version or not cache.goes_by(counters):
            # Another connection has written. If it was one of this package, the counters tell of
            # the write. But another tool may have written as well, so the cache is emptied. That is
            # done before the version is noted: if a signal handler raises between the two, the next
            # call empties the cache again.
            cache.empty(counters)
            connection.data_version = data_version
        cache.note_look(now)

    def _mend_for_a_reader(self, connection: Connection, now: float) -> None:
        try:
            self._mend_under_lock()
        except StorageError:
            pass  # the disk may be full: go on with the old file, and try again in 10 ms
        except Busy as busy:
            if connection.is_in_place(self.path):
                return  # only the file of the counters is missing: nothing is cached meanwhile
            if connection.is_left_behind(self.path) and self._reopened_by_name():
                return
            # A writer holds the lock. Each writer leaves the old file at its next call. So the
            # reader waits for the lock, because beside many writers it would read old states for
            # long. But the holder of the lock may be stopped. So after a while, the reader goes on
            # with the old file.
            if connection.lost_at is None:
                connection.lost_at = now
            if now - connection.lost_at < OPENING_SECONDS:
                raise Busy(busy.blocker, math.inf) from None

    def _reopened_by_name(self) -> bool:
        # Another process has mended the store. The files that the paths name now can be opened
        # as by a new process, because no side file of the old database is left to be removed.
        LOG.info("%s: the file was replaced, and is opened anew", self.path)
        self.file.disconnect()
        self.file.open(is_locked=False)
        return self.file.connection is not None

    def _mend_under_lock(self) -> None:
        self.locked(lambda _connection, _now_ms: 0)

    def _mend(self, connection: Connection) -> None:
        try:
            if connection.identity == filesystem.identity(self.path):
                recovery.replace_by_copy(connection, self.path)
                LOG.warning("%s: a lost -wal or -shm was made up for by a whole copy", self.path)
            else:
                LOG.info("%s: the file was replaced or deleted, and is opened anew", self.path)
        except sqlite3.ProgrammingError:
            self.file.reopen_if_closed(connection)
        except sqlite3.Error as error:
            # Not by raise_storage_error, because that closes the connection, and the connection may
            # be the last to see the states of a deleted log.
            raise translated(error, self.path, is_writing=False) from error
        self.file.disconnect()
