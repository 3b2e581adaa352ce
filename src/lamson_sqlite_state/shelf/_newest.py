"""Sorts the entries of a shelf, and keeps of each pair the entry that counts."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from ..keys.columns import row_key
from ..keys.rows import RawRow
from ._record import Entry, Refused

# Without a rowid, the table's tree is in the order of the keys. 16 MiB have room for its inner
# pages and for those leaves that entries in any order would otherwise read and write repeatedly.
_MAKE: Final = """
    PRAGMA cache_size = -16384;
    CREATE TABLE pairs (
        sender, module, state, is_salmons, PRIMARY KEY (sender, module)
    ) WITHOUT ROWID;
    BEGIN
"""
_SORTED_ENTRIES: Final = 20_000

_PUT: Final = (
    "INSERT INTO pairs VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state,"
    " is_salmons = excluded.is_salmons WHERE excluded.is_salmons >= pairs.is_salmons"
)
_ROWS: Final = (
    "SELECT sender, module, state, ? FROM pairs WHERE state IS NOT NULL ORDER BY sender, module"
)


class Pairs:
    """The pairs of a shelf: put in as entries in the shelf's order, taken out once each, as rows.

    A shelf has two entries of a pair where Salmon went on with a shelf of Lamson's, because the two
    make different keys. Salmon's entry counts, because Lamson's has not been written to since. Of
    two entries in the same form, the last one counts.

    Where the entry that counts is refused, the pair is not taken out at all. The application could
    not have read the pair either, and an older state of it would be wrong.

    Args:
        database: an empty database for the pairs, so that memory does not grow with their number.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(_MAKE)

    def put(self, entries: Iterable[Entry | Refused]) -> None:
        """Put entries in. If reading the entries raises, those before the error are in."""
        some: list[tuple[str | bytes, str | bytes, str | None, bool]] = []
        try:
            for entry in entries:
                if isinstance(entry, Entry):
                    key = row_key(entry.module, entry.sender)
                    some.append((*key, entry.state, entry.is_salmons))
                elif entry.pair is not None:
                    some.append((*row_key(*entry.pair), None, entry.is_salmons))
                if len(some) >= _SORTED_ENTRIES:
                    self._put(some)
        finally:
            self._put(some)

    def _put(self, some: list[tuple[str | bytes, str | bytes, str | None, bool]]) -> None:
        # In about the order of the tree, so that a third of its pages are read and written. The
        # sort is stable: entries of one pair stay in their order.
        some.sort(key=lambda columns: str(columns[0]))
        self._database.executemany(_PUT, some)
        some.clear()

    def rows(self, since_ms: int, at_once: int) -> Iterator[list[RawRow]]:
        """Take the pairs out, as rows with the time ``since_ms`` (Unix time in ms).

        Yields:
            ``at_once`` rows, and at the end the rows that are left.
        """
        cursor = self._database.execute(_ROWS, (since_ms,))
        while rows := cursor.fetchmany(at_once):
            yield rows
