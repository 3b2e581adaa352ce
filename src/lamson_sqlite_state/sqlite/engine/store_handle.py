"""Runs every call of a store: under the thread lock, with waiting, and safe across forks."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from ..coherence.cache import Cache
from ..process import fork, process_mark
from ..process.backoff import Backoff
from ..process.filesystem import Identity
from ..process.reentry import ACQUIRE, RELEASE, holding
from .database import Database
from .driver_errors import Busy
from .open_checks import unsafe_fork
from .settings import Settings
from .states_table import StatesTable

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class StoreHandle:
    """One store in one process: lets one thread in at a time, and waits for other processes.

    Args:
        settings: checked.

    Attributes:
        cache: keeps the states that were read and written.
        lock: guards the database object. The thread that holds the lock is alone inside the store.
    """

    _table: StatesTable | None = None  # `__del__` asks even where a handler raised in `__init__`

    def __init__(self, settings: Settings) -> None:
        self.cache: Cache = Cache(settings.cache_size)
        self.lock: threading.RLock = threading.RLock()
        self._settings = settings
        self._queue = threading.RLock()
        self._pid = os.getpid()
        self._mark: process_mark.Mark = process_mark.MARK
        fork.register(self)

    @property
    def database(self) -> Database | None:
        """The database, or None before the first call."""
        return None if self._table is None else self._table.database

    @property
    def path(self) -> str:
        """The file, absolute and with symbolic links resolved."""
        database = self.database
        return os.path.realpath(self._settings.database_path) if database is None else database.path

    def run(self, method: Callable[[StatesTable, *Arguments], T], *arguments: *Arguments) -> T:
        """Call a method of the table, and call it again after each `Busy` until it succeeds.

        Raises:
            LockTimeout: others kept the method waiting for longer than the timeout.
            StorageError: as the method does.
        """
        backoff = None
        try:
            while True:
                if not self._mark[0]:
                    self._adopt_process()
                # This is a LockSet, written out because that saves 0.4 of the 6 us that an uncached
                # `get` takes.
                locks: list[threading.RLock] = []
                releases = map(RELEASE, locks)
                try:
                    locks.extend(filter(ACQUIRE, (self.lock,)))
                    return method(self._table or self._resolved(), *arguments)
                except Busy as busy:
                    blocker, grace_seconds = busy.blocker, busy.grace_seconds
                finally:
                    any(releases)
                # The call waits without the lock. Otherwise, readers and forks in this process
                # would wait with it for the other process.
                backoff = backoff or Backoff(self._settings.timeout, self._queue)
                backoff.wait(self.path, blocker, grace_seconds)
        finally:
            if backoff is not None:
                any(backoff.place.releases)
                backoff.log(self.path)
            if fork.is_about_to_fork():
                # A signal handler or another fork hook made this call, perhaps after our hook had
                # closed all stores. Nothing that is open may cross the fork.
                self.close()

    def close(self) -> None:
        """Close the file in this process; the next call opens it again."""
        if not self._mark[0]:
            self._adopt_process()
        holding(self.lock, self.close_for_fork)

    def __del__(self) -> None:
        # Nothing is closed while the interpreter ends, because its threads are frozen by then, and
        # one of them may hold a lock that closing needs.
        if self.database is None or sys.is_finalizing():
            return
        identity = self.inherited_identity
        if identity is None:
            self.database.close()
        else:
            fork.mark_inherited(identity)
            self.database.abandon()

    def _adopt_process(self) -> None:
        """Give this store a new lock after a fork by C code, which runs no hooks.

        Called before the lock is taken, because a thread that the fork left behind may hold the old
        one.

        Raises:
            UnsafeFork: the store was open when C code forked this process.
        """
        fork.adopt_process()
        if self._pid != os.getpid():
            raise unsafe_fork(self.path)

    def _resolved(self) -> StatesTable:
        table = StatesTable(self._new_database())
        if self._table is None:  # else a signal handler has used the store: its table may be open
            self._table = table
        return self._table

    def _new_database(self) -> Database:
        return Database(self.path, self._settings, self.cache)

    # The methods of fork.ForkAware.

    @property
    def inherited_identity(self) -> Identity | None:
        """The database that was open in this store when C code forked this process, if any."""
        database = self.database
        return None if database is None or self._pid == os.getpid() else database.identity

    def close_for_fork(self) -> None:
        """Close the file, because nothing that is open may cross a fork. The lock is held."""
        if self.database is not None:
            self.database.close()

    def start_in_child(self, *, with_new_lock: bool) -> None:
        """Make this the store of the calling process, with a new lock if need be."""
        if with_new_lock:
            self.lock = threading.RLock()
        self._queue = threading.RLock()  # a thread that the fork left behind may hold the old one
        self._pid = os.getpid()

    def abandon(self) -> None:
        """Never close the inherited connection, and have every later call raise `UnsafeFork`."""
        self._mark = process_mark.NO_PROCESS
        if self.database is not None:
            self.database.abandon()
