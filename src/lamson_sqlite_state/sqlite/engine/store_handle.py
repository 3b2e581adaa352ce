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
    """A state file as one process has it: who may come in when, and how long one waits.

    Args:
        settings: checked.

    Attributes:
        cache: keeps what is read and written.
        lock: guards the database object. Whoever holds it is alone inside the store.
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
        """Call a method of the table, again and again until it may have what it needs.

        Raises:
            LockTimeout: others had it for longer than the timeout.
            StorageError: as the method does.
        """
        backoff = None
        try:
            while True:
                if not self._mark[0]:
                    self._adopt_process()
                # A LockSet, written out: 0.4 us less, of the 6 that an uncached `get` takes.
                locks: list[threading.RLock] = []
                releases = map(RELEASE, locks)
                try:
                    locks.extend(filter(ACQUIRE, (self.lock,)))
                    return method(self._table or self._resolved(), *arguments)
                except Busy as busy:
                    blocker, grace_seconds = busy.blocker, busy.grace_seconds
                finally:
                    any(releases)
                # Waiting is done without the lock, so that a thread that waits for another
                # process keeps neither readers nor a fork in this one waiting with it.
                backoff = backoff or Backoff(self._settings.timeout, self._queue)
                backoff.wait(self.path, blocker, grace_seconds)
        finally:
            if backoff is not None:
                any(backoff.place.releases)
                backoff.log(self.path)
            if fork.is_about_to_fork():
                self.close()  # again: nothing that a fork hook has opened may cross the fork

    def close(self) -> None:
        """Close the file in this process; the next call opens it again."""
        if not self._mark[0]:
            self._adopt_process()
        holding(self.lock, self.close_for_fork)

    def __del__(self) -> None:
        # While the interpreter ends, its threads are frozen, some perhaps with our locks held.
        if self.database is None or sys.is_finalizing():
            return
        identity = self.inherited_identity
        if identity is None:
            self.database.close()
        else:
            fork.mark_inherited(identity)
            self.database.abandon()

    def _adopt_process(self) -> None:
        """Make the lock this process's own; to be called when the process is another one.

        And before the lock is touched: a thread that the fork left behind may hold it.
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

    # What fork.ForkAware asks for.

    @property
    def inherited_identity(self) -> Identity | None:
        """The file left open here by the process that this one is a copy of, if any."""
        database = self.database
        return None if database is None or self._pid == os.getpid() else database.identity

    def close_for_fork(self) -> None:
        """Leave nothing open that would cross a fork."""
        if self.database is not None:
            self.database.close()

    def start_in_child(self, *, with_new_lock: bool) -> None:
        """Belong to the calling process."""
        if with_new_lock:
            self.lock = threading.RLock()
        self._queue = threading.RLock()  # a thread left behind may be first in the old one
        self._pid = os.getpid()

    def abandon(self) -> None:
        """Never close what was inherited, and let nobody use it."""
        self._mark = process_mark.NO_PROCESS
        if self.database is not None:
            self.database.abandon()
