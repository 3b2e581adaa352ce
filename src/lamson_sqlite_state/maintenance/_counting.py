"""Counts the pairs in each state, in one pass over the table, in SQLite."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

from ..keys.rows import row_of
from ..sqlite.bulk import scan
from ..sqlite.bulk.scan import Columns, Progress, Where
from ..sqlite.engine.queries import fetch
from ..sqlite.engine.states_table import StatesTable
from ..sqlite.storage import SQLiteStorage
from ._excerpts import CountExcerpt
from .selection import Selection

# So many rows are counted at a time, because a Ctrl-C waits for the end of a query.
_CHUNK_ROWS: Final = 100_000

WHOLE: Final = Columns("module, state", ("module", "state"))


class StateCount(NamedTuple):
    """The pairs of one module that are in one state.

    Attributes:
        module: the module, as it was given to the store.
        state: the state.
        pairs: how many pairs there are.
        oldest_ms: since when the first of them has been in this state (Unix time in ms).
        newest_ms: since when the last of them has been in this state (Unix time in ms).
    """

    module: object
    state: str
    pairs: int
    oldest_ms: int
    newest_ms: int


Count = TypeVar("Count", StateCount, CountExcerpt)


def senders(store: SQLiteStorage) -> int:
    """Count the different senders."""
    found = 0
    for chunk in scan.chunks(store._handle, _CHUNK_ROWS):
        sql = f"SELECT count(DISTINCT sender) FROM states WHERE {chunk.sql}"
        ((in_chunk,),) = store._handle.run(scan.run, sql, chunk.parameters)
        found += in_chunk
    return found


def by_chunk(
    store: SQLiteStorage, selection: Selection, columns: Columns, progress: Progress
) -> Iterator[tuple[Any, ...]]:
    """Yield the counts of each chunk, unchecked: ``(*columns, pairs, oldest, newest)``."""
    where = selection.where
    for chunk in scan.chunks(store._handle, _CHUNK_ROWS, progress):
        condition = chunk.and_(where.sql, *where.parameters)
        yield from store._handle.run(_count_chunk, columns, condition)


def count_of(raw: tuple[Any, ...], path: str) -> StateCount:
    """Return a count by `WHOLE`: ``(*columns, pairs, oldest, newest)``.

    Raises:
        NotAStateFile: no store has written such a row.
    """
    module, state, pairs, oldest_ms, newest_ms = raw
    row_of(("", "", "", newest_ms), path)
    row = row_of(("", module, state, oldest_ms), path)
    return StateCount(row.module, state, pairs, oldest_ms, newest_ms)


def _count_chunk(states: StatesTable, columns: Columns, where: Where) -> list[Any]:
    # A temporary table of the connection's own. An upsert finds the group of a row in the table's
    # tree. GROUP BY would sort all rows first, which takes twice as long.
    names = ", ".join(columns.names)
    table = f"counts_by_{len(columns.names)}"
    make = (
        f"CREATE TEMP TABLE IF NOT EXISTS {table}"
        f" ({names}, pairs, oldest, newest, PRIMARY KEY ({names})) WITHOUT ROWID"
    )
    count = (
        f"INSERT INTO temp.{table} SELECT {columns.sql}, 1, since, since FROM main.states"
        f" WHERE {where.sql} ON CONFLICT ({names}) DO UPDATE SET pairs = pairs + 1,"
        " oldest = min(oldest, excluded.oldest), newest = max(newest, excluded.newest)"
    )
    statements = (make, f"DELETE FROM temp.{table}", count, f"SELECT * FROM temp.{table}")
    return states.database.read(fetch, statements, ((), (), where.parameters, ()))
