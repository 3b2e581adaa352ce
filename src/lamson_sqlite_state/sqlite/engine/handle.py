"""What every call of a store goes through: its lock, the waiting, the forks, the end."""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Literal, Self, TypeVar, TypeVarTuple

from ..coherence.cache import Cache
from ..process import fork
from ..process.filesystem import Identity
from ..process.lock_set import ACQUIRE, RELEASE, holding
from ..process.write_lock import Backoff
from .database import Database
from .driver_errors import Busy
from .open_checks import unsafe_fork
from .table import StatesTable

_SYNCHRONOUS_MODES: Final = ("FULL", "NORMAL")

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class StoreHandle:
    """A state file as one process has it: who may come in when, and how long one waits.

    The arguments are those of `SQLiteStorage`, which says what can be asked of it.
    """

    _must_exist = False
    """Whether a missing file is an error."""

    def __init__(
        self,
        database_path: str | os.PathLike[str],
        *,
        timeout: float = 30.0,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        file_mode: int = 0o600,
        cache_size: int = 65_536,
    ) -> None:
        given = os.fsdecode(database_path)
        if given in ("", ":memory:"):
            raise ValueError(f"{given!r} names no file that processes could share: give a path")
        if "\0" in given:
            raise ValueError(f"a path cannot hold a NUL character: {given!r}")
        if not timeout >= 0:
            raise ValueError(f"timeout must be 0 or more seconds, not {timeout!r}")
        if synchronous not in _SYNCHRONOUS_MODES:
            raise ValueError(f"synchronous must be 'FULL' or 'NORMAL', not {synchronous!r}")
        if file_mode & ~0o777 or file_mode & 0o600 != 0o600:
            raise ValueError(f"file_mode must be 0o600 to 0o777, not {file_mode!r}")
        if not isinstance(cache_size, int):
            raise TypeError(f"cache_size must be an int, not {cache_size!r}")
        if cache_size < 0:
            raise ValueError(f"cache_size must be 0 or more pairs, not {cache_size!r}")
        self._given_path = os.path.abspath(given)
        self._timeout = timeout
        self._synchronous = synchronous
        self._file_mode = file_mode
        self._cache_size = cache_size
        self._cache = Cache(cache_size)
        self._lock = threading.RLock()
        self._queue = threading.RLock()
        self._database: Database | None = None
        self._states: StatesTable | None = None
        self._pid = os.getpid()
        self._mark: fork.Mark = fork.process_mark
        fork.register(self)

    @property
    def path(self) -> str:
        """The file, absolute and with symbolic links resolved."""
        return self._database.path if self._database else os.path.realpath(self._given_path)

    @property
    def timeout(self) -> float:
        """How many seconds one call may wait for other writers."""
        return self._timeout

    def close(self) -> None:
        """Close the file in this process; the next call opens it again.

        The last process to close it leaves one whole file, without ``-wal`` and ``-shm``. Where
        two close at one instant, SQLite may take neither for the last. Then both files stay, and
        nothing is lost: the next process that opens the store and closes it is the last.
        """
        if not self._mark[0]:
            self._adopt_process()
        holding(self._lock, self.close_for_fork)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __getstate__(self) -> dict[str, object]:
        return {
            "database_path": self._given_path,
            "timeout": self._timeout,
            "synchronous": self._synchronous,
            "file_mode": self._file_mode,
            "cache_size": self._cache_size,
        }

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        StoreHandle.__init__(self, **arguments)

    def __del__(self) -> None:
        database = getattr(self, "_database", None)
        # While the interpreter ends, its threads are frozen, some perhaps with our locks held.
        if database is None or sys.is_finalizing():
            return
        identity = self.inherited_identity
        if identity is None:
            database.close()
        else:
            fork.mark_inherited(identity)
            database.abandon()

    def _call(self, method: Callable[[StatesTable, *Arguments], T], *arguments: *Arguments) -> T:
        """Call a method of the table, again and again until it may have what it needs."""
        backoff = None
        try:
            while True:
                if not self._mark[0]:
                    self._adopt_process()
                # A LockSet, written out: 0.4 us less, of the 6 that an uncached `get` takes.
                locks: list[threading.RLock] = []
                releases = map(RELEASE, locks)
                try:
                    locks.extend(filter(ACQUIRE, (self._lock,)))
                    return method(self._states or self._resolved(), *arguments)
                except Busy as answer:
                    blocker, grace_seconds = answer.blocker, answer.grace_seconds
                finally:
                    any(releases)
                # Waiting is done without the lock, so that a thread that waits for another
                # process keeps neither readers nor a fork in this one waiting with it.
                backoff = backoff or Backoff(self._timeout, self._queue)
                backoff.wait(self.path, blocker, grace_seconds)
        finally:
            if backoff is not None:
                any(backoff.place.releases)
            if fork.is_about_to_fork():
                self.close()  # again: nothing that a fork hook has opened may cross the fork

    def _adopt_process(self) -> None:
        """Make the lock this process's own; to be called when the process is another one.

        And before the lock is touched: a thread that the fork left behind may hold it.
        """
        fork.adopt_process()
        if self._pid != os.getpid():
            raise unsafe_fork(self.path)

    def _resolved(self) -> StatesTable:
        database = Database(
            self.path,
            self._synchronous,
            self._file_mode,
            self._cache,
            must_exist=self._must_exist,
        )
        self._database, self._states = database, StatesTable(database, self._synchronous)
        return self._states

    # What _fork.ForkAware asks for.

    @property
    def lock(self) -> threading.RLock:
        """Guards the database object: whoever holds it is alone inside the store."""
        return self._lock

    @property
    def inherited_identity(self) -> Identity | None:
        """The file left open here by the process that this one is a copy of, if any."""
        if self._database is None or self._pid == os.getpid():
            return None
        return self._database.identity

    def close_for_fork(self) -> None:
        """Leave nothing open that would cross a fork."""
        if self._database is not None:
            self._database.close()

    def start_in_child(self, *, with_new_lock: bool) -> None:
        """Belong to the calling process."""
        if with_new_lock:
            self._lock = threading.RLock()
        self._queue = threading.RLock()  # a thread left behind may be first in the old one
        self._pid = os.getpid()

    def abandon(self) -> None:
        """Never close what was inherited, and let nobody use it."""
        self._mark = fork.NO_PROCESS
        if self._database is not None:
            self._database.abandon()
