"""One SQLite file: opened, watched, closed safely.

Not thread-safe: the store's RLock guards every call. Nothing here waits: a call that meets
another process at work raises `NotNow`, so that the store can let its lock go meanwhile.

All that commits does so under the write lock, and so do the checkpoints that SQLite makes in
a commit. That makes sharing fair, and it keeps SQLite's WAL-reset race away, in which a commit
and a checkpoint at one instant corrupt the file (versions 3.7.0 to 3.51.2,
https://www.sqlite.org/wal.html#walresetbug). The checkpoint of a closing connection needs no
write lock: SQLite makes it only while it locks everyone else out of the database.
"""

import contextlib
import operator
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from . import _filesystem, _fork, _opening, _rescue, _schema, _sharing
from ._blame import is_ours
from ._filesystem import DirectoryWatch, Identity
from ._schema import first_row
from ._sharing import Connection, Interrupted
from ._sqlite_errors import OPENING_SECONDS, NeedsWriteLock, NotNow, translated
from ._write_lock import WriteLock
from .errors import StorageError

__all__ = ["Database", "Parameters"]

Parameters: TypeAlias = tuple[object, ...]

# How long a reader may go on with a file that has lost its name. Writers look every time.
_LOOK_SECONDS: Final = 0.010

_CHECKPOINT_PAGES: Final = 1000
_LAZY_CHECKPOINT_PAGES: Final = 4000


_rowcount: Final = operator.attrgetter("rowcount")  # -1 of a statement that changes no rows


