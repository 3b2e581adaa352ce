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
import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from . import _filesystem, _fork, _opening, _rescue
from ._filesystem import DirectoryWatch, Identity
from ._schema import first_row
from ._sqlite_errors import NeedsWriteLock, NotNow, translated
from ._write_lock import WriteLock
from .errors import StorageError

__all__ = ["Database", "Parameters"]

Parameters: TypeAlias = tuple[object, ...]

# How long a reader may go on with a file that has lost its name. Writers look every time.
_LOOK_SECONDS: Final = 0.010

_CHECKPOINT_PAGES: Final = 1000
_LAZY_CHECKPOINT_PAGES: Final = 4000


class Database:
    """The file at ``path``, with its write lock. Opens itself at the first call.

    Args:
        path: absolute, with symlinks resolved.
        synchronous: "FULL" or "NORMAL".
        file_mode: permissions of the files it creates.
    """

    def __init__(self, path: str, synchronous: str, file_mode: int) -> None:
        self.path = path
        self.identity: Identity | None = None
        """Which file may be open here. Set before a connection exists, cleared after."""
        self._connection: sqlite3.Connection | None = None
        self._is_ready = False
        self._look_due = 0.0
        self._file_mode = file_mode
        self._side_files: dict[str, Identity | None] = {path + "-wal": None, path + "-shm": None}
        self._write_lock = WriteLock(path + ".lock", file_mode)
        self._watch = DirectoryWatch(os.path.dirname(path))
        self._synchronous = synchronous
        self._set_synchronous = f"PRAGMA synchronous = {synchronous}"

    def read(self, sql: str, parameters: Parameters) -> Any:
        """Return the first row of a query, or None. Takes no file lock unless it must create.

        Raises:
            NotNow: see there.
            StorageError: nothing was read.
        """
        try:
            while True:
                if not self._is_ready or time.monotonic() >= self._look_due:
                    self._look()
                connection = self._connection
                if connection is None:
                    continue  # a signal handler has just closed the store
                try:
                    return first_row(connection, sql, parameters)
                except sqlite3.ProgrammingError:
                    if connection is self._connection:
                        raise
        except (sqlite3.Error, OSError) as error:
            self._raise_ours(error, is_writing=False)

    def write(
        self, sql: str, parameters_at: Callable[[int], Parameters], *, is_lazy: bool = False
    ) -> int:
        """Run one statement under the write lock; it has committed when this returns.

        Args:
            sql: the statement.
            parameters_at: makes its parameters from the time of writing (Unix time in ms).
            is_lazy: return without waiting for the disk; a power cut may undo it.

        Returns:
            How many rows it inserted or changed.

        Raises:
            NotNow: see there; nothing was written.
            StorageError: nothing was written, unless the message says that this is unknown.
        """
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
                        # We are in a signal handler that may have interrupted _run_lazily.
                        connection.execute(self._set_synchronous)
                    return connection.execute(sql, parameters).rowcount
                except sqlite3.ProgrammingError:
                    if connection is self._connection:
                        raise
                    # A signal handler closed the store, or forked, before the statement ran.
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
        self._is_ready = False
        connection, self._connection = self._connection, None
        if connection is not None:
            import ctypes  # costly to import, and needed by nobody else

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._write_lock.abandon()

    def _run_lazily(self, connection: sqlite3.Connection, sql: str, parameters: Parameters) -> int:
        # One call into C, as in first_row: a signal handler finds `synchronous` as it should
        # be. The checkpoint, which syncs, is left to the next real write; not for ever, as
        # the log must not grow without bound.
        script = (
            (f"PRAGMA wal_autocheckpoint = {_LAZY_CHECKPOINT_PAGES}", ()),
            ("PRAGMA synchronous = NORMAL", ()),
            (sql, parameters),
            (self._set_synchronous, ()),
            (f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}", ()),
        )
        try:
            cursors = tuple(map(connection.execute, *zip(*script, strict=True)))
        except BaseException:
            self.close()  # in the middle of the script: start afresh
            raise
        return cursors[2].rowcount

    def _locked_connection(self) -> sqlite3.Connection:
        """Return the connection to the file that has the name now, with the write lock held."""
        while True:
            if not self._write_lock.try_lock():
                raise NotNow(f"another process holds {self._write_lock.path}")
            try:
                stamp = self._watch.look()
            except FileNotFoundError:  # the whole directory is gone
                self._write_lock.close()
                continue
            connection = self._connection
            if stamp is None and self._is_ready and connection is not None:
                return connection
            if not self._write_lock.is_in_place():
                self._write_lock.close()
            elif not self._is_ready or connection is None:
                self._open(is_locked=True)
            elif not self._is_in_place():
                self._mend(connection)
            elif stamp is not None:
                self._watch.settle(stamp)
                return connection

    def _look(self) -> None:
        """Open if need be, and leave a file that has lost its name, if that needs no waiting."""
        if not self._is_ready:
            try:
                self._open(is_locked=False)
            except NeedsWriteLock:
                self._lock_and_mend()
            return
        self._look_due = time.monotonic() + _LOOK_SECONDS
        with contextlib.suppress(FileNotFoundError):
            if self._watch.look() is None or self._is_in_place():
                return
        # Where a writer is at work, read on in the old file and look again in 10 ms: reading
        # waits for nobody.
        with contextlib.suppress(NotNow):
            self._lock_and_mend()

    def _lock_and_mend(self) -> None:
        self._write_lock.holds += 1
        try:
            self._locked_connection()
        finally:
            self._write_lock.holds -= 1
            if not self._write_lock.holds:
                self._write_lock.unlock()

    def _is_in_place(self) -> bool:
        """Whether all names still stand for the files that are open here."""
        return self.identity == _filesystem.identity(self.path) and all(
            identity == _filesystem.identity(path) for path, identity in self._side_files.items()
        )

    def _mend(self, connection: sqlite3.Connection) -> None:
        if self.identity == _filesystem.identity(self.path):
            _rescue.replace_by_copy(connection, self.path, self._side_files)
        else:
            _rescue.leave_moved_database(connection, self._side_files)
        self._is_ready = False

    def _open(self, *, is_locked: bool) -> None:
        _fork.adopt_process()
        with _fork.opening:
            self._disconnect()
            _filesystem.refuse_network_filesystem(os.path.dirname(self.path))
            if not _filesystem.database_size(self.path) and not is_locked:
                raise NeedsWriteLock
            identity = _filesystem.identity(self.path)
            if identity is None:
                os.close(_filesystem.create_file(self.path, self._file_mode))
                identity = _filesystem.identity(self.path)
            _opening.refuse_unsafe(self.path, identity, self._side_files, is_locked=is_locked)
            self.identity = identity
            try:
                self._connect(is_locked=is_locked)
            except BaseException:
                self._disconnect()
                raise
            self._look_due = time.monotonic() + _LOOK_SECONDS
            self._is_ready = True

    def _connect(self, *, is_locked: bool) -> None:
        # Kept from the start, half prepared: a signal handler that forks must find it to close.
        self._connection = _opening.connect(self.path)
        files = _opening.open_here[id(self)] = {self.identity}
        _opening.prepare(self._connection, self.path, self._synchronous, is_locked=is_locked)
        for side_file in self._side_files:
            self._side_files[side_file] = _filesystem.identity(side_file)
        files.update(self._side_files.values())
        if self.identity != _filesystem.identity(self.path):
            raise NotNow("the database keeps being replaced")

    def _disconnect(self) -> None:
        with _fork.opening:
            self._is_ready = False
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            _opening.open_here.pop(id(self), None)
            self.identity = None

    def _raise_ours(self, error: sqlite3.Error | OSError, *, is_writing: bool) -> NoReturn:
        if isinstance(error, StorageError):
            raise error
        if isinstance(error, OSError):
            if error.errno is None:
                raise error  # not the system's: a signal handler's TimeoutError, say
            raise _filesystem.storage_error(error, error.filename or self.path) from error
        ours = translated(error, self.path, is_writing=is_writing)
        if not isinstance(ours, NotNow):
            with contextlib.suppress(sqlite3.Error):
                self._disconnect()  # start afresh once the cause is gone
        raise ours from error
