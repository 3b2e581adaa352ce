"""Opens and closes one SQLite file safely: its connection, its write lock, its counters.

Not thread-safe: the store's RLock guards every call. No call here waits for another process. If one
is at work, the call raises `Busy`, so that the store can release its RLock before it waits.

The checkpoint of a closing connection needs no write lock: SQLite makes it only while it locks
everyone else out of the database.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import NoReturn

from ...errors import StorageError
from ..coherence.cache import Cache
from ..coherence.counters import Versions
from ..process import descriptors, filesystem, fork, remedies
from ..process.clock import Clock
from ..process.filesystem import DatabaseFile, DirectoryWatch, Identity
from ..process.reentry import holding
from ..process.write_lock import WriteLock
from . import connections, old_shelf, open_checks, recovery
from .connections import Connect, Connection
from .driver_errors import OPENING_SECONDS, Busy, translated
from .open_checks import SeenFiles
from .settings import Settings


class OpenDatabase:
    """The file at ``path``, open or not.

    Args:
        path: absolute, with symbolic links resolved.
        settings: of the store.
        cache: the states kept in memory; empty while the file is closed.
        connect: makes a connection to an existing file.

    Raises:
        StorageError: the path is too long.

    Attributes:
        path, cache, settings: the same.
        connection: to the file, or None while the file is not open.
        write_lock, versions: of this file.
        watch: of its directory.
        is_shelf_known: whether a store may be made beside a shelf, which is being taken over.
        set_synchronous: the statement that sets a connection's durability.
    """

    def __init__(self, path: str, settings: Settings, cache: Cache, connect: Connect) -> None:
        filesystem.refuse_long_path(path)
        self.path: str = path
        self.cache: Cache = cache
        self.settings: Settings = settings
        self.connection: Connection | None = None
        self.write_lock: WriteLock = WriteLock(path, settings.file_mode, self._refuse_lost)
        self.versions: Versions = Versions(path)
        self.watch: DirectoryWatch = DirectoryWatch(os.path.dirname(path))
        self.is_shelf_known: bool = False
        self.set_synchronous: str = f"PRAGMA synchronous = {settings.synchronous}"
        self._connect = connect
        self._half_open: Connection | None = None
        self._missing_since: float | None = None

    @property
    def identity(self) -> Identity | None:
        """Which file is open here now, if any."""
        for connection in (self.connection, self._half_open):
            if connection is not None and not connection.is_closed():
                return connection.identity
        return None

    def open(self, *, is_locked: bool) -> bool:
        """Open the file, unless a signal handler has opened another one meanwhile.

        Args:
            is_locked: whether the caller holds the write lock. If so, this makes a store if the
                file is missing or empty, and removes the log of a database that was replaced.

        Returns:
            False if something has to be done first that only the holder of the write lock may do.
            If True, the caller must still test whether there is a connection, because a signal
            handler may have closed it.

        Raises:
            Busy, StorageError, sqlite3.Error, OSError: the file could not be opened.
        """
        fork.adopt_process()
        return holding(fork.open_lock, self._open_alone, is_locked)

    def disconnect(self) -> None:
        """Close the connection and empty the cache. The lock and the counters stay open."""
        holding(fork.open_lock, self._disconnect_alone)

    def close(self) -> None:
        """Close the connection, the counters and the lock file; harmless if they are closed."""
        if self.write_lock.is_lost() or any(
            connection is not None and descriptors.are_lost(connection.descriptors)
            for connection in (self.connection, self._half_open)
        ):
            self.versions.leave()
        try:
            self.disconnect()
        finally:
            self.versions.close()
            self.write_lock.close()

    def abandon(self) -> None:
        """Never close the inherited connection, in a child that C code has forked.

        To close the connection, even by the garbage collector at exit, would make SQLite delete the
        log that the parent goes on writing to.
        """
        for connection in (self.connection, self._half_open):
            if connection is not None:
                connections.disown(connection)
        self.connection = self._half_open = None
        self.cache.empty(None)
        self.versions.close()
        self.write_lock.abandon()

    def reopen_if_closed(self, connection: Connection) -> None:
        """Reraise the error in an except clause, unless a signal handler closed the connection.

        A handler may run between any two lines, and may close the store, fork, or open the store
        that is just being opened. The statement that found the connection closed did not run.
        """
        if not connection.is_closed():
            raise  # noqa: PLE0704 (see the docstring)
        if connection is self.connection:
            self.connection = None

    def is_all_in_place(self, connection: Connection) -> bool:
        """Whether the paths still name the files that are open here and that a reader needs.

        A reader needs the database, its side files and the counters, but not the lock file.

        Raises:
            Busy: descriptors of this process were closed.
        """
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

    def existing(self) -> DatabaseFile:
        """Return what stands at the path.

        Raises:
            StorageError: the database is missing or empty, and is not to be made. The connection to
                an earlier file is closed then.
        """
        found = filesystem.database_at(self.path)
        if found.absence:
            self.disconnect()
            raise old_shelf.no_store(f"{found.absence}, and none is made here", self.path)
        return found

    def raise_storage_error(self, error: sqlite3.Error | OSError, *, is_writing: bool) -> NoReturn:
        """Raise the error of this package that stands for an error of SQLite or of the system.

        The error is judged by its type and code, and not by its traceback, because a tracing
        library may stand between this package and SQLite or `os`. So an error that a signal handler
        raises may be taken for the store's own. (An `OSError` without an errno comes from no system
        call, and is raised on.)
        """
        if isinstance(error, StorageError):
            raise error
        if isinstance(error, OSError) and error.errno is None:
            raise error
        is_closed = isinstance(error, OSError) and error.errno == errno.EBADF
        if is_closed or connections.have_lost_descriptors():
            self._leave_lost(error)
        if isinstance(error, FileNotFoundError) and self._is_deletion(error):
            raise Busy(f"{self.path} keeps being deleted", OPENING_SECONDS) from error
        if isinstance(error, OSError):
            raise remedies.storage_error(error, error.filename or self.path) from error
        ours = translated(error, self.path, is_writing=is_writing)
        if not isinstance(ours, Busy):
            with contextlib.suppress(sqlite3.Error):
                self.disconnect()  # start afresh once the cause is gone
        raise ours from error

    def _leave_lost(self, error: Exception | None = None) -> NoReturn:
        # Close all stores before a file is opened that could get one of the closed numbers. If
        # another thread is inside of a store, that thread notices the loss by itself.
        fork.close_stores()
        raise Busy("all descriptors of this process were closed", OPENING_SECONDS) from error

    def _refuse_lost(self) -> None:
        if connections.have_lost_descriptors():
            self._leave_lost()

    def _open_alone(self, is_locked: bool) -> bool:
        self._refuse_lost()
        self._disconnect_alone()
        identity = self._found(is_locked=is_locked)
        if identity is None:
            return False
        seen = SeenFiles(self.path, identity)
        try:
            is_safe = open_checks.refuse_unsafe(seen, is_locked=is_locked)
            return is_safe and self._opened(seen, is_locked=is_locked)
        except BaseException as error:
            self._disconnect_alone()
            old_shelf.explain(error, self.path)
            raise

    def _found(self, *, is_locked: bool) -> Identity | None:
        # None: the file is missing or empty. Only the holder of the write lock may make it a store.
        filesystem.refuse_network_filesystem(os.path.dirname(self.path))
        found = self.existing() if self.settings.must_exist else filesystem.database_at(self.path)
        if found.absence and not is_locked:
            return None
        if found.identity is None:
            with contextlib.suppress(FileExistsError):
                connections.create(self.path, self.settings.file_mode)
            found = filesystem.database_at(self.path)
        if found.identity is None:
            raise Busy("the database keeps being deleted", OPENING_SECONDS)
        return found.identity

    def _opened(self, seen: SeenFiles, *, is_locked: bool) -> bool:
        """Connect to a file, and use the connection if the paths still name the files in ``seen``.

        ``is_locked`` and the result are those of `open`.
        """
        try:
            lowest = descriptors.lowest_free()
            # Noted from the start, because a signal handler that forks must close the connection.
            connection = self._half_open = self._connect(self.path, seen.identity)
            if self.connection is not None:  # a handler's, which would be forgotten at the end
                self._disconnect_alone()
                return True
            # If another file has the name by now, SQLite would write the old file's log into it.
            seen.refuse_replaced()
            connection.identity = seen.identity
            is_ready = open_checks.prepare(
                connection, self.path, self.settings, is_locked=is_locked
            )
        except sqlite3.ProgrammingError:
            self.reopen_if_closed(connection)
            return True
        except sqlite3.OperationalError as error:
            seen.refuse_replaced()
            self.raise_storage_error(error, is_writing=False)  # no statement of the caller's ran
        if not is_ready:
            self._disconnect_alone()
            return False
        now = Clock.monotonic()
        connection.side_files = seen.refuse_replaced()
        if None in connection.side_files.values():  # SQLite has just opened both
            raise Busy("the side files keep being deleted", OPENING_SECONDS)
        files = (seen.identity, *connection.side_files.values())
        connection.descriptors = descriptors.found_from(lowest, files)
        seen.refuse_replaced()
        if is_locked:
            self.versions.open_or_make(self.write_lock)
        else:
            self.versions.open()
        self.cache.empty(self.versions.counters)
        if self._half_open is connection:  # else a signal handler has opened another
            # No call in between: what the handler has open must not be forgotten.
            self.connection = connection
            self._half_open = self._missing_since = None
            self.cache.note_look(now)
        return True

    def _disconnect_alone(self) -> None:
        self.cache.empty(None)
        connection, half_open = self.connection, self._half_open
        # A connection is forgotten only after it is closed, because a signal handler must find what
        # is open. A connection that a handler has opened meanwhile stays.
        for each in (connection, half_open):
            if each is not None:
                recovery.close(each, self.path)
        if self.connection is connection:
            self.connection = None
        if self._half_open is half_open:
            self._half_open = None

    def _is_deletion(self, error: FileNotFoundError) -> bool:
        # A file or the directory has just been deleted, and the next try makes it anew. Or, if the
        # error goes on for long, the directory takes no files (as in /proc).
        now = Clock.monotonic()
        if self._missing_since is None:
            self._missing_since = now
        is_new = now - self._missing_since < OPENING_SECONDS
        missing = str(error.filename)
        return is_new and (missing.startswith(self.path) or missing == self.watch.directory)
