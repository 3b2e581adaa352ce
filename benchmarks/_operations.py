"""The calls of a store in one process, each beside the same work done without the package.

Each is a context: it opens what it needs on two equal files, yields what is to be measured,
and closes. `benchmarks._scale` runs the same ones on files of any size.
"""

import itertools
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from salmon.routing import MemoryStorage

from lamson_sqlite_state.sqlite.engine import schema

from ._effort import Effort
from ._files import (
    Pair,
    Synchronous,
    bare_connection,
    new_store,
    newcomers,
    open_store,
    pair_of,
    random_pairs,
)
from ._limits import dict_look_up, driver_call, log_frame
from ._measure import Batch, Comparison, timed

__all__ = [
    "Ground",
    "Operation",
    "first_get",
    "get_cached",
    "get_uncached",
    "set_all",
    "set_changing",
    "set_unchanged",
    "two_files",
]


@dataclass(frozen=True)
class Ground:
    """Two equal files to work on.

    Args:
        directory: where they are.
        rows: how many pairs each has.
    """

    directory: str
    rows: int

    @property
    def ours(self) -> str:
        return os.path.join(self.directory, "ours")

    @property
    def bare(self) -> str:
        return os.path.join(self.directory, "bare")

    def rounds_of(self, count: int) -> Callable[[], list[Pair]]:
        """Return what gives other pairs every time, the same ones to everybody who asks."""
        count = min(count, self.rows)
        seeds = itertools.count()
        return lambda: random_pairs(next(seeds), count, self.rows)


Operation: TypeAlias = Callable[[Ground, Effort], AbstractContextManager[Comparison]]


def two_files(directory: str, rows: int) -> Ground:
    """Make the files."""
    os.makedirs(directory)
    ground = Ground(directory, rows)
    new_store(ground.ours, rows)
    shutil.copyfile(ground.ours, ground.bare)
    with open_store(ground.bare, "NORMAL") as store:  # gives it its log
        store.get(*pair_of(0))
    return ground


@contextmanager
def get_cached(ground: Ground, effort: Effort) -> Iterator[Comparison]:
    """Pairs that this process has just asked for, beside the dict that Salmon comes with."""
    pairs = random_pairs(0, min(effort.reads, ground.rows), ground.rows)
    memory = MemoryStorage()
    for module, sender in pairs:
        memory.set(module, sender, "POSTING")
    with open_store(ground.ours, "FULL") as store:
        yield Comparison(
            "get, cached",
            _reading(store.get, pairs),
            _reading(memory.get, pairs),
            "MemoryStorage.get",
            limit=0.7,
            physical=dict_look_up(pairs),
        )


@contextmanager
def get_uncached(ground: Ground, effort: Effort, *, cache_size: int = 16) -> Iterator[Comparison]:
    """Pairs that are stored but not cached. A tiny cache is paid for and never of use."""
    ours_pairs, bare_pairs = ground.rounds_of(effort.reads), ground.rounds_of(effort.reads)
    with (
        open_store(ground.ours, "FULL", cache_size) as store,
        closing(bare_connection(ground.bare, "FULL")) as connection,
        driver_call(effort.reads) as physical,
    ):

        def bare() -> float:
            keys = [(sender, module) for module, sender in bare_pairs()]

            def work() -> None:
                for key in keys:
                    connection.execute(schema.SELECT_STATE, key).fetchone()[0]

            return timed(work, len(keys))

        yield Comparison(
            "get, not cached" if cache_size else "get, cache switched off",
            lambda: _reading(store.get, ours_pairs())(),
            bare,
            "bare SELECT",
            limit=1.6 if cache_size else None,
            physical=physical,
        )


@contextmanager
def set_unchanged(ground: Ground, effort: Effort) -> Iterator[Comparison]:
    """Setting the state that the pair is in, as most handlers do, beside reading it."""
    pairs = random_pairs(0, min(effort.reads, ground.rows), ground.rows)
    with open_store(ground.ours, "NORMAL") as store:
        for module, sender in pairs:
            store.set(module, sender, "POSTING")

        def work() -> None:
            for module, sender in pairs:
                store.set(module, sender, "POSTING")

        yield Comparison(
            "set, unchanged, cached",
            lambda: timed(work, len(pairs)),
            _reading(store.get, pairs),
            "get, cached",
            limit=1.5,
            physical=dict_look_up(pairs),
        )


