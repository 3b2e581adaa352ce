"""One SQLite file: opened, watched, closed safely.

What this package writes, every process learns from the counters of `_coherence`. What other tools
write, and files that come and go, are noticed by a look every 10 ms, which empties the cache.

Not thread-safe: the store's RLock guards every call. Nothing here waits: a call that meets
another process at work raises `NotNow`, so that the store can let its lock go meanwhile.

All that commits does so under the write lock, and so do the checkpoints that SQLite makes in
a commit. That makes sharing fair, and it keeps SQLite's WAL-reset race away, in which a commit
and a checkpoint at one instant corrupt the file (versions 3.7.0 to 3.51.2,
https://www.sqlite.org/wal.html#walresetbug). The checkpoint of a closing connection needs no
write lock: SQLite makes it only while it locks everyone else out of the database.
"""

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Final, NoReturn, TypeVarTuple

from . import _filesystem, _fork, _opening, _rescue, _sharing
from ._blame import is_ours
from ._cache import Cache
from ._coherence import Versions
from ._filesystem import DirectoryWatch, Identity
from ._schema import first_row
from ._sharing import Connection, Interrupted
from ._sqlite_errors import OPENING_SECONDS, NeedsWriteLock, NotNow, translated
from ._write_lock import WriteLock
from .errors import StorageError

__all__ = ["Database"]

Arguments = TypeVarTuple("Arguments")

# How long a reader may go on with a file that has lost its name, or with a cache that does not
# know of another tool's edit. Writers look every time.
_LOOK_SECONDS: Final = 0.010


