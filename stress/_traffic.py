"""Traffic on shared pairs: forked processes, threads in each, every call recorded.

A mail application's mix: mostly `get`, then `set`, some to the state that is there already, now
and then `set_all` (a bounce) and `compare_and_set` (a confirmation), and a few `clear`.
"""

import itertools
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from _history import Kind, Recorder, new_value, state_of, value_of
from _processes import Source, Tick, Work, end, fork_writer, listen
from lamson_sqlite_state import LockTimeout

__all__ = ["Store", "Traffic", "drive"]

# Of 1,000 operations; the rest are `get`. A clear is drawn by itself.
_SET: Final = 185
_SET_UNCHANGED: Final = 35
_SET_ALL: Final = 40
_COMPARE_AND_SET: Final = 30

# So that two threads of a process take turns inside of calls and not only between them.
_SWITCH_SECONDS: Final = 0.0001

_ANNOUNCED_EVERY: Final = 250


class Store(Protocol):
    """What a store must have to be driven."""

    def get(self, module: object, sender: object) -> str: ...
    def set(self, module: object, sender: object, state: str) -> None: ...
    def clear(self) -> None: ...
    def set_all(self, sender: object, state: str) -> int: ...
    def compare_and_set(
        self, module: object, sender: object, expected: str, state: str
    ) -> bool: ...


@dataclass(frozen=True)
class Traffic:
    """What is driven through a store.

    Args:
        operations: how many calls, of all threads together.
        processes: how many are forked.
        threads: in each of them.
        clears: how many of the operations are `clear`.
        senders: how many there are, each with ``modules`` pairs, for all threads to use.
        modules: pairs per sender.
        seed: of all choices; who is faster is never the same twice.
        limit_seconds: when processes that are still at it are killed.
    """

    operations: int = 200_000
    processes: int = 8
    threads: int = 2
    clears: int = 40
    senders: int = 10
    modules: int = 4
    seed: int = 0
    limit_seconds: float = 600.0

    @property
    def pairs(self) -> int:
        """How many pairs there are; they are numbered by sender, then by module."""
        return self.senders * self.modules

    def pair(self, key: int) -> tuple[str, str]:
        """Return a pair as (module, sender)."""
        sender, module = divmod(key, self.modules)
        return f"app.handlers_{module}", f"shared.{sender}@example.com"


@dataclass(frozen=True)
class _Share:
    """One thread's part of the traffic: how many calls, and which of them are `clear`."""

    process: int
    thread: int
    calls: int
    clears: frozenset[int]


def drive(
    store: Store,
    traffic: Traffic,
    directory: Path,
    hear: Callable[[str], None] = lambda _line: None,
    tick: Tick = lambda _sources: None,
) -> list[Source]:
    """Use the store, then fork processes that use it, and record all of it in a directory.

    Args:
        store: on a file that has nothing in it. What is open in it is taken across the forks.
        traffic: what is called.
        directory: an empty one, for the history.
        hear: is given, now and then, how many more operations a thread has made.
        tick: called several times a second.

    Returns:
        The processes, all of which have ended; ``problem`` says which not well.
    """
    warm_up, shares = _shares(traffic)
    _Caller(store, traffic, warm_up, directory).run()
    starting, start = os.pipe()

    def work_of(process: int) -> Work:
        def work(pipe: FileIO) -> None:
            sys.setswitchinterval(_SWITCH_SECONDS)
            mine = [share for share in shares if share.process == process]
            os.read(starting, 1)  # comes when all processes have been forked
            with ThreadPoolExecutor(len(mine)) as pool:
                callers = [_Caller(store, traffic, share, directory, pipe) for share in mine]
                # list() raises what a thread has raised.
                list(pool.map(_Caller.run, callers))

        return work

    sources: list[Source] = []
    stuck: list[Source] = sources
    try:
        for process in range(1, traffic.processes + 1):
            sources.append(fork_writer(f"process {process}", process, work_of(process), sources))
        os.write(start, b"." * traffic.processes)
        stuck = listen(sources, hear, time.monotonic() + traffic.limit_seconds, tick)
    finally:
        end(sources, stuck)
        os.close(starting)
        os.close(start)
    return sources


