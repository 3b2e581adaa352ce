"""Imports the rows of a file (JSON Lines, CSV)."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import IO, Final

from ..errors import StorageError
from ..keys.rows import RawRow
from ..sqlite.bulk import scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.storage import SQLiteStorage
from ._formats import READERS, Format
from ._import_result import Imported, OnConflict, put

# So many rows are sorted into the order of the table before they are written. Otherwise rows that
# come in any order would touch a page each. With 10,000 at a time, twice as many pages are written.
_SORTED_ROWS: Final = 50_000

# A sender is as long as the header of a mail makes it, so the senders are capped by characters too.
_SORTED_CHARACTERS: Final = 5_000_000


def import_rows(
    store: SQLiteStorage,
    file: IO[bytes],
    format: Format = "jsonl",  # noqa: A002 - as in export_rows
    *,
    on_conflict: OnConflict = "keep",
    name: str | None = None,
    progress: Progress = scan.silent,
) -> Imported:
    """Put the rows of a file into the store, in batches, with their times as the file has them.

    Args:
        store: the store to import into.
        file: open for reading.
        format: "jsonl" or "csv", as `export_rows` writes them. A row without ``since`` gets the
            time of the import.
        on_conflict: whether a pair that is in the store keeps its row there, or gets that of the
            file. Where the file has two rows of a pair, "keep" takes the first, and "replace" the
            last.
        name: the file's name for errors; by default, the name that the file object has.
        progress: told how many rows have been imported.

    Raises:
        BadRow: a line is no row. The rows before that line were imported, those behind it were not.
        OSError: the file could not be read; the rows before the error were imported.
    """
    if store._must_exist:
        scan.count(store._handle)  # raises NoStore before anything is read
    pages = READERS[format](file, name or str(getattr(file, "name", "input")))
    return put(store, _sorted(pages), on_conflict, progress)


def _sorted(pages: Iterable[list[RawRow]]) -> Iterator[list[RawRow]]:
    # The same list is yielded each time: otherwise the caller would keep one while the next fills.
    rows: list[RawRow] = []
    characters = 0
    try:
        for page in pages:
            rows += page
            characters += sum(map(len, map(itemgetter(0), page)))  # modules and states are few
            if len(rows) >= _SORTED_ROWS or characters >= _SORTED_CHARACTERS:
                yield _in_key_order(rows)
                rows.clear()
                characters = 0
    except (StorageError, OSError):  # from reading: the rows before the error are imported
        if rows:
            yield _in_key_order(rows)
        raise
    if rows:
        yield _in_key_order(rows)


def _in_key_order(rows: list[RawRow]) -> list[RawRow]:
    # Both sorts are stable: two rows of a pair stay in their order. Sorting twice takes half the
    # time of sorting once by both columns.
    try:
        rows[:] = sorted(sorted(rows, key=itemgetter(1)), key=itemgetter(0))
    except TypeError:  # str beside bytes: SQLite sorts TEXT before BLOB
        rows.sort(key=lambda row: (isinstance(row[0], bytes), row[0], str(row[1])))
    return rows
