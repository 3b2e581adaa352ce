"""Imports the states of a shelf of ShelveStorage."""

import os
import time
from collections.abc import Iterator
from typing import Final

from ..errors import StorageError
from ..keys.rows import RawRow
from ..shelf import Entry, Pairs, Refused, Shelf
from ..sqlite.bulk import batches, scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.bulk.spill import spill_database
from ..sqlite.engine import old_shelf
from ..sqlite.engine.states_table import StatesTable
from ..sqlite.storage import SQLiteStorage
from ._import_result import Imported, OnConflict

# A shelf has no times, so a pair that is in the same state in the store keeps its row.
_ON_CONFLICT: Final[dict[OnConflict, str]] = {
    "keep": "DO NOTHING",
    "replace": "DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state <> excluded.state",
}

_REPORTED_REFUSALS: Final = 1_000
_ENTRIES_PER_PROGRESS: Final = 1_000


def import_shelve(
    store: SQLiteStorage,
    path: str | os.PathLike[str],
    *,
    on_conflict: OnConflict = "keep",
    is_dry_run: bool = False,
    progress: Progress = scan.silent,
) -> Imported:
    """Import the states of a ShelveStorage of Lamson's or Salmon's, in batches.

    End the application that writes to the shelf first. The shelf is read, whichever dbm has written
    it, and nothing is written to it or beside it. The store may be made beside the shelf, under the
    name that ShelveStorage was given. Nothing in the shelf's pickles is executed: a pickle of
    anything but a text is refused, as is a key that is no pair. A shelf has no times, so each
    imported row gets the time of the import.

    Where the shelf has several entries of a pair, the one that the application would have read
    counts: Salmon's, where Salmon went on with a shelf of Lamson's, and the last one of dbm.dumb.
    Where the entry that counts is refused, the pair is not imported, because an older state would
    be wrong.

    The pairs are kept in a temporary file until they are written: some 60 MB for a million pairs.

    Args:
        store: the store to import into.
        path: the path that ShelveStorage was given, or one of the shelf's files.
        on_conflict: whether a pair that is in the store keeps its state there, or gets that of the
            shelf. Where both states are the same, nothing is changed.
        is_dry_run: whether to write nothing, and to return what would be written.
        progress: told how much is done, and of how much if that is known: each entry counts once
            when it is read and once when it is written.

    Raises:
        NotAShelf: the path leads to no shelf, or to a damaged one. The entries before the damage
            were imported.
    """
    damage = None
    with (
        Shelf(os.fsdecode(path), is_taken=old_shelf.is_open_here) as shelf,
        spill_database() as database,
    ):
        store._handle.run(_allow_shelf_beside)
        scan.count(store._handle)  # makes the store, or raises NoStore, before much is read
        tally, pairs = _Tally(), Pairs(database)
        try:
            pairs.put(tally.counted(shelf, progress))
        except StorageError as error:  # of the shelf: the entries before the damage are imported
            damage = error
        written = _written(store, pairs, on_conflict, is_dry_run, tally.total, progress)
    if damage is not None:
        raise damage
    return Imported(tally.read, written, tuple(tally.refused), tally.refused_count)


def _written(
    store: SQLiteStorage,
    pairs: Pairs,
    on_conflict: OnConflict,
    is_dry_run: bool,
    done: int,
    progress: Progress,
) -> int:
    """Write the pairs of a shelf, or only count what would change, after ``done`` were read."""
    written, total = 0, 2 * done
    for rows in pairs.rows(time.time_ns() // 1_000_000, scan.CHUNK_ROWS):
        progress(done, total)
        if is_dry_run:
            written += _count_changes(store, rows, on_conflict)
        else:
            clause = _ON_CONFLICT[on_conflict]
            written += batches.in_batches(store._handle, batches.insert, rows, clause)
        done += len(rows)
    progress(total, total)
    return written


class _Tally:
    """How many entries of a shelf were read and refused, and the first refusals."""

    def __init__(self) -> None:
        self.read = 0
        self.refused_count = 0
        self.refused: list[Refused] = []

    @property
    def total(self) -> int:
        return self.read + self.refused_count

    def counted(self, shelf: Shelf, progress: Progress) -> Iterator[Entry | Refused]:
        """Yield all that is in a shelf, and count it."""
        total = None if shelf.count is None else 2 * shelf.count
        for entry in shelf:
            if self.total % _ENTRIES_PER_PROGRESS == 0:
                progress(self.total, total)
            if isinstance(entry, Entry):
                self.read += 1
            else:
                self.refused_count += 1
                if len(self.refused) < _REPORTED_REFUSALS:
                    self.refused.append(entry)
            yield entry


def _allow_shelf_beside(states: StatesTable) -> None:
    states.database.file.is_shelf_known = True


def _count_changes(store: SQLiteStorage, rows: list[RawRow], on_conflict: OnConflict) -> int:
    changes = 0
    for batch in batches.batches(rows):
        there = {row[:2]: row[2] for row in store._handle.run(scan.read, batches.of_keys(batch))}
        for sender, module, state, _ in batch:
            old = there.get((sender, module))
            changes += old is None or (on_conflict == "replace" and old != state)
    return changes
