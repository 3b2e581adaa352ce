"""SQLiteStorage: get, set, clear and nothing else. What a call goes through is in `engine`."""

from __future__ import annotations

import os
from typing import Any, Literal, Self

from ..interface import ROUTE_FIRST_STATE
from ..keys.columns import checked_state, row_key
from .engine import schema
from .engine.settings import Settings
from .engine.states_table import StatesTable
from .engine.store_handle import StoreHandle
from .process.clock import Clock

__all__ = ["ExistingStorage", "SQLiteStorage"]


class SQLiteStorage:
    """Conversation states in one SQLite file that threads and processes share safely.

    Every method is atomic across threads and processes: it has happened entirely or not at
    all, and once it has returned, every other thread and process sees it. Each may be called
    at any moment, also from a signal handler that interrupted another, and on both sides of
    any ``os.fork`` or ``multiprocessing`` start.

    Constructing opens nothing and touches no file, so this may stand in ``boot.py`` before the
    process daemonises, changes directory, drops privileges or forks. The first call opens
    the file, creating it and its directory where they are missing, but not over a shelf of
    ShelveStorage's: it is a `StorageError` that names the command which takes it over. A closed
    store opens again at the next call. A store can be pickled: it travels as its arguments.

    Keys may be ``str``, ``bytes``, ``None``, numbers, or tuples of these; they are
    kept exactly as given, and two pairs are the same exactly when ``repr([module, sender])``
    is the same. Every method raises ``TypeError`` for keys of other types.

    Every method can raise a `StorageError`: the file cannot be used, and nothing was written
    unless its ``code`` is "outcome-unknown". Of these, `LockTimeout` means that others held
    the file for longer than ``timeout``, and `UnsafeFork` that C code forked this process while
    the store was open.

    An `OSError` with an errno, or a `sqlite3.Error`, that a signal handler raises in the middle of
    a call may be taken for the store's own: it comes out as a `StorageError`, or the call is tried
    again. Any other exception comes out as the handler raised it. The state may have been written
    in each case.

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
        file_mode: permissions of the files it creates, whatever the umask; a directory that it
            creates lets the same users in. Mail addresses are personal data, so by default only
            the owner can read them. What root creates belongs to the owner of the directory.
        cache_size: how many pairs at most are kept in memory, some 400 bytes each. What is
            kept is as right as what is in the file. Keys that are no ASCII text, or long, are
            not kept. 0 keeps nothing.

    Raises:
        ValueError: the path is empty, ":memory:" or holds a NUL; the timeout or the cache size
            is negative; the mode lacks 0o600; or ``synchronous`` is another word.
        TypeError: an argument is of the wrong type.
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
        self._settings = Settings(
            database_path,
            timeout,
            synchronous,
            file_mode,
            cache_size,
            must_exist=self._must_exist,
        )
        self._handle = StoreHandle(self._settings)
        self._cache = self._handle.cache

    @property
    def path(self) -> str:
        """The file, absolute and with symbolic links resolved."""
        return self._handle.path

    @property
    def timeout(self) -> float:
        """How many seconds one call may wait for other writers."""
        return self._settings.timeout

    def close(self) -> None:
        """Close the file in this process; the next call opens it again.

        The last process to close it leaves one whole file, without ``-wal`` and ``-shm``. Where
        two close at one instant, SQLite may take neither for the last. Then both files stay, and
        nothing is lost: the next process that opens the store and closes it is the last.
        """
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __getstate__(self) -> dict[str, Any]:
        arguments = vars(self._settings).copy()
        del arguments["must_exist"]  # it belongs to the class
        return arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        SQLiteStorage.__init__(self, **arguments)

    def get(self, module: object, sender: object) -> str:
        """Return the state of a pair; one nothing was set for is in START from then on.

        Reading waits for no other process. Only the first ``get`` of an unknown pair writes: it
        stores START, unless another process has just set it, and returns what is there then.
        It does not wait for the disk; losing a START to a power cut changes nothing.
        """
        cache = self._cache
        is_fresh = cache.revalidated_at <= Clock.monotonic() < cache.revalidate_at
        if is_fresh and type(module) is type(sender) is str:
            # This is Cache.find, written out as a call would cost half as much again. No lock is
            # taken; why that is sound stands there. A `str` that is found is its own `row_key`.
            entries, counters = cache.current
            entry = entries.get((sender, module))
            if entry is not None:
                state, stripe, version = entry
                if counters[stripe] == version:
                    return state
            del entries, counters  # or they would stay as long as the traceback of an error
        key = row_key(module, sender)
        while True:
            found = self._handle.run(StatesTable.read, key, is_fresh)
            if found is not None:
                return found
            if self._handle.run(StatesTable.insert_start, key):
                return ROUTE_FIRST_STATE

    def set(self, module: object, sender: object, state: str) -> None:
        """Make ``state`` what ``get`` returns for the pair, in every process, from now on.

        Setting the state that the pair already has writes nothing.

        Raises:
            TypeError: ``state`` is no ``str``. Nothing was written.
            ValueError: ``state`` holds lone surrogates. Nothing was written.
        """
        cache = self._cache
        is_fresh = cache.revalidated_at <= Clock.monotonic() < cache.revalidate_at
        if is_fresh and type(module) is type(sender) is type(state) is str:
            # As in `get`: by Cache.find, an unchanged write would take twice as long.
            entries, counters = cache.current
            entry = entries.get((sender, module))
            if entry is not None and entry[0] == state and counters[entry[1]] == entry[2]:
                return
            del entries, counters
        self._handle.run(StatesTable.write, row_key(module, sender), checked_state(state))

    def clear(self) -> None:
        """Forget the states of all pairs, for all processes at one instant."""
        self._handle.run(StatesTable.clear)

    def set_all(self, sender: object, state: str) -> int:
        """Give every pair that this sender has, in any module, the same state at one instant.

        Returns:
            How many pairs there were, those already in that state included. 0 means that the
            sender is unknown, and still is.

        Raises:
            TypeError, ValueError: as `set`.
        """
        key, text = row_key("", sender), checked_state(state)
        return self._handle.run(
            StatesTable.write, key, text, schema.SET_ALL, lambda since: (text, since, text, key[0])
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
            found = self._handle.run(StatesTable.read, key, False)
            return (ROUTE_FIRST_STATE if found is None else found) == old
        if old == ROUTE_FIRST_STATE:
            changed = self._handle.run(
                StatesTable.write,
                key,
                new,
                schema.COMPARE_AND_SET_FROM_START,
                lambda since: (*key, new, since),
            )
        else:
            changed = self._handle.run(
                StatesTable.write,
                key,
                new,
                schema.COMPARE_AND_SET,
                lambda since: (new, since, *key, old),
            )
        return bool(changed)


class ExistingStorage(SQLiteStorage):
    """As `SQLiteStorage`, of a file that must be there: for tools, where a path may be mistyped.

    Where it is missing or empty, or no store, every call raises `NoStore` or `NotAStateFile`, and
    no file or directory is created (but for those that stand beside a store that is there). Unlike
    a ``get`` of a router's, one of a tool should not store START: see `maintenance.find`.

    Args: as `SQLiteStorage`. ``file_mode`` does not matter where every file is there.
    """

    _must_exist = True
