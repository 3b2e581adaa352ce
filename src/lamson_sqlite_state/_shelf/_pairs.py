"""The pairs of a shelf, each once, in the order of a store's table."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from .._keys import column_value
from ._record import Entry

__all__ = ["Pairs"]

_Columns: TypeAlias = tuple[str | bytes, str | bytes, str, int]

# An entry of Salmon's has a higher rank than any of Lamson's, and a later one than an earlier.
_SALMONS: Final = 1 << 48

# Of the columns that are not grouped by, SQLite takes those of the row with the maximum
# (https://www.sqlite.org/lang_select.html#bareagg).
_EACH_ONCE: Final = (
    "SELECT sender, module, state, ? FROM (SELECT sender, module, state, max(rank) FROM entries"
    " GROUP BY sender, module) ORDER BY sender, module"
)


class Pairs:
    """Entries, put in as a shelf has them, and taken out as rows: each pair once.

    A shelf has two entries of a pair where Salmon went on with what Lamson had begun: they
    make other keys. Then Salmon's counts, as Lamson's has not been written to since. Of two
    entries in the same form, the one that was put in last does.

    They are in a temporary file of SQLite's, which has no name and is gone with the process, so
    memory does not grow with their number.
    """

    def __init__(self) -> None:
        self._heap = sqlite3.connect("", isolation_level=None)
        self._heap.execute("CREATE TABLE entries (sender, module, state, rank)")
        self._heap.execute("BEGIN")

    def put(self, entries: Iterable[Entry]) -> None:
        """Put entries in. Where reading them raises, those before are in."""
        self._heap.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)",
            (
                (
                    column_value(sender),
                    column_value(module),
                    state,
                    number + (_SALMONS if is_salmons else 0),
                )
                for number, (module, sender, state, is_salmons) in enumerate(entries)
            ),
        )

    def rows(self, since_ms: int, at_once: int) -> Iterator[list[_Columns]]:
        """Take them out, as rows that are from ``since_ms`` (Unix time in ms).

        Yields:
            ``at_once`` rows, and in the end what is left.
        """
        cursor = self._heap.execute(_EACH_ONCE, (since_ms,))
        while found := cursor.fetchmany(at_once):
            yield found

    def close(self) -> None:
        """Drop all of them."""
        self._heap.close()
