"""Restore: writes the states of a copy back into a store, while workers run."""

import os
import sqlite3
import time
from collections.abc import Callable
from itertools import chain
from typing import Final, NamedTuple

from ..bulk import batches, scan
from ..bulk.scan import Progress, Where
from ..engine.store_handle import StoreHandle
from ..process.clock import Clock
from ..storage import SQLiteStorage
from .snapshot import copy_pages, whole_copy

# So long is waited at most for the next millisecond.
_TICK_SECONDS: Final = 0.01

# A pair that has changed since the restore began stays as it is: its time lies between then and
# now. Now is the time of writing, taken under the lock, so that a worker's change of a moment ago
# is not later. A time that is later comes from a clock that was wrong, and is no such change.
_UNCHANGED: Final = "NOT since BETWEEN ? AND ?"
_ON_CONFLICT: Final = (
    f"DO UPDATE SET state = excluded.state, since = excluded.since WHERE {_UNCHANGED}"
)


class Restored(NamedTuple):
    """What a restore has changed.

    Attributes:
        pairs: how many pairs the copy has.
        written: how many pairs were given their state, or only its time, from the copy.
        removed: how many pairs were removed, because the copy does not have them.
    """

    pairs: int
    written: int
    removed: int


def restore(
    store: SQLiteStorage, source: str | os.PathLike[str], *, progress: Progress = scan.silent
) -> Restored:
    """Give all pairs the states of a copy, under running workers, who see them at once.

    The rows are written in batches. In the end, all is as if the copy had been restored at the
    instant when this began, and the workers' changes since then had come after: these stay. (A
    first ``get`` is a change, because it stores START.) Meanwhile, a reader may see one pair
    restored and another not yet. An interrupted restore is made whole by another one, which counts
    from its own beginning.

    A change is known by its time. So a pair that is removed meanwhile (``forget``, ``prune``,
    ``clear``) is restored all the same, and a pair that is set to the state that it has gets the
    state of the copy. The clock must not be set meanwhile. A time that lies some seconds in the
    future when this begins may be taken for a change.

    Args:
        store: the live store.
        source: the path of the copy. The copy is verified first, and not changed.
        progress: is told how many rows of both have been looked at, and how many there are.

    Raises:
        NoStore, NotAStateFile, StorageError: the copy is missing, damaged, newer than this package,
            or the store itself, or another program keeps it locked. Nothing was written.
        StorageError: as every call. The batches before have been written.
    """
    start_ms = _next_ms()
    with whole_copy(source, store) as copy:
        pairs = sum(map(len, copy_pages(copy)))  # and all of them can be read
        in_all = pairs + scan.count(store._handle)
        done = 0

        def tell(looked_at: int) -> None:
            nonlocal done
            done += looked_at
            progress(min(done, in_all), in_all)

        written = _write(store._handle, copy, start_ms, tell)
        removed = _remove_others(store._handle, copy, start_ms, tell)
    return Restored(pairs, written, removed)


def _write(
    store: StoreHandle, copy: sqlite3.Connection, start_ms: int, tell: Callable[[int], None]
) -> int:
    """Write the rows of the copy that the store does not have like this; return how many."""
    written = 0
    for rows in chain.from_iterable(map(batches.batches, copy_pages(copy))):
        there = set(store.run(scan.read, batches.of_keys(rows)))
        changed = [row for row in rows if row not in there]
        terms = _ON_CONFLICT, start_ms, batches.NOW
        written += batches.in_batches(store, batches.insert, changed, *terms)
        tell(len(rows))
    return written


def _remove_others(
    store: StoreHandle, copy: sqlite3.Connection, start_ms: int, tell: Callable[[int], None]
) -> int:
    """Remove the rows of the store whose pairs are not in the copy; return how many."""
    unchanged = Where(_UNCHANGED, (start_ms, batches.NOW))
    removed = 0
    for rows in chain.from_iterable(map(batches.batches, scan.pages(store))):
        keys = batches.of_keys(rows)
        query = f"SELECT sender, module FROM states WHERE {keys.sql}"
        kept = set(copy.execute(query, keys.parameters))
        extra = [row for row in rows if row[:2] not in kept]
        removed += batches.in_batches(store, batches.delete, extra, unchanged)
        tell(len(rows))
    return removed


def _next_ms() -> int:
    """Wait for the next millisecond to begin, and return it (Unix time in ms).

    All that was written before the call has an earlier time. All that is written after it has the
    same or a later one.
    """
    next_ms = time.time_ns() // 1_000_000 + 1
    start = Clock.monotonic()  # as a test may have stopped the other clock
    while time.time_ns() // 1_000_000 < next_ms and Clock.monotonic() - start < _TICK_SECONDS:
        time.sleep(0.0002)
    return next_ms
