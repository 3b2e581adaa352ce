"""Reads many rows in chunks, each in a short transaction.

A chunk is a range of senders. To read one is a read transaction of some milliseconds. A longer
transaction would keep SQLite from starting its log again.

The functions that take a `StatesTable` are called by `StoreHandle.run`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from ..engine.queries import all_rows
from ..engine.states_table import StatesTable
from ..engine.store_handle import StoreHandle

CHUNK_ROWS: Final = 5_000
"""How many rows a chunk of `pages` has when it is found. Other writers may then add rows to it."""

Parameters: TypeAlias = tuple[object, ...]

IN_ORDER: Final = "ORDER BY states.sender, states.module"
"""By the table's own columns, because a selected expression may have the name of one."""

Progress: TypeAlias = Callable[[int, int | None], None]
"""Is given how much is done, and how much there is in all, or None where nobody knows."""


def silent(_done: int, _of: int | None) -> None:
    """Ignore the progress."""


class Columns(NamedTuple):
    """What a query selects of each row.

    Attributes:
        sql: the expressions.
        names: the name of each selected value.
    """

    sql: str
    names: tuple[str, ...]


WHOLE: Final = Columns("sender, module, state, since", ("sender", "module", "state", "since"))
"""A `RawRow`."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on rows, in SQL.

    Args:
        sql: an expression; "1" is true of all rows.
        parameters: the values for the placeholders of the expression.
        is_point_lookup: whether the condition names the sender, so that its rows are few and
            SQLite finds them by the primary key.
    """

    sql: str = "1"
    parameters: Parameters = ()
    is_point_lookup: bool = False

    def and_(self, sql: str, *parameters: object) -> "Where":
        """Return the condition that both this one and another hold."""
        if self.sql == "1":
            return Where(sql, parameters, self.is_point_lookup)
        return Where(f"{self.sql} AND {sql}", (*self.parameters, *parameters), self.is_point_lookup)


EVERYTHING: Final = Where()


def chunks(store: StoreHandle, rows: int, progress: Progress = silent) -> Iterator[Where]:
    """Yield the ranges of senders that together are the whole table.

    A sender that is new meanwhile may or may not be in a range.

    Args:
        store: the store.
        rows: how many rows a range has when it is found. All rows of one sender are in one range.
        progress: is told how many rows are done, each time the caller asks for the next range.

    Raises:
        StorageError: as every call.
    """
    rest = EVERYTHING
    looked_at = 0
    while found := store.run(
        run,
        f"SELECT sender FROM states WHERE {rest.sql}"
        f" ORDER BY sender, module LIMIT 1 OFFSET {rows - 1}",
        rest.parameters,
    ):
        ((last,),) = found
        yield rest.and_("sender <= ?", last)
        looked_at += rows
        progress(looked_at, None)
        rest = Where("sender > ?", (last,))
    ((left,),) = store.run(run, f"SELECT count(*) FROM states WHERE {rest.sql}", rest.parameters)
    yield rest
    progress(looked_at + left, None)


def pages(
    store: StoreHandle,
    where: Where = EVERYTHING,
    suffix: str = IN_ORDER,
    columns: Columns = WHOLE,
    progress: Progress = silent,
) -> Iterator[list[Any]]:
    """Yield all rows that a condition holds of, chunk by chunk, in the order of the senders.

    Each row is as it was when its chunk was read.

    Args:
        store: the store.
        where: the condition.
        suffix: the end of the query for each chunk.
        columns: what to select.
        progress: is told how many rows of the table are done, each time the caller asks for the
            next page.

    Raises:
        StorageError: as every call.
    """
    if where.is_point_lookup:
        found = store.run(read, where, suffix, columns)
        yield found
        progress(len(found), None)
        return
    for chunk in chunks(store, CHUNK_ROWS, progress):
        yield store.run(read, chunk.and_(where.sql, *where.parameters), suffix, columns)


def run(states: StatesTable, sql: str, parameters: Parameters = ()) -> list[Any]:
    """Return all rows that a query yields. They must be few."""
    return states.database.read(all_rows, sql, parameters)


def read(
    states: StatesTable, where: Where, suffix: str = IN_ORDER, columns: Columns = WHOLE
) -> list[Any]:
    """Return all rows that a condition holds of. They must be few, or those of one chunk."""
    sql = f"SELECT {columns.sql} FROM states WHERE {where.sql} {suffix}"
    return run(states, sql, where.parameters)


def count(store: StoreHandle) -> int:
    """Return how many rows there are."""
    ((rows,),) = store.run(run, "SELECT count(*) FROM states")
    return int(rows)
