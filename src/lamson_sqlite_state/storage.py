"""SQLiteStorage: the door. Who may come in when, and how long one waits; the rest is below."""

import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Literal, Self, TypeVar, TypeVarTuple

from . import _fork, _schema
from ._coherence import EVERY_STRIPE, Cache, stripe_of
from ._database import Database
from ._filesystem import Identity
from ._keys import checked_state, row_key
from ._opening import unsafe_fork
from ._sqlite_errors import NotNow
from ._states import States
from ._write_lock import Patience
from .interface import ROUTE_FIRST_STATE

__all__ = ["SQLiteStorage"]

_SYNCHRONOUS_MODES: Final = ("FULL", "NORMAL")


T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class SQLiteStorage:
    """Conversation states in one SQLite file that threads and processes share safely.

    Every method is atomic across threads and processes: it has happened entirely or not at
    all, and once it has returned, every other thread and process sees it. Each may be called
    at any moment, also from a signal handler that interrupted another, and on both sides of
    any ``os.fork`` or ``multiprocessing`` start.

    Constructing opens nothing and touches no file, so this may stand in ``boot.py`` before the
    process daemonises, changes directory, drops privileges or forks. The first call opens
    the file, creating it and its directory where they are missing. A closed store opens again at
    the next call. A store can be pickled: it travels as its arguments.

    Keys may be ``str``, ``bytes``, ``None``, numbers, or tuples of these; they are
    kept exactly as given, and two pairs are the same exactly when ``repr([module, sender])``
    is the same. Every method raises ``TypeError`` for keys of other types.

    Every method can raise a `StorageError`: the file cannot be used, and nothing was written
    unless the message says that this is unknown. Of these, `LockTimeout` means that others held
    the file for longer than ``timeout``, and `UnsafeFork` that C code forked this process while
    the store was open.

    Args:
        database_path: the file. A relative path is made absolute now, symbolic links are
            resolved at the first use. Beside it stand its ``-wal``, ``-shm``, ``.lock`` and
            ``.versions``.
        timeout: seconds that one call may wait for writers in other processes. 0 means to try
            once. A call also waits for those of other threads on the same store, each of which
            holds it for one statement and not while it waits for a process.
        synchronous: "FULL", so that a state that was set survives a power cut, or "NORMAL",
            so that it survives a crash of the process but not of the machine
            (https://www.sqlite.org/pragma.html#pragma_synchronous).
        file_mode: permissions of the files it creates. Mail addresses are personal data, so
            by default only the owner can read them.
        cache_size: how many pairs at most are kept in memory, about 400 bytes each. What
            is kept is as right as what is in the file; 0 keeps nothing.

    Raises:
        ValueError: the path is empty, ":memory:" or holds a NUL; the timeout or the cache size
            is negative; the mode lacks 0o600; or ``synchronous`` is another word.
        TypeError: an argument is of the wrong type.
    """

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
        self._states: States | None = None
        self._pid = os.getpid()
        _fork.register(self)

    @property
    def path(self) -> str:
        """The file, absolute and with symbolic links resolved."""
        return self._database.path if self._database else os.path.realpath(self._given_path)

    def get(self, module: object, sender: object) -> str:
        """Return the state of a pair; one nothing was set for is in START from then on.

        Reading waits for no other process. Only the first ``get`` of an unknown pair writes: it
        stores START, unless another process has just set it, and returns what is there then.
        It does not wait for the disk; losing a START to a power cut changes nothing.
        """
        if type(module) is type(sender) is str:
            # Cache.find, written out as a call would cost a third more. No lock is taken; why
            # that is sound stands there.
            cache = self._cache
            entries, counters = cache.current
            entry = entries.get((sender, module))
            if entry is not None:
                state, stripe, version = entry
                if monotonic() < cache.valid_until and counters[stripe] == version:
                    return state
            key = row_key(module, sender)
        else:
            key = row_key(module, sender)
            cached = self._cache.find(key)
            if cached is not None:
                return cached
        while True:
            found = self._call(States.read, key)
            if found is not None:
                return found
            if self._call(States.insert_start, key):
                return ROUTE_FIRST_STATE

    def set(self, module: object, sender: object, state: str) -> None:
        """Make ``state`` what ``get`` returns for the pair, in every process, from now on.

        Setting the state that the pair already has writes nothing.

        Raises:
            TypeError: ``state`` is no ``str``. Nothing was written.
            ValueError: ``state`` holds lone surrogates. Nothing was written.
        """
        key, text = row_key(module, sender), checked_state(state)
        if self._cache.find(key) != text:
            self._call(
                States.write,
                _schema.SET,
                lambda since: (*key, text, since),
                (stripe_of(key[0]),),
                key,
                text,
            )

    def clear(self) -> None:
        """Forget the states of all pairs, for all processes at one instant."""
        self._call(States.write, _schema.CLEAR, lambda _since: (), EVERY_STRIPE)

    def set_all(self, sender: object, state: str) -> int:
        """Give every pair that this sender has, in any module, the same state at one instant.

        Returns:
            How many pairs there were, those already in that state included. 0 means that the
            sender is unknown, and still is.

        Raises:
            TypeError, ValueError: as `set`.
        """
        (sender_key, _), text = row_key("", sender), checked_state(state)
        return self._call(
            States.write,
            _schema.SET_ALL,
            lambda since: (text, since, text, sender_key),
            (stripe_of(sender_key),),
        )

    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        """Change the state of a pair only if it is ``expected``, and say whether it was.

        Of several processes that try to leave one state at the same time, one succeeds. A pair
        nothing was set for counts as START.

        Raises:
            TypeError, ValueError: as `set`, for ``expected`` too.
        """
        key = row_key(module, sender)
        old, new = checked_state(expected), checked_state(state)
        if old == new:
            found = self._call(States.read, key)
            return (ROUTE_FIRST_STATE if found is None else found) == old
        stripes = (stripe_of(key[0]),)
        if old == ROUTE_FIRST_STATE:
            changed = self._call(
                States.write,
                _schema.COMPARE_AND_SET_FROM_START,
                lambda since: (*key, new, since),
                stripes,
            )
        else:
            changed = self._call(
                States.write,
                _schema.COMPARE_AND_SET,
                lambda since: (new, since, *key, old),
                stripes,
            )
        return bool(changed)

    def close(self) -> None:
        """Close the file in this process; the next call opens it again.

        The last process to close it leaves one whole file, without ``-wal`` and ``-shm``.
        """
        with self._own_lock():
            if self._database is not None:
                self._database.close()

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
        SQLiteStorage.__init__(self, **arguments)

    def __del__(self) -> None:
        database = getattr(self, "_database", None)
        # While the interpreter ends, its threads are frozen, some perhaps with our locks held.
        if database is None or sys.is_finalizing():
            return
        identity = self.inherited_identity
        if identity is None:
            database.close()
        else:
            _fork.mark_inherited(identity)
            database.abandon()

    def _call(self, method: Callable[[States, *Arguments], T], *arguments: *Arguments) -> T:
        """Call a method of the table, again and again until it may have what it needs."""
        patience = None
        try:
            while True:
                with self._own_lock():
                    try:
                        return method(self._states or self._resolved(), *arguments)
                    except NotNow as answer:
                        culprit, grace_seconds = answer.culprit, answer.grace_seconds
                # Waiting is done without the lock, so that a thread that waits for another
                # process keeps neither readers nor a fork in this one waiting with it.
                patience = patience or Patience(self._timeout, self._queue)
                patience.wait(self.path, culprit, grace_seconds)
        finally:
            if patience is not None:
                patience.end()

    def _own_lock(self) -> threading.RLock:
        """Return the lock that guards the database object, as this process's own."""
        if self._pid != os.getpid():
            # Before the lock is touched: a thread that the fork left behind may hold it.
            _fork.adopt_process()
            if self._pid != os.getpid():
                raise unsafe_fork(self.path)
        return self._lock

    def _resolved(self) -> States:
        database = Database(self.path, self._synchronous, self._file_mode, self._cache)
        self._database, self._states = database, States(database, self._synchronous)
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
        """Never close what was inherited."""
        if self._database is not None:
            self._database.abandon()
