"""States in and out of a store: from the frameworks' shelves, and as JSON Lines or CSV.

All of it works on a live store under load, in bounded memory, holds up no worker for more than some
milliseconds, and may be interrupted at any moment: a second run does the rest. The command
``lamson-state`` only parses arguments and prints what comes of these functions.

    from lamson_sqlite_state.maintenance import ExistingStorage
    from lamson_sqlite_state.transfer import import_shelve

    with ExistingStorage("run/states") as store:
        print(import_shelve(store, "run/old-states"))

Every function can raise a `StorageError`, as every call of a store.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, Final, Literal, TypeAlias

from ..errors import NotAShelf, StorageError
from ..keys.rows import RawRow, Row
from ..maintenance import rows
from ..maintenance.selection import EVERY_ROW, Selection
from ..shelf import Entry, Pairs, Refused, Shelf
from ..sqlite.bulk import batches, scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.bulk.spill import spill_database
from ..sqlite.copies.snapshot import copy_pages, whole_copy
from ..sqlite.engine import old_shelf
from ..sqlite.engine.table import StatesTable
from ..sqlite.storage import SQLiteStorage
from ._csv import csv_lines, read_csv
from ._row_error import BadRow
from .json_lines import json_lines, read_json_lines

__all__ = [
    "BadRow",
    "Format",
    "Imported",
    "NotAShelf",
    "OnConflict",
    "Refused",
    "export_rows",
    "import_copy",
    "import_rows",
    "import_shelve",
]

Format: TypeAlias = Literal["jsonl", "csv"]
"""JSON Lines, which lose nothing, or a table, for people."""

_READERS: Final[Mapping[Format, Callable[[IO[bytes], str], Iterator[list[RawRow]]]]] = {
    "jsonl": read_json_lines,
    "csv": read_csv,
}
_WRITERS: Final[Mapping[Format, Callable[[Iterable[Row]], Iterator[str]]]] = {
    "jsonl": json_lines,
    "csv": csv_lines,
}

OnConflict: TypeAlias = Literal["keep", "replace"]
"""Who wins where a pair is in the store already: its row there, or the imported one."""

_ON_CONFLICT: Final[dict[OnConflict, str]] = {
    "keep": "DO NOTHING",
    "replace": "DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state <> excluded.state OR since <> excluded.since",
}

# What a shelf does not know is since when; a pair that is there in the same state stays as it is.
_ON_SHELF_CONFLICT: Final[dict[OnConflict, str]] = {
    "keep": "DO NOTHING",
    "replace": "DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state <> excluded.state",
}

# So many are put into the order of the table before they are written: rows that come in any order
# would else touch a page each. Ten thousand at a time write twice as many pages.
_SORTED_ROWS: Final = 50_000

# And of senders of so many characters in all: each is as long as a mail's header makes him.
_SORTED_CHARACTERS: Final = 5_000_000

# How many lines are written at once, and how many refusals are kept for the report.
_LINES: Final = 500
_REPORTED: Final = 1_000

# After so many entries of a shelf, progress is told.
_TOLD_ENTRIES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done, or would do.

    Attributes:
        rows: how many were read.
        written: how many were new, or were changed.
        refused: what was not taken over of a shelf, and why. The first thousand of them.
        refused_count: how many there were.
    """

    rows: int
    written: int
    refused: tuple[Refused, ...] = ()
    refused_count: int = 0

    @property
    def kept(self) -> int:
        """How many pairs were in the store already, and stayed as they were.

        Of a shelf, also entries of a pair of which it has another one that counts.
        """
        return self.rows - self.written


