"""Reads and writes states: the class SQLiteStorage. The package `engine` does the work."""

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

    Every method is atomic across threads and processes: its effect happens entirely or not at all,
    and once the method has returned, every other thread and process sees the effect. Each method
    may be called at any moment, also from a signal handler that interrupts another call, and on
    both sides of any ``os.fork`` or ``multiprocessing`` start.

    The constructor opens no file, so a store may be made in ``boot.py`` before the process
    daemonises, changes directory, drops privileges or forks. The first call opens the file, and
    creates the file and its directory if they are missing. If a shelf of ShelveStorage stands there
    instead, the call raises a `StorageError` that names the command to take the shelf over. A
    closed store opens again at the next call. A pickled store holds only its arguments.

    Keys may be ``str``, ``bytes``, ``None``, numbers, or tuples of these. They are kept exactly as
    given, and two pairs are the same exactly when ``repr([module, sender])`` is the same. Every
    method raises ``TypeError`` for keys of other types.

    Every method can raise a `StorageError`: the file cannot be used, and nothing was written
    unless the error's ``code`` is "outcome-unknown". Among its subclasses, `LockTimeout` means that
    others held the file for longer than ``timeout``, and `UnsafeFork` means that C code forked this
    process while the store was open.

    A signal handler may raise an `OSError` with an errno, or a `sqlite3.Error`, in the middle of a
    call. The store may take such an error for its own, and raise a `StorageError` or try the call
    again. Any other exception comes out as the handler raised it. In each of these cases, the state
    may have been written.

    Args:
        database_path: the file. A relative path is made absolute now; symbolic links are
            resolved at the first use. Beside the file stand others, whose names add ``-wal``,
            ``-shm``, ``.lock`` and ``.versions`` to its name.
        timeout: seconds that one call may wait for writers in other processes. 0 means to try
            once. (A process that is just opening, closing or replacing the file is waited for up to
            0.25 s in any case.) A call also waits, without limit, for other threads' calls of the
            same store. Each of them holds the store for one statement, and not while it waits for
            another process.
        synchronous: "FULL", so that a state that was set survives a power cut, or "NORMAL",
            so that it survives a crash of the process but not of the machine
            (https://www.sqlite.org/pragma.html#pragma_synchronous).
        file_mode: permissions of the files that the store creates, whatever the umask. A directory
            that the store creates lets the same users in. Mail addresses are personal data, so by
            default only the owner can read them. What root creates belongs to the owner of the
            directory.
        cache_size: how many pairs at most are kept in memory, some 400 bytes each. A state in
            memory is as right as the one in the file. Pairs whose keys are not both text, whose
            sender is not ASCII, or that are long, are not kept. 0 keeps nothing.

    Raises:
        ValueError: the path is empty, ":memory:" or holds a NUL; the timeout or the cache size
            is negative; the mode lacks 0o600 or exceeds 0o777; or ``synchronous`` is another word.
        TypeError: an argument is of the wrong type.
    """

    _must_exist = False
    """Whether a missing or empty file is an error."""

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

        The last process that closes the file leaves all states in that one file, and removes its
        ``-wal`` and ``-shm``. If two processes close the file at one instant, SQLite may take
        neither for the last. Then both side files stay, and no state is lost: the next process
        that opens and closes the store removes them.
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
        """Return the state of a pair. A pair that has none gets START, and keeps it.

        Once the file is open, reading waits for no other process, or for 0.25 s if the file was
        replaced. Only the first ``get`` of an unknown pair writes: it stores START and returns it.
        If another process has set a state meanwhile, this ``get`` stores nothing, and returns that
        state. Storing START hardly ever waits for the disk, because a START that a power cut undoes
        is no loss.
        """
        cache = self._cache
        is_fresh = cache.revalidated_at <= Clock.monotonic() < cache.revalidate_at
        if is_fresh and type(module) is type(sender) is str:
            # This is Cache.find, written out because a call would cost half as much again. The
            # docstring of Cache says why no lock is needed. `row_key` need not be called, because
            # it leaves every `str` unchanged that the cache can hold.
            entries, counters = cache.current
            entry = entries.get((sender, module))
            if entry is not None:
                state, stripe, version = entry
                if counters[stripe] == version:
                    return state
            del entries, counters  # because the traceback of an error would keep them alive
        key = row_key(module, sender)
        while True:
            found = self._handle.run(StatesTable.read, key, is_fresh)
            if found is not None:
                return found
            if self._handle.run(StatesTable.insert_start, key):
                return ROUTE_FIRST_STATE

    def set(self, module: object, sender: object, state: str) -> None:
        """Set the state of a pair: from now on, ``get`` returns it in every process.

        Setting the state that the pair already has writes nothing.

        Raises:
            TypeError: ``state`` is no ``str``. Nothing was written.
            ValueError: ``state`` holds lone surrogates. Nothing was written.
        """
        cache = self._cache
        if (
            type(module) is type(sender) is type(state) is str
            and cache.revalidated_at <= Clock.monotonic() < cache.revalidate_at
        ):
            # Written out as in `get`: with a call of Cache.find, a `set` of the state that the pair
            # has already would take twice as long.
            entries, counters = cache.current
            entry = entries.get((sender, module))
            if entry is not None:
                there, stripe, version = entry
                if there == state and counters[stripe] == version:
                    return
            del entries, counters
        self._handle.run(StatesTable.write, row_key(module, sender), checked_state(state))

    def clear(self) -> None:
        """Delete the states of all pairs, for all processes at one instant."""
        self._handle.run(StatesTable.clear)

    def set_all(self, sender: object, state: str) -> int:
        """Give every pair that this sender has, in any module, the same state at one instant.

        Returns:
            How many pairs the sender has, those that were in that state already included. 0 means
            that the sender is unknown, and that nothing was stored.

        Raises:
            TypeError, ValueError: as `set`.
        """
        key, text = row_key("", sender), checked_state(state)
        return self._handle.run(
            StatesTable.write, key, text, schema.SET_ALL, lambda since: (text, since, text, key[0])
        )

    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        """Change the state of a pair only if it is ``expected``, and say whether it was.

        If several processes try at the same time to change the pair from one state to another, only
        one succeeds. A pair without a state counts as START.

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
    """A `SQLiteStorage` whose file must exist: for tools, where a path may be mistyped.

    If the file is missing, empty or no store, every call raises `NoStore` or `NotAStateFile`, and
    creates no file or directory. (If the store exists, a missing file beside it is created.) A tool
    should read a state by `maintenance.find`, because ``get`` may store START.

    Args: as `SQLiteStorage`. ``file_mode`` matters only for missing files beside the store.
    """

    _must_exist = True