class Database:
    """The file at ``path``, with its write lock. Opens itself at the first call.

    Args:
        path: absolute, with symlinks resolved.
        synchronous: "FULL" or "NORMAL".
        file_mode: permissions of the files it creates.
    """

    def __init__(self, path: str, synchronous: str, file_mode: int) -> None:
        self.path = path
        self._connection: Connection | None = None
        self._half_open: Connection | None = None
        self._look_due = 0.0
        self._file_mode = file_mode
        self._side_files = (path + "-wal", path + "-shm")
        self._write_lock = WriteLock(path + ".lock", file_mode)
        self._watch = DirectoryWatch(os.path.dirname(path))
        self._synchronous = synchronous
        self._set_synchronous = f"PRAGMA synchronous = {synchronous}"

    @property
    def identity(self) -> Identity | None:
        """Which file is open here now, if any."""
        for connection in (self._connection, self._half_open):
            if connection is not None and not connection.is_closed():
                return connection.identity
        return None

    def read(self, sql: str, parameters: Parameters) -> Any:
        """Return the first row of a query, or None. Takes no file lock unless it must create.

        Raises:
            NotNow: see there.
            StorageError: nothing was read.
        """
        try:
            while True:
                connection = self._connection
                if connection is None or time.monotonic() >= self._look_due:
                    connection = self._look()
                try:
                    return first_row(connection, sql, parameters)
                except sqlite3.ProgrammingError:
                    self._reopen_if_closed(connection)
        except (sqlite3.Error, OSError) as error:
            self._raise_ours(error, is_writing=False)

    def write(self, sql: str, parameters_at: Callable[[int], Parameters]) -> int:
        """Run one statement under the write lock; it has committed when this returns.

        Args:
            sql: the statement.
            parameters_at: makes its parameters from the time of writing (Unix time in ms).

        Returns:
            How many rows it inserted or changed.

        Raises:
            NotNow: see there; nothing was written.
            StorageError: nothing was written, unless the message says that this is unknown.
        """
        return self._write(sql, parameters_at, is_lazy=False)

    def write_lazily(self, sql: str, parameters_at: Callable[[int], Parameters]) -> int:
        """Do as `write`, but return without waiting for the disk: a power cut may undo it."""
        return self._write(sql, parameters_at, is_lazy=True)

    def close(self) -> None:
        """Close the connection and the lock descriptor; harmless where they are closed."""
        try:
            self._disconnect()
        finally:
            self._write_lock.close()

    def abandon(self) -> None:
        """In a child of an unhooked fork: have the inherited connection never closed.

        Closing it, also by the garbage collector at exit, would have SQLite delete the log
        that the parent goes on writing to. So its reference count never reaches zero again.
        """
        for connection in (self._connection, self._half_open):
            if connection is not None:
                _sharing.disown(connection)
                import ctypes  # costly to import, and needed by nobody else

                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._connection = self._half_open = None
        self._write_lock.abandon()

    def _write(self, sql: str, parameters_at: Callable[[int], Parameters], *, is_lazy: bool) -> int:
        write_lock = self._write_lock
        write_lock.holds += 1
        try:
            while True:
                connection = self._locked_connection()
                parameters = parameters_at(time.time_ns() // 1_000_000)
                try:
                    if is_lazy:
                        return self._run_lazily(connection, sql, parameters)
                    if write_lock.holds > 1:
                        # We may be in a finalizer that runs in the middle of _run_lazily.
                        connection.execute(self._set_synchronous)
                    return connection.execute(sql, parameters).rowcount
                except sqlite3.ProgrammingError:
                    self._reopen_if_closed(connection)
        except (sqlite3.Error, OSError) as error:
            self._raise_ours(error, is_writing=True)
        finally:
            write_lock.holds -= 1
            if not write_lock.holds:
                try:
                    write_lock.unlock()
                except BaseException:  # a KeyboardInterrupt at its doorstep
                    write_lock.unlock()
                    raise

    def _run_lazily(self, connection: Connection, sql: str, parameters: Parameters) -> int:
        # One call into C, as in first_row: a signal handler finds `synchronous` as it should
        # be, and no statement half read. The checkpoint, which syncs, is left to the next
        # real write; not for ever, as the log must not grow without bound.
        script = (
            (f"PRAGMA wal_autocheckpoint = {_LAZY_CHECKPOINT_PAGES}", ()),
            ("PRAGMA synchronous = NORMAL", ()),
            (sql, parameters),
            (self._set_synchronous, ()),
            (f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}", ()),
        )
        try:
            changed: int = max(map(_rowcount, map(connection.execute, *zip(*script, strict=True))))
        except BaseException:
            self.close()  # in the middle of the script: start afresh
            raise
        return changed

    def _locked_connection(self) -> Connection:
        """Return the connection to the file that has the name now, with the write lock held."""
        while True:
            if not self._write_lock.try_lock():
                raise NotNow(f"another process holds {self._write_lock.path}")
            try:
                stamp = self._watch.look()
            except FileNotFoundError as error:  # the whole directory is gone
                if not is_ours(error):
                    raise
                self._write_lock.close()
                continue
            connection = self._connection
            if stamp is None and connection is not None:
                return connection
            if not self._write_lock.is_in_place():
                self._write_lock.close()
            elif connection is None:
                self._open(is_locked=True)
            elif not connection.is_in_place(self.path):
                self._mend(connection)
            elif stamp is not None:
                self._watch.settle(stamp)
                return connection

    def _look(self) -> Connection:
        """Open if need be, and leave a file that has lost its name, if that needs no waiting."""
        while (connection := self._connection) is None:
            try:
                self._open(is_locked=False)
            except NeedsWriteLock:
                self._mend_under_lock()
        if time.monotonic() >= self._look_due:
            self._look_due = time.monotonic() + _LOOK_SECONDS
            try:
                if self._watch.look() is None or connection.is_in_place(self.path):
                    return connection
            except FileNotFoundError as error:
                if not is_ours(error):
                    raise
            # Where a writer is at work, or the disk is full, read on in the old file and look
            # again in 10 ms: reading waits for nobody.
            with contextlib.suppress(NotNow, StorageError):
                self._mend_under_lock()
            return self._connection or connection
        return connection

    def _mend_under_lock(self) -> None:
        self.write(_schema.NOTHING, lambda _since: ())

    def _mend(self, connection: Connection) -> None:
        try:
            if connection.identity == _filesystem.identity(self.path):
                _rescue.replace_by_copy(connection, self.path)
        except sqlite3.ProgrammingError:
            self._reopen_if_closed(connection)
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
            self._reopen_if_closed(connection)
            raise Interrupted from None
        except sqlite3.OperationalError as error:
            self._refuse_replaced(identity)
            self._raise_ours(error, is_writing=False)  # nothing of the caller's, that is
        connection.side_files = {path: _filesystem.identity(path) for path in self._side_files}
        self._refuse_replaced(identity)
        self._look_due = time.monotonic() + _LOOK_SECONDS
        self._connection = connection
        self._half_open = None

    def _refuse_replaced(self, identity: Identity) -> None:
        if identity != _filesystem.identity(self.path):
            raise NotNow("the database keeps being replaced", OPENING_SECONDS)

    def _reopen_if_closed(self, connection: Connection) -> None:
        """To be called in an except clause: raise on, unless the connection was closed under us.

        A signal handler that closes the store, forks, or opens while we were opening, may run
        between any two lines. The statement that found the connection closed did not run.
        """
        if not connection.is_closed():
            raise  # noqa: PLE0704 (see the docstring)
        if connection is self._connection:
            self._connection = None

    def _disconnect(self) -> None:
        with _fork.opening:
            connection, half_open = self._connection, self._half_open
            # Closed first, forgotten then: what is open must be found by a signal handler.
            # What one has opened meanwhile stays.
            for each in (connection, half_open):
                if each is not None:
                    _rescue.close(each, self.path)
            if self._connection is connection:
                self._connection = None
            if self._half_open is half_open:
                self._half_open = None

    def _raise_ours(self, error: sqlite3.Error | OSError, *, is_writing: bool) -> NoReturn:
        if isinstance(error, StorageError) or not is_ours(error):
            raise error
        if isinstance(error, OSError):
            raise _filesystem.storage_error(error, error.filename or self.path) from error
        ours = translated(error, self.path, is_writing=is_writing)
        if not isinstance(ours, NotNow):
            with contextlib.suppress(sqlite3.Error):
                self._disconnect()  # start afresh once the cause is gone
        raise ours from error