def _shares(traffic: Traffic) -> tuple[_Share, list[_Share]]:
    """Divide the operations: some for the parent before it forks, the rest for all threads."""
    warm_up = _Share(0, 0, min(traffic.operations, 2 * traffic.pairs), frozenset())
    threads = traffic.processes * traffic.threads
    left = range(traffic.operations - warm_up.calls)
    chosen = random.Random(f"{traffic.seed}/clears").sample(left, min(traffic.clears, len(left)))
    shares = [
        _Share(
            1 + number // traffic.threads,
            number % traffic.threads,
            len(left[number::threads]),
            frozenset(call // threads for call in chosen if call % threads == number),
        )
        for number in range(threads)
    ]
    return warm_up, shares


class _Caller:
    """One thread's calls, recorded."""

    def __init__(
        self,
        store: Store,
        traffic: Traffic,
        share: _Share,
        directory: Path,
        pipe: FileIO | None = None,
    ) -> None:
        self._store = store
        self._traffic = traffic
        self._share = share
        self._pipe = pipe
        self._recorder = Recorder(directory, share.process, share.thread)
        self._random = random.Random(f"{traffic.seed}/{share.process}/{share.thread}")
        self._values = itertools.count(new_value(share.process, share.thread, 1))
        self._last_seen: dict[int, int] = {}

    def run(self) -> None:
        """Make all calls of the share."""
        for number in range(self._share.calls):
            if number in self._share.clears:
                self._call(self._clear)
            else:
                self._call(self._drawn())
            if self._pipe is not None and (number + 1) % _ANNOUNCED_EVERY == 0:
                # Also how a process notices that its parent is gone.
                os.write(self._pipe.fileno(), b"%d\n" % _ANNOUNCED_EVERY)

    def _call(self, method: Callable[[int], None]) -> None:
        # The lower numbers are called more often: a pair that all want at once shows the most.
        try:
            method(int(self._traffic.pairs * self._random.random() ** 2))
        except LockTimeout:
            self._recorder.refused()

    def _drawn(self) -> Callable[[int], None]:
        drawn = self._random.randrange(1000)
        for method, share in (
            (self._set, _SET),
            (self._set_unchanged, _SET_UNCHANGED),
            (self._set_all, _SET_ALL),
            (self._compare_and_set, _COMPARE_AND_SET),
        ):
            drawn -= share
            if drawn < 0:
                return method
        return self._get

    def _seen(self, key: int) -> int | None:
        """Return the value that this thread knows of a pair; None: it has just read it."""
        if key not in self._last_seen:
            self._get(key)
            return None
        return self._last_seen[key]

    def _get(self, key: int) -> None:
        pair = self._traffic.pair(key)
        self._recorder.call(Kind.GET, key)
        value = value_of(self._store.get(*pair))
        self._recorder.returned(value)
        self._last_seen[key] = value

    def _set(self, key: int) -> None:
        self._set_to(key, next(self._values))

    def _set_unchanged(self, key: int) -> None:
        # What a Router does after most messages. By now it may be a change after all.
        value = self._seen(key)
        if value is not None:
            self._set_to(key, value)

    def _set_to(self, key: int, value: int) -> None:
        pair, state = self._traffic.pair(key), state_of(value)
        self._recorder.call(Kind.SET, key, value=value)
        self._store.set(*pair, state)
        self._recorder.returned()
        self._last_seen[key] = value

    def _clear(self, _key: int) -> None:
        self._recorder.call(Kind.CLEAR, 0, span=self._traffic.pairs)
        self._store.clear()
        self._recorder.returned()

    def _set_all(self, key: int) -> None:
        _, sender = self._traffic.pair(key)
        value, modules = next(self._values), self._traffic.modules
        state = state_of(value)
        self._recorder.call(Kind.SET_ALL, key - key % modules, span=modules, value=value)
        self._recorder.returned(self._store.set_all(sender, state))

    def _compare_and_set(self, key: int) -> None:
        expected = self._seen(key)
        if expected is None:
            return
        pair, value = self._traffic.pair(key), next(self._values)
        states = state_of(expected), state_of(value)
        self._recorder.call(Kind.COMPARE_AND_SET, key, value=value, expected=expected)
        is_set = self._store.compare_and_set(*pair, *states)
        self._recorder.returned(is_set)
        self._last_seen[key] = value if is_set else expected
