"""Exports the rows of a store to a file (JSON Lines, CSV)."""

import itertools
from typing import IO, Final

from ..maintenance import rows
from ..maintenance.selection import EVERY_ROW, Selection
from ..sqlite.bulk import scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.storage import SQLiteStorage
from ._formats import WRITERS, Format

_LINES_AT_ONCE: Final = 500


def export_rows(
    store: SQLiteStorage,
    file: IO[bytes],
    format: Format = "jsonl",  # noqa: A002 - it is what everybody calls it
    *,
    selection: Selection = EVERY_ROW,
    progress: Progress = scan.silent,
) -> int:
    """Write rows to a file, in the order of their senders, in UTF-8.

    Each row is written as it was at some moment of the export. The export keeps no transaction
    open, so a slow reader of a pipe hinders nobody. To get all rows as they were at one instant,
    export a `maintenance.backup`.

    Args:
        store: the store to export from.
        file: open for writing.
        format: "jsonl" for one JSON object a line, which `import_rows` reads back without a loss,
            or "csv", for people.
        selection: which rows to write.
        progress: told how many rows of the store have been looked at, and of how many.

    Returns:
        How many rows were written.

    Raises:
        OSError: the file could not be written.
    """
    total = scan.count(store._handle)
    found = rows(store, selection, progress=lambda looked_at, _: progress(looked_at, total))
    numbers = itertools.count()
    # zip asks for a row first, and takes no number once there is no row.
    lines = WRITERS[format](row for row, _ in zip(found, numbers, strict=False))
    while text := "".join(itertools.islice(lines, _LINES_AT_ONCE)):
        file.write(text.encode())
    return next(numbers)
