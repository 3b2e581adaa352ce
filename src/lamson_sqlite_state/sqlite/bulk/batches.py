"""Changes many rows in batches, so that no other writer waits for long.

A batch is one statement, as every write of a store is. So a batch is atomic, and all caches learn
of it. Callers give the rows in the order of their keys, because rows that lie side by side in the
file change fastest. Work that was interrupted may be repeated from its beginning.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import Concatenate, Final, NamedTuple, ParamSpec
from weakref import WeakKeyDictionary

from ...keys.rows import RawRow
from ..coherence.counters import stripe_of
from ..engine.states_table import StatesTable
from ..engine.store_handle import StoreHandle
from ..process.clock import Clock
from .scan import EVERYTHING, Parameters, Where


def _batch_rows() -> int:
    # SQLite limits the parameters of a statement: to 999 before 3.32, and in some builds since
    # (https://www.sqlite.org/limits.html). A row takes four parameters, and a condition a few.
    with closing(sqlite3.Connection(":memory:")) as any_connection:
        limit = any_connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    return max(1, min(1_000, (limit - 20) // 4))


BATCH_ROWS: Final = _batch_rows()
"""How many rows a batch has at most. It takes some ms if the rows lie side by side in the file."""

# How long a batch should hold the lock. If a batch takes much longer, because rows lie far apart or
# the machine is slow, the next has half as many rows. If it takes less, the next may have twice as
# many.
_BATCH_SECONDS: Final = 0.004

# No batch is made smaller than this by halving.
_LEAST_ROWS: Final = 100

# How many rows the next batch of a store may have at most.
_paces: Final[WeakKeyDictionary[StoreHandle, int]] = WeakKeyDictionary()

# Senders can be arbitrarily long, so a batch is capped by characters too.
_BATCH_CHARACTERS: Final = 200_000

# The pause between two batches. A writer that waits for the lock tries to take it several times
# within the pause, because its naps are shorter at first (`Backoff`).
_PAUSE_SECONDS: Final = 0.0005

NOW: Final = object()
"""A placeholder among the parameters of a batch: the time of writing (Unix time in ms)."""

P = ParamSpec("P")


class Batch(NamedTuple):
    """A statement that changes some rows: the arguments of `StatesTable.change`.

    Attributes:
        stripes: the stripes of all senders whose rows the statement may change.
        sql: the statement.
        parameters_at: makes the statement's parameters from the time of writing (Unix time in ms).
    """

    stripes: frozenset[int]
    sql: str
    parameters_at: Callable[[int], Parameters]


def insert(rows: Sequence[RawRow], on_conflict: str, *parameters: object) -> Batch:
    """Return a batch that inserts rows.

    Args:
        rows: at most `BATCH_ROWS`.
        on_conflict: the SQL that follows ON CONFLICT (sender, module). It says what to do if the
            pair has a row already.
        parameters: the parameters of ``on_conflict``; `NOW` may be among them.
    """
    sql = (
        "INSERT INTO states (sender, module, state, since) VALUES "
        + ", ".join(["(?, ?, ?, ?)"] * len(rows))
        + f" ON CONFLICT (sender, module) {on_conflict}"
    )
    return _batch(rows, sql, tuple(chain.from_iterable(rows)), parameters)


def delete(rows: Sequence[RawRow], where: Where = EVERYTHING) -> Batch:
    """Return a batch that deletes those rows with these keys that meet a condition at that time.

    Args:
        rows: at most `BATCH_ROWS`; only their keys count.
        where: the condition; `NOW` may be among its parameters.
    """
    keys = of_keys(rows)
    sql = f"DELETE FROM states WHERE {keys.sql} AND {where.sql}"
    return _batch(rows, sql, keys.parameters, where.parameters)


def rename(rows: Sequence[RawRow], old: str, new: str) -> Batch:
    """Return a batch that changes the state ``old`` of the pairs with these keys to ``new``.

    A pair in another state stays as it is. `since` stays, because the state is the same under
    another name.

    Args:
        rows: at most `BATCH_ROWS`; only their keys count.
        old: the state's old name.
        new: the state's new name.
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
    """Change many rows in batches, so that no writer waits for long. Each batch is atomic.

    Args:
        store: the store.
        work: `insert`, `delete` or `rename`.
        rows: any number of rows.
        *args: further arguments of ``work``.
        **kwargs: further arguments of ``work``.

    Returns:
        How many rows were changed in all.

    Raises:
        StorageError: a batch failed. It was not written, unless the code is "outcome-unknown".
            All batches before it were written.
    """
    changed = 0
    for most in batches(rows):
        start = 0
        while some := most[start : start + _paces.get(store, BATCH_ROWS)]:
            # The batch is made before the lock is taken, so that no writer waits for that.
            batch = work(some, *args, **kwargs)
            done, seconds = store.run(_change, batch)
            changed += done
            start += len(some)
            _adapt_pace(store, len(some), seconds)
            time.sleep(_PAUSE_SECONDS)
    return changed


def _adapt_pace(store: StoreHandle, rows: int, seconds: float) -> None:
    if seconds > 1.5 * _BATCH_SECONDS:
        _paces[store] = max(_LEAST_ROWS, rows // 2)
    elif seconds < _BATCH_SECONDS:
        _paces[store] = min(2 * _paces.get(store, BATCH_ROWS), BATCH_ROWS)


def batches(rows: Sequence[RawRow]) -> Iterator[Sequence[RawRow]]:
    """Divide rows into groups, each of which one statement can change, or read by its keys."""
    for start in range(0, len(rows), BATCH_ROWS):
        yield from _short_enough(rows[start : start + BATCH_ROWS])


def _change(states: StatesTable, batch: Batch) -> tuple[int, float]:
    # The time is that with the lock held: no waiting is in it, because a call that does not get the
    # lock raises Busy at once.
    start = Clock.monotonic()
    return states.change(*batch), Clock.monotonic() - start


def of_keys(rows: Sequence[RawRow]) -> Where:
    """Return the condition that a row has the same key as one of these rows."""
    placeholders = ", ".join(["(?, ?)"] * len(rows))
    parameters = tuple(chain.from_iterable(row[:2] for row in rows))
    # With a bare IN (VALUES ...), SQLite's planner would scan the whole table.
    values = f"SELECT column1, column2 FROM (VALUES {placeholders})"
    return Where(f"(sender, module) IN ({values})", parameters)


def _batch(rows: Sequence[RawRow], sql: str, first: Parameters, last: Parameters) -> Batch:
    def parameters_at(now_ms: int) -> Parameters:
        return (*first, *(now_ms if each is NOW else each for each in last))

    return Batch(frozenset(stripe_of(row[0]) for row in rows), sql, parameters_at)


def _short_enough(rows: Sequence[RawRow]) -> Iterator[Sequence[RawRow]]:
    characters = sum(len(value) for row in rows for value in row[:3])
    if characters <= _BATCH_CHARACTERS or len(rows) <= 1:
        yield rows
    else:
        middle = len(rows) // 2
        yield from _short_enough(rows[:middle])
        yield from _short_enough(rows[middle:])