class Database:
    """The file at ``path``, with its write lock. Opens itself at the first call.

    Args:
        path: absolute, with symlinks resolved.
        synchronous: "FULL" or "NORMAL".
        file_mode: permissions of the files it creates.
        cache: what is kept of the states; empty while the file is closed.

    Attributes:
        connection: to the file, or None while it is not open.
        write_lock: of this file.
        versions: of this file.
    """

    def __init__(self, path: str, synchronous: str, file_mode: int, cache: Cache) -> None:
        self.path = path
        self.cache = cache
        self.connection: Connection | None = None
        self.write_lock = WriteLock(path + ".lock", file_mode)
        self.versions = Versions(path)
        self._half_open: Connection | None = None
        self._missing_since: float | None = None
        self._side_files = (path + "-wal", path + "-shm")
        self.watch = DirectoryWatch(os.path.dirname(path))
        self._synchronous = synchronous
        self._file_mode = file_mode

    @property
    def identity(self) -> Identity | None:
        """Which file is open here now, if any."""
        for connection in (self.connection, self._half_open):
            if connection is not None and not connection.is_closed():
                return connection.identity
        return None

    def look(self) -> Connection:
        """Return the connection, opened if need be, after a look around if one is due.

        A file that has lost its name is left, if that needs no waiting. If others have
        written, the cache is emptied.

        Raises:
            NotNow, NeedsWriteLock, StorageError, sqlite3.Error, OSError: it could not be opened.
        """
        while True:
            connection = self.connection
            if connection is None:
                try:
                    self._open(is_locked=False)
                except NeedsWriteLock:
                    self._mend_under_lock()
                continue
            now = time.monotonic()
            if now < self.cache.valid_until:
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
            NotNow: see there; nothing was done.
            StorageError: nothing was written, unless the message says that this is unknown.
        """
        self.write_lock.holds += 1
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
            self.raise_ours(error, is_writing=True)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """End a hold on the write lock."""
        write_lock = self.write_lock
        write_lock.holds -= 1
        if not write_lock.holds:
            try:
                write_lock.unlock()
            except BaseException:  # a KeyboardInterrupt at its doorstep
                write_lock.unlock()
                raise

    def close(self) -> None:
        """Close the connection and the lock descriptor; harmless where they are closed."""
        try:
            self._disconnect()
        finally:
            self.versions.close()
            self.write_lock.close()

    def abandon(self) -> None:
        """In a child of an unhooked fork: have the inherited connection never closed.

        Closing it, also by the garbage collector at exit, would have SQLite delete the log
        that the parent goes on writing to. So its reference count never reaches zero again.
        """
        for connection in (self.connection, self._half_open):
            if connection is not None:
                _sharing.disown(connection)
                import ctypes  # costly to import, and needed by nobody else

                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self.connection = self._half_open = None
        self.cache.empty(None)
        self.versions.close()
        self.write_lock.abandon()

    def locked_connection(self) -> Connection:
        """Return the connection to the file that has the name now, with the write lock held.

        To be called within a hold. If a look at what other tools have written is due, it is done.

        Raises:
            NotNow, StorageError, sqlite3.Error, OSError: there is no lock, or no connection.
        """
        versions = self.versions
        while True:
            if not self.write_lock.try_lock():
                raise NotNow(f"another process holds {self.write_lock.path}")
            try:
                stamp = self.watch.look()
            except FileNotFoundError as error:  # the whole directory is gone
                if not is_ours(error):
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
            now = time.monotonic()
            if now < self.cache.valid_until:
                return connection
            try:
                self._look_for_edits(connection, now)
            except sqlite3.ProgrammingError:
                self.reopen_if_closed(connection)
            else:
                return connection

    def _look_for_edits(self, connection: Connection, now: float) -> None:
        (data_version,) = first_row(connection, "PRAGMA data_version")
        counters = self.versions.counters
        if data_version != connection.data_version or not self.cache.goes_by(counters):
            # Another connection has written: perhaps one of ours, whose writes the counters tell
            # of, but nobody can tell that no other tool has as well. Emptied before that is
            # noted, so that no exception of a signal handler can come in between.
            self.cache.empty(counters)
            connection.data_version = data_version
        self.cache.valid_until = now + _LOOK_SECONDS

    def _is_all_in_place(self, connection: Connection) -> bool:
        try:
            is_untouched = self.watch.look() is None
        except FileNotFoundError as error:  # the whole directory is gone
            if not is_ours(error):
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
        except NotNow as answer:
            if connection.is_in_place(self.path):
                return  # no more than the counters are missing: nothing is kept meanwhile
            # Writers are at work, and leave the old file at their next call. So the lock is
            # waited for: where they are many, what is read would be old for long. But reading
            # waits for nobody who is stopped: after a while it goes on in the old file.
            if connection.lost_at is None:
                connection.lost_at = now
            if now - connection.lost_at < OPENING_SECONDS:
                raise NotNow(answer.culprit, math.inf) from None

    def _mend_under_lock(self) -> None:
        self.locked(lambda _connection, _now_ms: 0)

    def _mend(self, connection: Connection) -> None:
        try:
            if connection.identity == _filesystem.identity(self.path):
                _rescue.replace_by_copy(connection, self.path)
        except sqlite3.ProgrammingError:
            self.reopen_if_closed(connection)
        except sqlite3.Error as error:
            # Not _raise_ours, which disconnects: the connection may hold the only copy.
            raise translated(error, self.path, is_writing=False) from error
        self._disconnect()

    def _open(self, *, is_locked: bool) -> None:
        _fork.adopt_process()
        with _fork.opening:
            self._disconnect()
            _filesystem.refuse_network_filesystem(os.path.dirname(self.path))
            found = _filesystem.database_at(self.path)
            if not is_locked and (found is None or found[1] == 0):
                raise NeedsWriteLock
            if found is None:
                with contextlib.suppress(FileExistsError):
                    _sharing.create(self.path, self._file_mode)
                found = _filesystem.database_at(self.path)
            if found is None:
                raise NotNow("the database keeps being deleted", OPENING_SECONDS)
            identity = found[0]
            try:
                _opening.refuse_unsafe(self.path, identity, self._side_files, is_locked=is_locked)
                self._connect(identity, is_locked=is_locked)
            except Interrupted:
                return  # to a caller that looks whether there is a connection now
            except BaseException:
                self._disconnect()
                raise

    def _connect(self, identity: Identity, *, is_locked: bool) -> None:
        try:
            # Kept from the start, half open: a signal handler that forks must find it to close.
            connection = self._half_open = Connection.to(self.path)
            connection.identity = identity
            _opening.prepare(connection, self.path, self._synchronous, is_locked=is_locked)
        except sqlite3.ProgrammingError:
            self.reopen_if_closed(connection)
            raise Interrupted from None
        except sqlite3.OperationalError as error:
            self._refuse_replaced(identity)
            self.raise_ours(error, is_writing=False)  # nothing of the caller's, that is
        connection.side_files = {path: _filesystem.identity(path) for path in self._side_files}
        self._refuse_replaced(identity)
        if is_locked:
            self.versions.open_or_make(self.write_lock)
        else:
            self.versions.open()
        self.cache.empty(self.versions.counters)
        valid_until = time.monotonic() + _LOOK_SECONDS
        if self._half_open is not connection:  # a signal handler has opened another
            raise Interrupted
        self.cache.valid_until = valid_until
        self._missing_since = None
        self.connection = connection
        self._half_open = None

    def _refuse_replaced(self, identity: Identity) -> None:
        if identity != _filesystem.identity(self.path):
            raise NotNow("the database keeps being replaced", OPENING_SECONDS)

    def _is_deletion(self, error: FileNotFoundError) -> bool:
        # A file, or the directory, has just been deleted, and all will be made anew next time.
        # Where it goes on for long, it is a directory that takes no files (in /proc).
        now = time.monotonic()
        if self._missing_since is None:
            self._missing_since = now
        is_new = now - self._missing_since < OPENING_SECONDS
        return is_new and str(error.filename).startswith(self.path)

    def reopen_if_closed(self, connection: Connection) -> None:
        """To be called in an except clause: raise on, unless the connection was closed under us.

        A signal handler that closes the store, forks, or opens while we were opening, may run
        between any two lines. The statement that found the connection closed did not run.
        """
        if not connection.is_closed():
            raise  # noqa: PLE0704 (see the docstring)
        if connection is self.connection:
            self.connection = None

    def _disconnect(self) -> None:
        with _fork.opening:
            self.cache.empty(None)
            connection, half_open = self.connection, self._half_open
            # Closed first, forgotten then: what is open must be found by a signal handler.
            # What one has opened meanwhile stays.
            for each in (connection, half_open):
                if each is not None:
                    _rescue.close(each, self.path)
            if self.connection is connection:
                self.connection = None
            if self._half_open is half_open:
                self._half_open = None

    def raise_ours(self, error: sqlite3.Error | OSError, *, is_writing: bool) -> NoReturn:
        if isinstance(error, StorageError) or not is_ours(error):
            raise error
        if isinstance(error, FileNotFoundError) and self._is_deletion(error):
            raise NotNow(f"{self.path} keeps being deleted", OPENING_SECONDS) from error
        if isinstance(error, OSError):
            raise _filesystem.storage_error(error, error.filename or self.path) from error
        ours = translated(error, self.path, is_writing=is_writing)
        if not isinstance(ours, NotNow):
            with contextlib.suppress(sqlite3.Error):
                self._disconnect()  # start afresh once the cause is gone
        raise ours from error
