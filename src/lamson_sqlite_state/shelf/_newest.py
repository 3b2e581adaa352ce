"""The pairs of a shelf, each once, in the order of a store's table."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from ..keys.columns import column_value
from ._record import Entry

_Columns: TypeAlias = tuple[str | bytes, str | bytes, str, int]

# Its tree is in the order of the keys already. In 16 MiB there is room for its inner pages and for
# those that entries in any order would else be read and written for again and again.
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


class Pairs:
    """Entries, put in as a shelf has them, and taken out as rows: each pair once.

    A shelf has two entries of a pair where Salmon went on with what Lamson had begun: they
    make other keys. Then Salmon's counts, as Lamson's has not been written to since. Of two
    entries in the same form, the one that was put in last does.

    Args:
        heap: an empty database for them, so that memory does not grow with their number.
    """

    def __init__(self, heap: sqlite3.Connection) -> None:
        self._heap = heap
        heap.executescript(_MAKE)

    def put(self, entries: Iterable[Entry]) -> None:
        """Put entries in. Where reading them raises, those before are in."""
        some: list[tuple[str | bytes, str | bytes, str, bool]] = []
        try:
            for module, sender, state, is_salmons in entries:
                some.append((column_value(sender), column_value(module), state, is_salmons))
                if len(some) == _SORTED_ENTRIES:
                    self._put(some)
        finally:
            self._put(some)

    def _put(self, some: list[tuple[str | bytes, str | bytes, str, bool]]) -> None:
        # In about the order of the tree: a third of its pages are read and written then. Those of
        # one pair stay in theirs.
        some.sort(key=lambda columns: str(columns[0]))
        self._heap.executemany(_PUT, some)
        some.clear()

    def rows(self, since_ms: int, at_once: int) -> Iterator[list[_Columns]]:
        """Take them out, as rows that are from ``since_ms`` (Unix time in ms).

        Yields:
            ``at_once`` rows, and in the end what is left.
        """
        cursor = self._heap.execute(
            "SELECT sender, module, state, ? FROM pairs ORDER BY sender, module", (since_ms,)
        )
        while found := cursor.fetchmany(at_once):
            yield found