def export_rows(
    store: SQLiteStorage,
    file: IO[bytes],
    format: Format = "jsonl",  # noqa: A002 - it is what everybody calls it
    *,
    selection: Selection = EVERY_ROW,
    progress: Progress = scan.silent,
) -> int:
    """Write rows to a file, in the order of their senders, in UTF-8.

    Each row is as it was at some moment of the export, which keeps no transaction open: a slow
    reader of a pipe hinders nobody. For all rows as they were at one instant, export a
    `maintenance.backup`.

    Args:
        store: whose.
        file: open for writing.
        format: "jsonl" for one JSON object a line, which `import_rows` reads back without a loss,
            or "csv", for people.
        selection: which rows.
        progress: told how many rows of the store are looked at, and of how many.

    Returns:
        How many rows were written.

    Raises:
        OSError: of the file.
    """
    of = scan.count(store._handle)
    found = rows(store, selection, progress=lambda looked_at, _: progress(looked_at, of))
    numbers = itertools.count()
    # zip asks the row first, and no number once there is none.
    lines = _WRITERS[format](row for row, _ in zip(found, numbers, strict=False))
    while text := "".join(itertools.islice(lines, _LINES)):
        file.write(text.encode())
    return next(numbers)


def import_rows(
    store: SQLiteStorage,
    file: IO[bytes],
    format: Format = "jsonl",  # noqa: A002 - as in export_rows
    *,
    on_conflict: OnConflict = "keep",
    name: str | None = None,
    progress: Progress = scan.silent,
) -> Imported:
    """Put the rows of a file into the store, in batches, with the times that stand there.

    Args:
        store: which.
        file: open for reading.
        format: "jsonl" or "csv", as `export_rows` writes them. A row without ``since`` is from now.
        on_conflict: whether a pair that is in the store keeps its row, or gets that of the file. Of
            two rows of one pair in the file, the first is kept, or the last replaces it.
        name: of the file, for errors; by default its own.
        progress: told how many rows are imported.

    Raises:
        BadRow: a line is no row. Rows before it were imported, none behind it was.
        OSError: of the file; as with `BadRow`.
    """
    if store._must_exist:
        scan.count(store._handle)  # that there is none is told before anything is read
    found = _sorted(_READERS[format](file, name or str(getattr(file, "name", "input"))))
    return _put(store, found, on_conflict, progress)


def import_copy(
    store: SQLiteStorage,
    path: str | os.PathLike[str],
    *,
    on_conflict: OnConflict = "keep",
    progress: Progress = scan.silent,
) -> Imported:
    """Put the rows of another store into this one: of a backup, or of what .dump has saved.

    `maintenance.restore` also removes what is not in the copy; this does not.

    Args:
        store: which.
        path: the copy; it is verified first, and not changed.
        on_conflict: as in `import_rows`.
        progress: told how many rows are imported.

    Raises:
        NoStore, NotAStateFile, StorageError: the copy is missing, damaged, newer than this package,
            or the store itself, or another program keeps it locked; nothing was written.
    """
    with whole_copy(path, store) as copy:
        return _put(store, copy_pages(copy), on_conflict, progress)


