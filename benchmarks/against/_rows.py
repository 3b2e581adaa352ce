"""The rows: what one slice of each does, through the public names of the package only.

Each is a context: it opens what it needs on a store that is its own, yields what does the
work of one slice and returns the seconds of one call, and closes.
"""

import itertools
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from lamson_sqlite_state import SQLiteStorage

from .._files import Pair, Synchronous, kept_open, newcomers, open_store, pair_of, random_pairs
from .._measure import Batch, quiet, timed
from .._processes import latencies_of
from .._writers import halves, seconds_of_a_read, writers
from ._effort import Effort

if TYPE_CHECKING:
    from array import array

__all__ = ["ROWS", "RowOfWork"]

_READS_OF_A_MESSAGE: Final = 8
_WRITERS: Final = 8
_LOG_PAGES: Final = 1_000

RowOfWork: TypeAlias = Callable[[str, Effort], AbstractContextManager[Batch]]
"""Given the path of a store and the effort."""


@contextmanager
def _get_cached(path: str, effort: Effort) -> Iterator[Batch]:
    pairs = random_pairs(0, effort.reads, effort.pairs) * effort.passes
    with open_store(path, "FULL") as store:
        yield lambda: _processor_seconds_of(store.get, pairs)


@contextmanager
def _get_beside_writers(path: str, effort: Effort, senders: int) -> Iterator[Batch]:
    pairs, others = halves(effort.pairs, senders)
    with writers(path, others) as writing, open_store(path, "NORMAL") as store:

        def batch() -> float:
            with writing():
                return seconds_of_a_read(store.get, pairs, effort.reading_seconds)

        yield batch


@contextmanager
def _get_not_cached(path: str, effort: Effort, cache_size: int) -> Iterator[Batch]:
    pairs = random_pairs(0, effort.reads, effort.pairs)  # so many that none stays in the cache
    with open_store(path, "FULL", cache_size) as store:
        yield lambda: _processor_seconds_of(store.get, pairs)


@contextmanager
def _get_unknown(path: str, effort: Effort, synchronous: Synchronous) -> Iterator[Batch]:
    seeds = map(str, itertools.count())
    with _store_with_log(path, effort, synchronous) as store:
        yield lambda: _seconds_of(store.get, newcomers(next(seeds), effort.writes, effort.pairs))


@contextmanager
def _set_unchanged(path: str, effort: Effort) -> Iterator[Batch]:
    pairs = random_pairs(0, effort.reads, effort.pairs)
    with open_store(path, "NORMAL") as store:
        known = [(module, sender, store.get(module, sender)) for module, sender in pairs]
        calls = known * effort.passes
        yield lambda: _processor_seconds_of(store.set, calls)


@contextmanager
def _set_changing(path: str, effort: Effort, synchronous: Synchronous) -> Iterator[Batch]:
    seeds = itertools.count()
    with _store_with_log(path, effort, synchronous) as store:

        def batch() -> float:
            seed = next(seeds)
            pairs = random_pairs(seed, _writes(effort, synchronous), effort.pairs)
            return _seconds_of(store.set, [(*pair, f"STATE_{seed}") for pair in pairs])

        yield batch


@contextmanager
def _set_all(path: str, effort: Effort) -> Iterator[Batch]:
    seeds = itertools.count()
    with _store_with_log(path, effort, "NORMAL") as store:

        def batch() -> float:
            seed = next(seeds)
            pairs = random_pairs(seed, effort.writes, effort.pairs)
            # Some senders come more than once: each call has a state of its own.
            calls = [(sender, f"STATE_{seed}_{n}") for n, (_module, sender) in enumerate(pairs)]
            return _seconds_of(store.set_all, calls)

        yield batch


@contextmanager
def _route(path: str, effort: Effort, synchronous: Synchronous) -> Iterator[Batch]:
    # Some senders write all the time, most hardly ever: Zipf's law.
    known = random_pairs(0, effort.pairs, effort.pairs)
    zipf = list(itertools.accumulate(1 / rank for rank in range(1, len(known) + 1)))
    seeds = itertools.count()
    with _store_with_log(path, effort, synchronous) as store:
        get, set_state = store.get, store.set

        def message(module: str, sender: str, state: str) -> None:
            for _ in range(_READS_OF_A_MESSAGE):
                get(module, sender)
            set_state(module, sender, state)

        def batch() -> float:
            seed, count = next(seeds), _writes(effort, synchronous)
            pairs = random.Random(seed).choices(known, cum_weights=zipf, k=count)
            calls = [(*pair, f"STATE_{seed}_{n}") for n, pair in enumerate(pairs)]
            return _seconds_of(message, calls)

        yield batch


