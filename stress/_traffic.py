"""Traffic on shared pairs: forked processes, threads in each, every call recorded."""

import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from _processes import Source, Tick, Work, end, fork_writer, listen
from judges.history import Recorder
from lamson_sqlite_state import LockTimeout, SQLiteStorage
from workers.caller import Caller, Pairs

__all__ = ["Traffic", "drive"]

# So that two threads of a process take turns inside of calls and not only between them.
_SWITCH_SECONDS: Final = 0.0001

_ANNOUNCED_EVERY: Final = 250


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
    def pairs(self) -> Pairs:
        """Which pairs there are."""
        return Pairs(self.senders, modules=self.modules)


@dataclass(frozen=True)
class _Share:
    """One thread's part of the traffic: how many calls, and which of them are `clear`."""

    process: int
    thread: int
    calls: int
    clears: frozenset[int]


def drive(
    store: SQLiteStorage,
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
    _run(store, traffic, warm_up, directory)
    starting, start = os.pipe()

    def work_of(process: int) -> Work:
        def work(pipe: FileIO) -> None:
            sys.setswitchinterval(_SWITCH_SECONDS)
            mine = [share for share in shares if share.process == process]
            os.read(starting, 1)  # comes when all processes have been forked
            with ThreadPoolExecutor(len(mine)) as pool:
                # list() raises what a thread has raised.
                list(pool.map(lambda share: _run(store, traffic, share, directory, pipe), mine))

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
    warm_up = _Share(0, 0, min(traffic.operations, 2 * traffic.pairs.count), frozenset())
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


def _run(
    store: SQLiteStorage,
    traffic: Traffic,
    share: _Share,
    directory: Path,
    pipe: FileIO | None = None,
) -> None:
    """Make all calls of a share."""
    recorder = Recorder(directory, share.process, share.thread)
    rng = random.Random(f"{traffic.seed}/{share.process}/{share.thread}")
    caller = Caller(store, traffic.pairs, recorder, rng, _on_error)
    for number in range(share.calls):
        if number in share.clears:
            caller.clear()
        else:
            caller.act()
        if pipe is not None and (number + 1) % _ANNOUNCED_EVERY == 0:
            # Also how a process notices that its parent is gone.
            os.write(pipe.fileno(), b"%d\n" % _ANNOUNCED_EVERY)


def _on_error(error: Exception) -> bool:
    if isinstance(error, LockTimeout):
        return True
    raise error