def import_shelve(
    store: SQLiteStorage,
    path: str | os.PathLike[str],
    *,
    on_conflict: OnConflict = "keep",
    is_dry_run: bool = False,
    progress: Progress = scan.silent,
) -> Imported:
    """Take over the states of a ShelveStorage of Lamson's or Salmon's, in batches.

    The shelf is read, whichever dbm has written it, and nothing is written beside it. What its
    pickles contain is not executed: one that is no text is refused, as is a key that is no pair. As
    a shelf does not know since when a pair has been in its state, all are from now. Where it
    has two entries of a pair, since Salmon went on with what Lamson had begun, Salmon's counts. End
    the application that writes to it first. The store may be made beside the shelf, under the name
    that this was given.

    What was read is in a temporary file until it is written: of a million pairs, some 60 MB.

    Args:
        store: which.
        path: as it was given to ShelveStorage, or one of the files.
        on_conflict: whether a pair that is in the store keeps its state there, or gets that of the
            shelf. Where it is the same, nothing is changed.
        is_dry_run: whether to write nothing, and to tell what would be written.
        progress: told how far it has come, and of how far if that is known: each entry counts once
            as it is read and once as it is written.

    Raises:
        NotAShelf: it is no such file, or damaged. What was read before was imported.
    """
    now_ms = time.time_ns() // 1_000_000
    refused: list[Refused] = []
    read = written = refused_count = 0
    with (
        Shelf(os.fsdecode(path), is_taken=old_shelf.is_open_here) as shelf,
        spill_database() as database,
    ):
        pairs = Pairs(database)
        store._handle.run(_know_the_shelf)
        scan.count(store._handle)  # as above, but no store is made for a shelf that is none

        def accepted() -> Iterator[Entry]:
            nonlocal read, refused_count
            of = None if shelf.count is None else 2 * shelf.count
            for number, entry in enumerate(shelf):
                if number % _TOLD_ENTRIES == 0:
                    progress(number, of)
                if isinstance(entry, Entry):
                    read += 1
                    yield entry
                    continue
                refused_count += 1
                if len(refused) < _REPORTED:
                    refused.append(entry)

        def take_over() -> None:
            nonlocal written
            total, done = read + refused_count, 0
            for found in pairs.rows(now_ms, scan.CHUNK_ROWS):
                progress(total + done, 2 * total)
                if is_dry_run:
                    written += _count_changes(store, found, on_conflict)
                else:
                    clause = _ON_SHELF_CONFLICT[on_conflict]
                    written += batches.in_batches(store._handle, batches.insert, found, clause)
                done += len(found)
            progress(2 * total, 2 * total)

        try:
            pairs.put(accepted())
        except StorageError:  # of the shelf: what came before it is imported
            take_over()
            raise
        take_over()
    return Imported(read, written, tuple(refused), refused_count)


def _put(
    store: SQLiteStorage,
    pages: Iterable[list[RawRow]],
    on_conflict: OnConflict,
    progress: Progress,
) -> Imported:
    read = written = 0
    for found in pages:
        written += batches.in_batches(
            store._handle, batches.insert, found, _ON_CONFLICT[on_conflict]
        )
        read += len(found)
        progress(read, None)
    return Imported(read, written)


def _know_the_shelf(states: StatesTable) -> None:
    states.database.file.is_shelf_known = True


def _count_changes(store: SQLiteStorage, found: list[RawRow], on_conflict: OnConflict) -> int:
    changes = 0
    for batch in batches.batches(found):
        there = {row[:2]: row[2] for row in store._handle.run(scan.read, batches.of_keys(batch))}
        for sender, module, state, _ in batch:
            old = there.get((sender, module))
            changes += old is None or (on_conflict == "replace" and old != state)
    return changes


def _sorted(found: Iterable[list[RawRow]]) -> Iterator[list[RawRow]]:
    # It is always the same list. Else who reads it would keep it while the next one is filled.
    spill_database: list[RawRow] = []
    characters = 0
    try:
        for some in found:
            spill_database += some
            characters += sum(map(len, map(itemgetter(0), some)))  # modules and states are few
            if len(spill_database) >= _SORTED_ROWS or characters >= _SORTED_CHARACTERS:
                yield _in_key_order(spill_database)
                spill_database.clear()
                characters = 0
    except (StorageError, OSError):  # of what is read: what came before it is imported
        if spill_database:
            yield _in_key_order(spill_database)
        raise
    if spill_database:
        yield _in_key_order(spill_database)


def _in_key_order(found: list[RawRow]) -> list[RawRow]:
    # Two rows of one pair stay in their order. To sort twice takes half the time of one key of two.
    try:
        found[:] = sorted(sorted(found, key=itemgetter(1)), key=itemgetter(0))
    except TypeError:  # text beside keys that are no text, which come last
        found.sort(key=lambda row: (isinstance(row[0], bytes), row[0], str(row[1])))
    return found
