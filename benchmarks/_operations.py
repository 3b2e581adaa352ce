"""The operations of one process, each beside the same work done with bare sqlite3.

Each comparison is a context: it makes its files, yields what is to be measured, cleans up.
"""

import itertools
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Final

from lamson_sqlite_state import SQLiteStorage, _schema

from ._files import MODULE, ROWS, Synchronous, bare_connection, kept_open, new_store, sender_of
from ._measure import Batch, Comparison, quiet, timed

__all__ = ["QUICK", "Effort", "comparisons"]

_READS: Final = 2_000

# The log is checkpointed every 1000 pages, and a changing set writes one page: every
# round of so many has exactly one checkpoint, ours as well as bare.
_WRITES: Final = 1_000

_OPENINGS: Final = 20


@dataclass(frozen=True)
class Effort:
    """How much is done.

    Args:
        rounds: of each comparison.
        writes: how many writes a round has.
        seconds: how long processes contend in one round.
        contention_rounds: how often.
    """

    rounds: int = 40
    writes: int = _WRITES
    seconds: float = 4.0
    contention_rounds: int = 3


QUICK: Final = Effort(rounds=3, writes=50, seconds=0.2, contention_rounds=1)


def comparisons(directory: str, effort: Effort) -> list[AbstractContextManager[Comparison]]:
    """Return all comparisons, each to be entered when it is its turn.

    Args:
        directory: where each makes a directory of its own; it should be on a real disk.
        effort: how much to do.
    """

    def below(name: str) -> str:
        os.mkdir(path := os.path.join(directory, name))
        return path

    return [
        _get(below("get"), effort),
        _set(below("set-normal"), effort, "NORMAL", limit=1.5),
        _set(below("set-full"), effort, "FULL", limit=1.15),
        _get_unknown(below("unknown"), effort),
        _open(below("open"), effort, is_kept_open=True),
        _open(below("open-alone"), effort, is_kept_open=False),
        _import(below("import"), effort),
    ]


@contextmanager
def _get(directory: str, effort: Effort) -> Iterator[Comparison]:
    senders = _shuffled(_READS)
    keys = [(sender, MODULE) for sender in senders]
    with _both(directory, "FULL") as (store, connection):

        def ours() -> None:
            for sender in senders:
                store.get(MODULE, sender)

        def bare() -> None:
            for key in keys:
                connection.execute(_schema.SELECT_STATE, key).fetchone()[0]

        yield Comparison(
            "get, stored pair",
            lambda: timed(ours, _READS),
            lambda: timed(bare, _READS),
            effort.rounds,
            limit=1.6,
        )


@contextmanager
def _set(
    directory: str, effort: Effort, synchronous: Synchronous, limit: float
) -> Iterator[Comparison]:
    senders = _shuffled(effort.writes)
    rounds = itertools.count()
    with _both(directory, synchronous) as (store, connection):

        def ours() -> None:
            state = f"STATE_{next(rounds)}"  # another one than in the round before
            for sender in senders:
                store.set(MODULE, sender, state)

        def bare() -> None:
            state = f"STATE_{next(rounds)}"
            for sender in senders:
                since = time.time_ns() // 1_000_000
                connection.execute(_schema.SET, (sender, MODULE, state, since))

        yield Comparison(
            f"set, changing, {synchronous}",
            lambda: timed(ours, effort.writes),
            lambda: timed(bare, effort.writes),
            effort.rounds,
            limit=limit,
        )


@contextmanager
def _get_unknown(directory: str, effort: Effort) -> Iterator[Comparison]:
    # The same new pairs in the same order both ways, spread over the table as real ones are.
    numbers = {"ours": random.Random(1), "bare": random.Random(1)}
    path = os.path.join(directory, "ours")
    with (
        SQLiteStorage(new_store(path), synchronous="FULL") as store,
        closing(bare_connection(new_store(path + ".bare"), "NORMAL")) as connection,
    ):

        def new_senders(side: str) -> list[str]:
            return [f"{numbers[side].getrandbits(64):x}@example.org" for _ in range(effort.writes)]

        def ours() -> float:
            senders = new_senders("ours")

            def work() -> None:
                for sender in senders:
                    store.get(MODULE, sender)

            return timed(work, effort.writes)

        def bare() -> float:
            senders = new_senders("bare")

            def work() -> None:
                for sender in senders:
                    since = time.time_ns() // 1_000_000
                    connection.execute(_schema.SET, (sender, MODULE, "START", since))

            return timed(work, effort.writes)

        yield Comparison("get, unknown pair, FULL", ours, bare, effort.rounds, limit=3.0)


@contextmanager
def _open(directory: str, effort: Effort, *, is_kept_open: bool) -> Iterator[Comparison]:
    ours_path = new_store(os.path.join(directory, "ours"))
    bare_path = new_store(os.path.join(directory, "bare"))
    sender = sender_of(ROWS // 2)

    def ours() -> float:
        seconds = 0.0
        for _ in range(_OPENINGS):
            start = time.perf_counter()
            store = SQLiteStorage(ours_path)
            store.get(MODULE, sender)
            seconds += time.perf_counter() - start
            store.close()
        return seconds / _OPENINGS

    def bare() -> float:
        seconds = 0.0
        for _ in range(_OPENINGS):
            start = time.perf_counter()
            connection = sqlite3.connect(bare_path)
            connection.execute(_schema.SELECT_STATE, (sender, MODULE)).fetchone()[0]
            seconds += time.perf_counter() - start
            connection.close()
        return seconds / _OPENINGS

    def quietly(batch: Batch) -> float:
        with quiet():
            return batch()

    comparison = Comparison(
        "open and get, others have it open" if is_kept_open else "open and get, nobody else has",
        lambda: quietly(ours),
        lambda: quietly(bare),
        effort.rounds,
        limit=3.0 if is_kept_open else None,
    )
    if is_kept_open:
        with kept_open(ours_path, bare_path):
            yield comparison
    else:
        yield comparison


@contextmanager
def _import(directory: str, effort: Effort) -> Iterator[Comparison]:
    # Compiling the sources is paid for once, at installation or in the warm-up here, also
    # where this process was told to keep no bytecode.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": directory}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    # Both from one interpreter each round: two interpreters differ by more than the limit.
    code = (
        "import time; start = time.perf_counter(); import sqlite3, filelock; "
        "below = time.perf_counter(); import lamson_sqlite_state; "
        "print(below - start, time.perf_counter() - start)"
    )
    waiting: dict[str, float] = {}

    def importing(what: str) -> Batch:
        def batch() -> float:
            if what not in waiting:
                process = subprocess.run(
                    [sys.executable, "-c", code],
                    check=True,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
                waiting["below"], waiting["all"] = map(float, process.stdout.split())
            return waiting.pop(what)

        return batch

    yield Comparison(
        "import, beyond sqlite3 and filelock",
        importing("all"),
        importing("below"),
        effort.rounds,
        limit=5.0,
        is_difference=True,
    )


@contextmanager
def _both(
    directory: str, synchronous: Synchronous
) -> Iterator[tuple[SQLiteStorage, sqlite3.Connection]]:
    ours_path = new_store(os.path.join(directory, "ours"))
    bare_path = new_store(os.path.join(directory, "bare"))
    with (
        SQLiteStorage(ours_path, synchronous=synchronous) as store,
        closing(bare_connection(bare_path, synchronous)) as connection,
    ):
        yield store, connection


def _shuffled(count: int) -> list[str]:
    return [sender_of(number) for number in random.Random(0).sample(range(ROWS), count)]