@contextmanager
def set_changing(
    ground: Ground, effort: Effort, *, synchronous: Synchronous
) -> Iterator[Comparison]:
    """Another state for stored pairs."""
    ours_pairs, bare_pairs = ground.rounds_of(effort.writes), ground.rounds_of(effort.writes)
    with (
        open_store(ground.ours, synchronous) as store,
        closing(bare_connection(ground.bare, synchronous)) as connection,
        log_frame(ground.directory, effort.writes, synced=synchronous == "FULL") as physical,
    ):

        def ours() -> float:
            state, pairs = _another_state(), ours_pairs()

            def work() -> None:
                for module, sender in pairs:
                    store.set(module, sender, state)

            return timed(work, len(pairs))

        yield Comparison(
            f"set, changing, {synchronous}",
            ours,
            lambda: _upserts(connection, bare_pairs(), _another_state()),
            f"bare upsert, {synchronous}",
            limit={"NORMAL": 1.5, "FULL": 1.15}[synchronous],
            physical=physical,
        )


@contextmanager
def first_get(ground: Ground, effort: Effort) -> Iterator[Comparison]:
    """Pairs never seen before, spread over the table as real ones are; their START is stored."""
    calls = min(effort.writes, ground.rows // 10)  # so that a small store stays a small one
    rounds = {"ours": itertools.count(), "bare": itertools.count()}

    def strangers(side: str) -> list[Pair]:
        return newcomers(str(next(rounds[side])), calls, ground.rows)

    with (
        open_store(ground.ours, "FULL") as store,
        closing(bare_connection(ground.bare, "NORMAL")) as connection,
        log_frame(ground.directory, calls, synced=False) as physical,
    ):
        yield Comparison(
            "get, unknown pair, FULL",
            lambda: _reading(store.get, strangers("ours"))(),
            lambda: _upserts(connection, strangers("bare"), "START"),
            "bare upsert, NORMAL",
            limit=3.0,
            physical=physical,
        )


@contextmanager
def set_all(ground: Ground, effort: Effort) -> Iterator[Comparison]:
    """The five pairs of one sender at once, beside changing one of them."""
    all_pairs, one_pairs = ground.rounds_of(effort.writes), ground.rounds_of(effort.writes)
    with (
        open_store(ground.ours, "NORMAL") as store,
        log_frame(ground.directory, effort.writes, synced=False) as physical,
    ):

        def of_all() -> float:
            pairs = all_pairs()
            senders = list(dict.fromkeys(sender for _module, sender in pairs))
            # As many calls as of the other: each has its part of a checkpoint to bear.
            states = [_another_state() for _ in range(-(-len(pairs) // len(senders)))]
            calls = list(itertools.product(states, senders))[: len(pairs)]

            def work() -> None:
                for state, sender in calls:
                    store.set_all(sender, state)

            return timed(work, len(calls))

        def of_one() -> float:
            state, pairs = _another_state(), one_pairs()

            def work() -> None:
                for module, sender in pairs:
                    store.set(module, sender, state)

            return timed(work, len(pairs))

        yield Comparison(
            "set_all of 5 pairs, NORMAL",
            of_all,
            of_one,
            "one changing set",
            limit=3.0,
            physical=physical,
        )


# Of all operations together: one that came to a state which an earlier one had left there
# would write nothing.
_states: Final = itertools.count()


def _another_state() -> str:
    return f"STATE_{next(_states)}"


def _reading(get: Callable[[str, str], str], pairs: list[Pair]) -> Batch:
    def work() -> None:
        for module, sender in pairs:
            get(module, sender)

    return lambda: timed(work, len(pairs))


def _upserts(connection: sqlite3.Connection, pairs: list[Pair], state: str) -> float:
    def work() -> None:
        for module, sender in pairs:
            since = time.time_ns() // 1_000_000
            connection.execute(schema.SET, (sender, module, state, since))

    return timed(work, len(pairs))
