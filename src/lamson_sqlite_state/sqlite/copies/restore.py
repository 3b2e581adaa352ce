"""The states of a copy, given to the live store under running workers."""

import os
import time
from typing import Final, NamedTuple

from ..bulk import batches, scan
from ..bulk.scan import Progress, Where
from ..process.clock import Clock
from ..storage import SQLiteStorage
from .snapshot import copy_pages, whole_copy

# A pair that has changed since the beginning is left alone. A time in the future is no sign of
# that: it comes from a clock that was wrong. Future is what is later than the writing, under the
# lock: what a worker has set a moment before is not.
# How long a millisecond takes at most to pass.
_TICK_SECONDS: Final = 0.01

_UNCHANGED: Final = "NOT since BETWEEN ? AND ?"
_ON_CONFLICT: Final = (
    f"DO UPDATE SET state = excluded.state, since = excluded.since WHERE {_UNCHANGED}"
)


class Restored(NamedTuple):
    """What a restore has changed.

    Attributes:
        pairs: how many there are in the copy.
        written: how many pairs were given their state, or the time of it, from the copy.
        removed: how many pairs that are not in the copy were removed.
    """

    pairs: int
    written: int
    removed: int


def restore(
    store: SQLiteStorage,
    source: str | os.PathLike[str],
    *,
    progress: Progress = scan.silent,
) -> Restored:
    """Give all pairs the states of a copy, under running workers, who see it at once.

    Done in batches, through SQLite. In the end it is as if all had been restored at the instant
    that it began, and what workers have changed since then came after: such changes stay. (A first
    ``get`` is one: it stores START.) In between, a reader may see one pair restored and another
    not yet. If it is interrupted, run it again, and all is as if restored at the instant that this
    run began.

    A change is known by its time, so what leaves none is not seen: a pair that is removed meanwhile
    (``forget``, ``prune``, ``clear``) is restored all the same, and one that is set to the state
    that it has gets the copy's. Nor must the clock be set meanwhile; and what is from the next few
    seconds of the future when it begins may be taken for a change.

    Args:
        store: the live one.
        source: the copy; it is verified first, and not changed.
        progress: told how many rows of both are looked at, and of how many.

    Raises:
        NoStore, NotAStateFile, StorageError: the copy is missing, damaged, newer than this package,
            or the store itself, or another program keeps it locked; nothing was written.
        StorageError: as every call; the batches before have been written.
    """
    start_ms = _next_ms()
    with whole_copy(source, store) as copy:
        pairs = sum(map(len, copy_pages(copy)))  # and all of them can be read
        of = pairs + scan.count(store._handle)
        written = removed = looked_at = 0
        for found in copy_pages(copy):
            for batch in batches.batches(found):
                there = set(store._handle.run(scan.read, batches.of_keys(batch)))
                changed = [row for row in batch if row not in there]
                written += batches.in_batches(
                    store._handle, batches.insert, changed, _ON_CONFLICT, start_ms, batches.NOW
                )
                looked_at += len(batch)
                progress(looked_at, of)
        unchanged = Where(_UNCHANGED, (start_ms, batches.NOW))
        for looked_at_here, found in scan.pages(store._handle):
            for batch in batches.batches(found):
                keys = batches.of_keys(batch)
                query = f"SELECT sender, module FROM states WHERE {keys.sql}"
                kept = set(copy.execute(query, keys.parameters))
                extra = [row for row in batch if row[:2] not in kept]
                removed += batches.in_batches(store._handle, batches.delete, extra, unchanged)
            progress(min(looked_at + looked_at_here, of), of)
    return Restored(pairs, written, removed)


def _next_ms() -> int:
    """Return the time (Unix time in ms) at the beginning of a millisecond.

    What was written before this was called has an earlier one, what comes after it a later or
    the same.
    """
    next_ms = time.time_ns() // 1_000_000 + 1
    start = Clock.monotonic()  # as a test may have stopped the other clock
    while time.time_ns() // 1_000_000 < next_ms and Clock.monotonic() - start < _TICK_SECONDS:
        time.sleep(0.0002)
    return next_ms
