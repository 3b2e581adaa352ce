"""One SQLite file as calls see it: looked at when that is due, written to under its lock.

What this package writes, every process learns from the counters of `counters`. What other tools
write, and files that come and go, are noticed by a look every 10 ms, which empties the cache.

Not thread-safe: the store's RLock guards every call. Nothing here waits: a call that meets
another process at work raises `Busy`, so that the store can let its lock go meanwhile.

All that commits does so under the write lock, and so do the checkpoints that SQLite makes in
a commit. That makes sharing fair, and it keeps SQLite's WAL-reset race away, in which a commit
and a checkpoint at one instant corrupt the file (versions 3.7.0 to 3.51.2,
https://www.sqlite.org/wal.html#walresetbug).
"""

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from ...errors import StorageError
from ..process import filesystem
from ..process.clock import Clock
from ..process.write_lock import UNLOCK_NONE
from . import old_shelf, recovery
from .connections import Connection
from .driver_errors import OPENING_SECONDS, Busy, NeedsWriteLock, translated
from .open_database import OpenFile
from .schema import first_row

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Database(OpenFile):
    """The file at ``path``, with its write lock. Opens itself at the first call.

    The arguments are those of `OpenFile`.
    """

    def look(self) -> Connection:
        """Return the connection, opened if need be, after a look around if one is due.

        A file that has lost its name is left, if that needs no waiting. If others have
        written, the cache is emptied.

        Raises:
            Busy, NeedsWriteLock, StorageError, sqlite3.Error, OSError: it could not be opened.
        """
        while True:
            connection = self.connection
            if connection is None:
                try:
                    self._open(is_locked=False)
                except NeedsWriteLock:
                    self._mend_under_lock()
                continue
            now = Clock.monotonic()
            if self.cache.revalidated_at <= now < self.cache.revalidate_at:
                return connection
            try:
                if self._is_all_in_place(connection):
                    connection.lost_at = None
                else:
                    self._mend_for_a_reader(connection, now)
                    connection = self.connection or connection
                    if not self.versions.is_in_place():
                        self.cache.empty(None)
                        self.versions.open()
                self._look_for_edits(connection, now)
            except sqlite3.ProgrammingError:
                self.reopen_if_closed(connection)
            else:
                return connection

    def read(self, work: Callable[[Connection, *Arguments], T], *arguments: *Arguments) -> T:
        """Call ``work`` with the connection, after a look around if one is due.

        Args:
            work: only reads. It is given the connection and the arguments. Called again where it
                finds the connection closed: a signal handler was at work.
            arguments: of the work.

        Raises:
            Busy: see there; nothing was read.
            StorageError: nothing was read.
        """
        try:
            while True:
                connection = self.look()
                try:
                    return work(connection, *arguments)
                except sqlite3.ProgrammingError:
                    self.reopen_if_closed(connection)
        except (sqlite3.Error, OSError) as error:
            self.raise_storage_error(error, is_writing=False)

    def locked(
        self,
        work: Callable[[Connection, int, *Arguments], int | None],
        *arguments: *Arguments,
    ) -> int:
        """Call ``work`` under the write lock, with the connection to the file that has the name.

        Args:
            work: is given the connection, the time (Unix time in ms) and the arguments. Called
                again where it returns None or finds the connection closed: a signal handler
                was at work.
            arguments: of the work.

        Raises:
            Busy: see there; nothing was done.
            StorageError: nothing was written, unless its code is "outcome-unknown".
        """
        lock = self.write_lock
        depth = lock.depth
        lock.depth = depth + 1
        try:
            while True:
                connection = self.locked_connection()
                try:
                    changed = work(connection, time.time_ns() // 1_000_000, *arguments)
                    if changed is not None:
                        return changed
                except sqlite3.ProgrammingError:
                    self.reopen_if_closed(connection)
        except (sqlite3.Error, OSError) as error:
            self.raise_storage_error(error, is_writing=True)
        finally:
            # As `WriteLock` says: no call before the lock is let go of.
            lock.depth = depth
            if not depth:
                lock.lock_generation += 1
                lock.is_held = False
                try:
                    lock.unlock_file()
                except OSError as error:
                    lock.let_go_by_closing(error)
                except BaseException:  # of a handler that ran in an audit hook
                    lock.descriptor, lock.unlock_file = None, UNLOCK_NONE
                    lock.close_file()
                    raise

    def locked_connection(self) -> Connection:
        """Return the connection to the file that has the name now, with the write lock held.

        To be called within a hold. If a look at what other tools have written is due, it is done.

        Raises:
            Busy, StorageError, sqlite3.Error, OSError: there is no lock, or no connection.
        """
        versions = self.versions
        while True:
            if self._must_exist:
                self._refuse_missing()
            elif self.connection is None:
                self._refuse_beside_a_shelf()
            if not self.write_lock.try_lock():
                raise Busy(f"another process holds {self.write_lock.path}")
            now = Clock.monotonic()  # before the look: it is from then on that it holds
            try:
                stamp = self.watch.look()
            except FileNotFoundError as error:  # the whole directory is gone
                if error.filename != self.watch.directory:
                    raise
                self.write_lock.close()
                continue
            connection = self.connection
            if connection is None:
                if self.write_lock.is_in_place():
                    self._open(is_locked=True)
                else:
                    self.write_lock.close()
                continue
            if stamp is not None or not versions.is_whole():
                if not self.write_lock.is_in_place():
                    self.write_lock.close()
                    continue
                if not connection.is_in_place(self.path):
                    self._mend(connection)
                    continue
                if not versions.is_in_place():
                    self.cache.empty(None)
                    versions.open_or_make(self.write_lock)
                    self.cache.empty(versions.counters)
                    continue
            if stamp is not None:
                self.watch.settle(stamp)
            if self.cache.revalidated_at <= now < self.cache.revalidate_at:
                return connection
            try:
                self._look_for_edits(connection, now)
            except sqlite3.ProgrammingError:
                self.reopen_if_closed(connection)
            else:
                return connection

    def _refuse_missing(self) -> None:
        # Before the lock makes its file, and the directory.
        if self.connection is None:
            with contextlib.suppress(NeedsWriteLock):  # a copy, which is to be given a log
                self._open(is_locked=False)
        elif filesystem.identity(self.path) is None:
            self._existing()

    def _refuse_beside_a_shelf(self) -> None:
        # Before the lock makes its file. Once there is a store, the shelf is no matter.
        if not self.is_shelf_known:
            old_shelf.refuse_beside(self.path)

    def _look_for_edits(self, connection: Connection, now: float) -> None:
        (data_version,) = first_row(connection, "PRAGMA data_version")
        counters = self.versions.counters
        if data_version != connection.data_version or not self.cache.goes_by(counters):
            # Another connection has written: perhaps one of ours, whose writes the counters tell
            # of, but nobody can tell that no other tool has as well. Emptied before that is
            # noted, so that no exception of a signal handler can come in between.
            self.cache.empty(counters)
            connection.data_version = data_version
        self.note_look(now)

    def _is_all_in_place(self, connection: Connection) -> bool:
        self._refuse_lost()
        try:
            is_untouched = self.watch.look() is None
        except FileNotFoundError as error:  # the whole directory is gone
            if error.filename != self.watch.directory:
                raise
            return False
        if is_untouched:
            return self.versions.is_whole()
        return connection.is_in_place(self.path) and self.versions.is_in_place()

    def _mend_for_a_reader(self, connection: Connection, now: float) -> None:
        try:
            self._mend_under_lock()
        except StorageError:
            pass  # the disk is full, say: read on in the old file, and look again in 10 ms
        except Busy as answer:
            if connection.is_in_place(self.path):
                return  # no more than the counters are missing: nothing is kept meanwhile
            if connection.is_left_behind(self.path):
                # Somebody else has mended it. What has the names now can be opened as by anyone
                # who comes new, and of the old one nothing is left that must be removed.
                self._disconnect()
                with contextlib.suppress(NeedsWriteLock):
                    self._open(is_locked=False)
                if self.connection is not None:
                    return
            # Writers are at work, and leave the old file at their next call. So the lock is
            # waited for: where they are many, what is read would be old for long. But reading
            # waits for nobody who is stopped: after a while it goes on in the old file.
            if connection.lost_at is None:
                connection.lost_at = now
            if now - connection.lost_at < OPENING_SECONDS:
                raise Busy(answer.blocker, math.inf) from None

    def _mend_under_lock(self) -> None:
        self.locked(lambda _connection, _now_ms: 0)

    def _mend(self, connection: Connection) -> None:
        try:
            if connection.identity == filesystem.identity(self.path):
                recovery.replace_by_copy(connection, self.path)
        except sqlite3.ProgrammingError:
            self.reopen_if_closed(connection)
        except sqlite3.Error as error:
            # Not _raise_ours, which disconnects: the connection may hold the only copy.
            raise translated(error, self.path, is_writing=False) from error
        self._disconnect()