@contextmanager
def _open_and_get(path: str, effort: Effort, *, is_kept_open: bool) -> Iterator[Batch]:
    module, sender = pair_of(effort.pairs // 2)

    def batch() -> float:
        seconds = 0.0
        with quiet():
            for _ in range(effort.openings):
                start = time.perf_counter()
                store = SQLiteStorage(path)
                store.get(module, sender)
                seconds += time.perf_counter() - start
                store.close()
        return seconds / effort.openings

    with ExitStack() as stack:
        if is_kept_open:
            stack.enter_context(kept_open(path))
        yield batch


@contextmanager
def _import(path: str, _effort: Effort) -> Iterator[Batch]:
    # The warm-up compiles the sources, also where this process was told to keep no bytecode.
    bytecode = os.path.dirname(os.path.dirname(path))  # where the next round finds it
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    code = (
        "import time, sqlite3, filelock; start = time.perf_counter(); "
        "import lamson_sqlite_state; print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    yield lambda: float(subprocess.check_output(command, env=environment))


@contextmanager
def _many_writers(
    path: str,
    effort: Effort,
    pause_seconds: float,
    figure: Callable[[Sequence["array[float]"]], float],
) -> Iterator[Batch]:
    def opener() -> SQLiteStorage:
        return open_store(path, "FULL")

    yield lambda: figure(latencies_of(opener, _WRITERS, effort.writing_seconds, pause_seconds))


def _p99(latencies: Sequence["array[float]"]) -> float:
    ordered = sorted(itertools.chain.from_iterable(latencies))
    return ordered[math.ceil(len(ordered) * 0.99) - 1]


def _mean(latencies: Sequence["array[float]"]) -> float:
    return statistics.fmean(itertools.chain.from_iterable(latencies))


def _writes(effort: Effort, synchronous: Synchronous) -> int:
    return effort.synced_writes if synchronous == "FULL" else effort.writes


@contextmanager
def _store_with_log(path: str, effort: Effort, synchronous: Synchronous) -> Iterator[SQLiteStorage]:
    """Open a store whose log has its size, as writing is slower until then."""
    with open_store(path, synchronous) as store:
        store.get(*pair_of(0))
        with open_store(path, "NORMAL") as unsynced:  # or it would take a second
            for number in range(min(_LOG_PAGES, effort.writes)):
                unsynced.set(*pair_of(number), f"WARM_{number}")
        yield store


def _seconds_of(call: Callable[..., object], arguments: Sequence[Pair | tuple[str, ...]]) -> float:
    def work() -> None:
        for each in arguments:
            call(*each)

    return timed(work, len(arguments))


def _processor_seconds_of(
    call: Callable[..., object], arguments: Sequence[Pair | tuple[str, ...]]
) -> float:
    """Measure calls that wait for nothing. What they would wait for is a turn of the processor."""
    with quiet():
        start = time.thread_time()
        for each in arguments:
            call(*each)
        return (time.thread_time() - start) / len(arguments)


ROWS: Final[dict[str, RowOfWork]] = {
    "get, cached": _get_cached,
    "get of 1 beside writers": partial(_get_beside_writers, senders=1),
    "get of 100 beside writers": partial(_get_beside_writers, senders=100),
    "get of 1000 beside writers": partial(_get_beside_writers, senders=1_000),
    "get, not cached": partial(_get_not_cached, cache_size=16),
    "get, cache switched off": partial(_get_not_cached, cache_size=0),
    "get, unknown pair, NORMAL": partial(_get_unknown, synchronous="NORMAL"),
    "get, unknown pair, FULL": partial(_get_unknown, synchronous="FULL"),
    "set, unchanged, cached": _set_unchanged,
    "set, changing, NORMAL": partial(_set_changing, synchronous="NORMAL"),
    "set, changing, FULL": partial(_set_changing, synchronous="FULL"),
    "set_all of 5 pairs, NORMAL": _set_all,
    "Router: 8 reads, 1 write": partial(_route, synchronous="NORMAL"),
    "Router: the same, FULL": partial(_route, synchronous="FULL"),
    "open and get, not alone": partial(_open_and_get, is_kept_open=True),
    "open and get, alone": partial(_open_and_get, is_kept_open=False),
    "import": _import,
    "p99 of a set, 8 writers": partial(_many_writers, pause_seconds=0.002, figure=_p99),
    "set, 8 writers, no pause": partial(_many_writers, pause_seconds=0.0, figure=_mean),
}
