"""Many rows at once, changed in batches, so that nobody is held up for long.

A batch is one statement, like every write here: it is atomic, and all caches are told of it. What a
long work has done is known by how far it has come in the order of the keys, and all of it may
be done again.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from operator import itemgetter
from typing import Concatenate, Final, NamedTuple, ParamSpec
from weakref import WeakKeyDictionary

from ...keys.rows import RawRow
from ..coherence.counters import stripe_of
from ..engine.handle import StoreHandle
from ..engine.table import StatesTable
from ..process.clock import Clock
from .scan import EVERYTHING, Parameters, Where


def _batch_rows() -> int:
    # No more parameters than this SQLite was built for: 999 before 3.32, and in some builds since
    # (https://www.sqlite.org/limits.html). Four a row, and some for a condition.
    with closing(sqlite3.Connection(":memory:")) as any_connection:
        limit = any_connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    return max(1, min(1_000, (limit - 20) // 4))


BATCH_ROWS: Final = _batch_rows()
"""How many rows one statement changes at most: some milliseconds where they stand side by side."""

# How long a batch should take. Where rows stand far apart, or the machine is slow, it has fewer.
_BATCH_SECONDS: Final = 0.004
_LEAST_ROWS: Final = 100

# How many rows a batch may have by now.
_paces: Final[WeakKeyDictionary[StoreHandle, int]] = WeakKeyDictionary()

# And of how many characters. A sender is as long as his mail's header makes him.
_BATCH_CHARACTERS: Final = 200_000

# Between two statements: whoever waits for the lock tries to take it at least once in this time.
_PAUSE_SECONDS: Final = 0.0005

NOW: Final = object()
"""Among the parameters of a batch: the time of writing (Unix time in ms)."""

P = ParamSpec("P")


class Batch(NamedTuple):
    """A statement that changes some rows.

    Attributes:
        stripes: of their senders.
        sql: the statement.
        parameters_at: makes its parameters from the time of writing (Unix time in ms).
    """

    stripes: frozenset[int]
    sql: str
    parameters_at: Callable[[int], Parameters]


def insert(rows: Sequence[RawRow], on_conflict: str, *parameters: object) -> Batch:
    """Put rows in.

    Args:
        rows: at most `BATCH_ROWS`.
        on_conflict: what to do where a pair has a row, as SQL behind ON CONFLICT (sender, module).
        parameters: of that; `NOW` may be among them.
    """
    sql = (
        "INSERT INTO states (sender, module, state, since) VALUES "
        + ", ".join(["(?, ?, ?, ?)"] * len(rows))
        + f" ON CONFLICT (sender, module) {on_conflict}"
    )
    return _batch(rows, sql, tuple(chain.from_iterable(rows)), parameters)


def delete(rows: Sequence[RawRow], where: Where = EVERYTHING) -> Batch:
    """Delete the rows of these keys that the condition holds of when it is done.

    Args:
        rows: at most `BATCH_ROWS`.
        where: the condition; `NOW` may be among its parameters.
    """
    keys = of_keys(rows)
    sql = f"DELETE FROM states WHERE {keys.sql} AND {where.sql}"
    return _batch(rows, sql, keys.parameters, where.parameters)


def rename(rows: Sequence[RawRow], old: str, new: str) -> Batch:
    """Call the state ``old`` of these keys ``new`` from now on; at most `BATCH_ROWS`.

    `since` stays: it is still the same state.
    """
    keys = of_keys(rows)
    sql = f"UPDATE states SET state = ? WHERE {keys.sql} AND state = ?"
    return _batch(rows, sql, (new, *keys.parameters), (old,))


def in_batches(
    store: StoreHandle,
    work: Callable[Concatenate[Sequence[RawRow], P], Batch],
    rows: Sequence[RawRow],
    *args: P.args,
    **kwargs: P.kwargs,
) -> int:
    """Do something with many rows, batch by batch, so that no writer is held up for long.

    Each batch is done at one instant.

    Args:
        store: whose.
        work: `insert`, `delete` or `rename`.
        rows: as many as there are.
        *args: of the work.
        **kwargs: of the work.

    Returns:
        How many rows were changed in all.

    Raises:
        StorageError: the batches before have been written, this one was not (or it is unknown).
    """
    changed = 0
    for most in batches(rows):
        start = 0
        while start < len(most):
            pace = _paces.get(store, BATCH_ROWS)
            some = most[start : start + pace]
            # Made before the lock is taken: nobody is to wait for arithmetic.
            batch = work(some, *args, **kwargs)
            done, seconds = store.run(_change, batch)
            changed += done
            start += len(some)
            if seconds > 1.5 * _BATCH_SECONDS:
                _paces[store] = max(_LEAST_ROWS, len(some) // 2)
            elif seconds < _BATCH_SECONDS:
                _paces[store] = min(2 * pace, BATCH_ROWS)
            time.sleep(_PAUSE_SECONDS)
    return changed


def batches(rows: Sequence[RawRow]) -> Iterator[Sequence[RawRow]]:
    """Divide rows into as many as are changed, or asked for by their keys, at once."""
    for start in range(0, len(rows), BATCH_ROWS):
        yield from _short_enough(rows[start : start + BATCH_ROWS])


def _change(states: StatesTable, batch: Batch) -> tuple[int, float]:
    # Of the time, only what the lock was held for: a call that met another's raises Busy.
    start = Clock.monotonic()
    return states.change(*batch), Clock.monotonic() - start


def of_keys(rows: Sequence[RawRow]) -> Where:
    """Return the condition that a row has the key of one of these."""
    placeholders = ", ".join(["(?, ?)"] * len(rows))
    parameters = tuple(chain.from_iterable(row[:2] for row in rows))
    # Of a bare IN (VALUES ...), SQLite's planner makes a scan of the whole table.
    values = f"SELECT column1, column2 FROM (VALUES {placeholders})"
    return Where(f"(sender, module) IN ({values})", parameters)


def _batch(rows: Sequence[RawRow], sql: str, first: Parameters, last: Parameters) -> Batch:
    def parameters_at(now_ms: int) -> Parameters:
        return (*first, *(now_ms if each is NOW else each for each in last))

    return Batch(frozenset(stripe_of(row[0]) for row in rows), sql, parameters_at)


def _short_enough(rows: Sequence[RawRow]) -> Iterator[Sequence[RawRow]]:
    characters = sum(sum(map(len, map(itemgetter(column), rows))) for column in (0, 1, 2))
    if characters <= _BATCH_CHARACTERS or len(rows) <= 1:
        yield rows
    else:
        middle = len(rows) // 2
        yield from _short_enough(rows[:middle])
        yield from _short_enough(rows[middle:])
