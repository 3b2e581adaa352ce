"""Many rows at once, read in chunks.

A chunk is a range of senders. Reading one is a read transaction of some milliseconds, so that no
long one keeps SQLite from starting its log again.

The functions that take `StatesTable` are to be given to ``store._call``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from ..engine.handle import StoreHandle
from ..engine.queries import all_rows
from ..engine.table import StatesTable

CHUNK_ROWS: Final = 5_000
"""How many rows a chunk has when it is found. Others may put rows in meanwhile."""


Parameters: TypeAlias = tuple[object, ...]

IN_ORDER: Final = "ORDER BY states.sender, states.module"
"""Of the table's columns, where those that are selected are named as these."""


class Columns(NamedTuple):
    """What to select of each row.

    Attributes:
        sql: the expressions.
        names: of what comes of them.
    """

    sql: str
    names: tuple[str, ...]


WHOLE: Final = Columns("sender, module, state, since", ("sender", "module", "state", "since"))
"""A `RawRow`."""

Progress: TypeAlias = Callable[[int, int | None], None]
"""Told how much is done, and of how much if that is known."""


def silent(_done: int, _of: int | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on rows, in SQL.

    Args:
        sql: an expression; "1" is true of all.
        parameters: of the expression.
        is_of_few: whether the rows are few and found by their key.
    """

    sql: str = "1"
    parameters: Parameters = ()
    is_point_lookup: bool = False

    def and_(self, sql: str, *parameters: object) -> "Where":
        """Return the condition that this one and another hold."""
        if self.sql == "1":
            return Where(sql, parameters, self.is_point_lookup)
        return Where(f"{self.sql} AND {sql}", (*self.parameters, *parameters), self.is_point_lookup)


EVERYTHING: Final = Where()


class Chunk(NamedTuple):
    """A range of senders, and about how many rows they had when it was found.

    Attributes:
        after: the sender before the first, or None at the front.
        last: the last one, or None at the end.
        rows: how many rows.
    """

    after: str | bytes | None
    last: str | bytes | None
    rows: int

    @property
    def where(self) -> Where:
        """What is true of its rows."""
        where = EVERYTHING
        if self.after is not None:
            where = where.and_("sender > ?", self.after)
        if self.last is not None:
            where = where.and_("sender <= ?", self.last)
        return where


def chunks(store: StoreHandle, rows: int) -> Iterator[Chunk]:
    """Go through all senders. Those who come meanwhile may belong to a chunk or not.

    Args:
        store: whose.
        rows: how many in a chunk, but that one sender's are in one.

    Raises:
        StorageError: as every call.
    """
    after: str | bytes | None = None
    while True:
        rest = Chunk(after, None, 0)
        where = rest.where
        found = store.run(
            run,
            f"SELECT sender FROM states WHERE {where.sql}"
            f" ORDER BY sender, module LIMIT 1 OFFSET {rows - 1}",
            where.parameters,
        )
        if not found:
            sql = f"SELECT count(*) FROM states WHERE {where.sql}"
            ((left,),) = store.run(run, sql, where.parameters)
            yield rest._replace(rows=left)
            return
        ((last,),) = found
        yield Chunk(after, last, rows)
        after = last


def pages(
    store: StoreHandle,
    where: Where = EVERYTHING,
    suffix: str = IN_ORDER,
    columns: Columns = WHOLE,
) -> Iterator[tuple[int, list[Any]]]:
    """Go through all rows that a condition holds of, in the order of their keys.

    Each is as it was when its chunk was read.

    Args:
        store: whose.
        where: the condition.
        suffix: of the query for each chunk.
        columns: what to select.

    Yields:
        How many rows have been looked at so far, and those of the next chunk that are meant.

    Raises:
        StorageError: as every call.
    """
    if where.is_point_lookup:
        found = store.run(read, where, suffix, columns)
        yield len(found), found
        return
    looked_at = 0
    for chunk in chunks(store, CHUNK_ROWS):
        condition = chunk.where.and_(where.sql, *where.parameters)
        looked_at += chunk.rows
        yield looked_at, store.run(read, condition, suffix, columns)


def run(states: StatesTable, sql: str, parameters: Parameters = ()) -> list[Any]:
    """Return the rows of a query. They must be few."""
    return states.database.read(all_rows, sql, parameters)


def read(
    states: StatesTable, where: Where, suffix: str = IN_ORDER, columns: Columns = WHOLE
) -> list[Any]:
    """Return the rows that a condition holds of. They must be few, or of one chunk."""
    sql = f"SELECT {columns.sql} FROM states WHERE {where.sql} {suffix}"
    return states.database.read(all_rows, sql, where.parameters)


def count(store: StoreHandle) -> int:
    """Return how many rows there are."""
    ((rows,),) = store.run(run, "SELECT count(*) FROM states")
    return int(rows)
