"""Finds, reads and counts rows: whole, or as excerpts for a screen.

The public functions are the methods of two `View` objects, one for each form.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from ..keys.columns import row_key
from ..keys.rows import Row, row_of
from ..sqlite.bulk import scan
from ..sqlite.bulk.scan import Columns, Progress
from ..sqlite.bulk.spill import spill_database
from ..sqlite.storage import SQLiteStorage
from . import _counting
from ._counting import Count
from ._excerpts import COUNTED, EXCERPTS, RowExcerpt, count_excerpt_of, excerpt_of
from ._summary import Summary, summarize
from .selection import EVERY_ROW, Selection

Order: TypeAlias = Literal["sender", "module", "state", "since"]

_ORDERS: Final[dict[Order, tuple[str, ...]]] = {
    "sender": ("sender", "module"),
    "module": ("module", "sender"),
    "state": ("state", "since", "sender", "module"),
    "since": ("since", "sender", "module"),
}

AnyRow = TypeVar("AnyRow", Row, RowExcerpt)


@dataclass(frozen=True, slots=True)
class Observation(Generic[Count, AnyRow]):
    """A store at one moment, for a person who watches it.

    Attributes:
        states: how many pairs of which module are in which state.
        changed: how many pairs have entered their state since the given moment. A pair that has
            changed twice counts once.
        newest: the pairs that have entered their states last, the last one first.
    """

    states: tuple[Count, ...]
    changed: int
    newest: tuple[AnyRow, ...]


@dataclass(frozen=True)
class View(Generic[AnyRow, Count]):
    """One form of rows and counts: whole, for programs, or excerpts, for a screen.

    An excerpt of a key or state of over 4 KiB is its beginning and its end, and SQLite reads no
    more of it. Counts whose long modules and states have the same ends and the same length become
    one. Except in the order of senders, excerpts that begin alike are in no certain order.

    Args:
        columns: the columns that are read of each row.
        row_of: makes a row from these columns and the path of the store.
        counted: the columns that rows are counted by.
        count_of: makes a count from these columns with their three numbers, and from the path.
    """

    columns: Columns
    row_of: Callable[[Any, str], AnyRow]
    counted: Columns
    count_of: Callable[[Any, str], Count]

    def rows(
        self,
        store: SQLiteStorage,
        selection: Selection = EVERY_ROW,
        *,
        order: Order = "sender",
        is_reversed: bool = False,
        limit: int | None = None,
        progress: Progress = scan.silent,
    ) -> Iterator[AnyRow]:
        """Yield the selected rows, sorted.

        The table is read in small steps, and each row is as it was at some moment of the reading. A
        pair that is in the store all the time is yielded once. Memory is bounded, whatever the
        number of rows: for another order than by sender, a temporary file takes them first.

        Args:
            store: the store.
            selection: which rows.
            order: what to sort by first.
            is_reversed: whether to sort in descending order.
            limit: how many rows to yield at most; None for all.
            progress: is told how many rows have been looked at.

        Raises:
            NotAStateFile: as soon as a row is met that no store has written.
            ValueError: the limit is less than 0.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit must be 0 or more rows, or None, not {limit!r}")
        most = min(sys.maxsize if limit is None else limit, sys.maxsize)  # SQLite takes no more
        sorting = scan.IN_ORDER
        if order != "sender" or is_reversed:
            by = (f"{each} DESC" if is_reversed else each for each in _ORDERS[order])
            sorting = f"ORDER BY {', '.join(by)}"
        suffix = f"{sorting} LIMIT {most}"
        pages = scan.pages(store._handle, selection.where, suffix, self.columns, progress)
        is_sorted = sorting == scan.IN_ORDER
        found = chain.from_iterable(pages) if is_sorted else _sorted(pages, self.columns, suffix)
        return map(self.row_of, islice(found, most), repeat(store.path))

    def count(
        self,
        store: SQLiteStorage,
        selection: Selection = EVERY_ROW,
        progress: Progress = scan.silent,
    ) -> tuple[Count, ...]:
        """Count the selected pairs by module and state, sorted by these. See `summary`.

        Raises:
            NotAStateFile: another tool has put in a row that no store writes.
            StorageError: as every call.
        """
        counts: dict[tuple[Any, ...], Count] = {}
        for raw in _counting.by_chunk(store, selection, self.counted, progress):
            key, found = raw[:-3], self.count_of(raw, store.path)
            before = counts.get(key, found)
            if before is not found:
                found = found._replace(
                    pairs=before.pairs + found.pairs,
                    oldest_ms=min(before.oldest_ms, found.oldest_ms),
                    newest_ms=max(before.newest_ms, found.newest_ms),
                )
            counts[key] = found
        order = sorted(counts, key=lambda key: (type(key[0]) is bytes, key))
        return tuple(counts[key] for key in order)

    def summary(self, store: SQLiteStorage, progress: Progress = scan.silent) -> Summary[Count]:
        """Count what is in a store.

        Each row is counted as it was at some moment of the counting. A million rows take two
        thirds of a second (benchmarks/results/operator.md), in which no other process waits.

        Args:
            store: the store.
            progress: is told how many rows are counted.

        Raises:
            NotAStateFile: another tool has put in a row that no store writes.
            StorageError: as every call.
        """
        return summarize(store, self.count(store, progress=progress), _counting.senders(store))

    def observe(
        self, store: SQLiteStorage, since_ms: int, *, newest: int = 10
    ) -> Observation[Count, AnyRow]:
        """Look at a store. A million rows take some 1.3 s, in which no other process waits.

        Args:
            store: the store.
            since_ms: since when changes are counted (Unix time in ms).
            newest: how many of the last changes to return.
        """
        # A change during the counting is left to the next call. The future never counts.
        now_ms = time.time_ns() // 1_000_000
        recent = Selection(entered_after_ms=since_ms, entered_before_ms=now_ms + 1)
        return Observation(
            changed=sum(each.pairs for each in self.count(store, recent)),
            states=self.count(store),
            newest=tuple(self.rows(store, order="since", is_reversed=True, limit=newest)),
        )


_WHOLE: Final = View(scan.WHOLE, row_of, _counting.WHOLE, _counting.count_of)
rows: Final = _WHOLE.rows
count_states: Final = _WHOLE.count
summary: Final = _WHOLE.summary
observe: Final = _WHOLE.observe

_EXCERPTS: Final = View(EXCERPTS, excerpt_of, COUNTED, count_excerpt_of)
excerpts: Final = _EXCERPTS.rows
count_excerpts: Final = _EXCERPTS.count
summary_excerpts: Final = _EXCERPTS.summary
observe_excerpts: Final = _EXCERPTS.observe


def find(store: SQLiteStorage, module: object, sender: object) -> Row | None:
    """Return the row of one pair, or None. Unlike ``get``, this stores nothing.

    Raises:
        TypeError: as ``get``.
        NotAStateFile: no store has written the row.
    """
    where = scan.Where("sender = ? AND module = ?", row_key(module, sender))
    found = store._handle.run(scan.read, where)
    return row_of(found[0], store.path) if found else None


def _sorted(pages: Iterable[list[Any]], columns: Columns, suffix: str) -> Iterator[Any]:
    with spill_database() as database:
        database.execute(f"CREATE TABLE rows ({', '.join(columns.names)})")
        database.execute("BEGIN")
        places = ", ".join("?" * len(columns.names))
        for found in pages:
            database.executemany(f"INSERT INTO rows VALUES ({places})", found)
        yield from database.execute(f"SELECT * FROM rows {suffix}")
