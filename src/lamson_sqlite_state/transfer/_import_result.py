"""Puts rows into a store in batches, and has the result that every import returns."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ..keys.rows import RawRow
from ..shelf import Refused
from ..sqlite.bulk import batches
from ..sqlite.bulk.scan import Progress
from ..sqlite.storage import SQLiteStorage

OnConflict: TypeAlias = Literal["keep", "replace"]
"""Which row counts where the store has a row of the pair already: "keep" the store's row, or
"replace" it by the imported row."""

ON_CONFLICT: Final[dict[OnConflict, str]] = {
    "keep": "DO NOTHING",
    "replace": "DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state <> excluded.state OR since <> excluded.since",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has done, or would do.

    Attributes:
        rows: how many rows were read.
        written: how many rows of the store were added or changed.
        refused: which entries of a shelf were not imported, and why: the first thousand.
        refused_count: how many entries of a shelf were not imported.
    """

    rows: int
    written: int
    refused: tuple[Refused, ...] = ()
    refused_count: int = 0

    @property
    def kept(self) -> int:
        """How many of the rows changed nothing, because the store kept its row of the pair.

        Where a shelf has several entries of one pair, those that do not count are among them.
        """
        return self.rows - self.written


def put(
    store: SQLiteStorage, pages: Iterable[list[RawRow]], on_conflict: OnConflict, progress: Progress
) -> Imported:
    """Put rows into a store, page by page, each page in batches."""
    read = written = 0
    for rows in pages:
        written += batches.in_batches(store._handle, batches.insert, rows, ON_CONFLICT[on_conflict])
        read += len(rows)
        progress(read, None)
    return Imported(read, written)
