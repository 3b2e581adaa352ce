"""What the operator of a store needs: look at the states, mend them, copy them, check them.

All of it works on a live store under load, holds up no worker for more than some milliseconds,
and may be interrupted at any moment: what was done by then is done, and a second run does the
rest. The command ``lamson-state`` only parses arguments and prints what comes of these functions.

    from lamson_sqlite_state.maintenance import ExistingStorage, Selection, rows

    with ExistingStorage("run/states") as store:
        for row in rows(store, Selection(state="ERROR")):
            print(row.module, row.sender, row.since)

A *store* may be any `SQLiteStorage`. An `ExistingStorage` is one of a file that must be there
already. Every function can raise a `StorageError`, as every call of a store.
"""

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from ..errors import NoStore
from ..keys.columns import checked_state, row_key
from ..keys.rows import Row, row_of
from ..sqlite.bulk import batches, scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.bulk.spill import spill_database
from ..sqlite.check import Finding, check
from ..sqlite.copies.backup import Backup, backup
from ..sqlite.copies.restore import Restored, restore
from ..sqlite.engine import schema
from ..sqlite.engine.table import StatesTable
from ..sqlite.storage import ExistingStorage, SQLiteStorage
from ._summary import (
    CountExcerpt,
    Files,
    Limits,
    StateCount,
    Summary,
    count_excerpts,
    count_states,
    summary,
    summary_excerpts,
)
from .excerpts import EXCERPTS, Excerpt, RowExcerpt, excerpt_of
from .selection import EVERY_ROW, Exact, Selection

__all__ = [
    "EVERY_ROW",
    "Backup",
    "CountExcerpt",
    "Exact",
    "Excerpt",
    "ExistingStorage",
    "Files",
    "Finding",
    "Limits",
    "NoStore",
    "Observation",
    "Order",
    "Progress",
    "Restored",
    "Row",
    "RowExcerpt",
    "Selection",
    "StateCount",
    "Summary",
    "backup",
    "check",
    "count_excerpts",
    "count_states",
    "excerpts",
    "find",
    "forget",
    "observe",
    "observe_excerpts",
    "prune",
    "rename_state",
    "restore",
    "rows",
    "summary",
    "summary_excerpts",
]

Order: TypeAlias = Literal["sender", "module", "state", "since"]

_ORDERS: Final[dict[Order, tuple[str, ...]]] = {
    "sender": ("sender", "module"),
    "module": ("module", "sender"),
    "state": ("state", "since", "sender", "module"),
    "since": ("since", "sender", "module"),
}


def rows(
    store: SQLiteStorage,
    selection: Selection = EVERY_ROW,
    *,
    order: Order = "sender",
    is_reversed: bool = False,
    limit: int | None = None,
    progress: Progress = scan.silent,
) -> Iterator[Row]:
    """Yield the rows that are meant, sorted.

    Each is as it was at some moment of the reading, which is done in small steps: a pair that is
    there all the time is there once. Memory is bounded, whatever their number: to sort otherwise
    than by sender, they are first put into a temporary file.

    Args:
        store: whose.
        selection: which.
        order: what to sort by first.
        is_reversed: whether the last comes first.
        limit: how many at most; None for all.
        progress: told how many rows are looked at.

    Raises:
        NotAStateFile: as soon as a row is met that no store has written.
        ValueError: the limit is less than 0.
    """
    path = store.path
    found = _ordered(store, selection, scan.WHOLE, order, is_reversed, limit, progress)
    return (row_of(raw, path) for raw in found)


def excerpts(
    store: SQLiteStorage,
    selection: Selection = EVERY_ROW,
    *,
    order: Order = "sender",
    is_reversed: bool = False,
    limit: int | None = None,
    progress: Progress = scan.silent,
) -> Iterator[RowExcerpt]:
    """Do as `rows` for a screen: of a key or state of more than 4 KiB, only the ends are read.

    Long ones that begin alike are in no certain order, but where rows are sorted by sender.
    """
    path = store.path
    found = _ordered(store, selection, EXCERPTS, order, is_reversed, limit, progress)
    return (excerpt_of(raw, path) for raw in found)


def find(store: SQLiteStorage, module: object, sender: object) -> Row | None:
    """Return the row of one pair, or None. Unlike ``get``, this stores nothing.

    Raises:
        TypeError: as ``get``.
    """
    where = scan.Where("sender = ? AND module = ?", row_key(module, sender))
    found = store._handle.run(scan.read, where)
    return row_of(found[0], store.path) if found else None


def forget(store: SQLiteStorage, sender: object, module: Exact | None = None) -> int:
    """Remove the rows of a sender at one instant, so that his next mail starts at START.

    Args:
        store: whose.
        sender: whose rows.
        module: `Exact` the one in this module; None for those in all.

    Returns:
        How many there were.

    Raises:
        TypeError: as ``set``.
    """
    if module is None:
        key = row_key("", sender)
        return store._handle.run(
            StatesTable.write, key, "", schema.FORGET_ALL, lambda _now: key[:1]
        )
    key = row_key(module.key, sender)
    return store._handle.run(StatesTable.write, key, "", schema.FORGET, lambda _now: key)


def rename_state(
    store: SQLiteStorage,
    module: object,
    old: str,
    new: str,
    *,
    progress: Progress = scan.silent,
) -> int:
    """Give every pair of a module that is in the state ``old`` the state ``new``.

    For a handler that was renamed. `since` stays as it is, as nobody has moved. Many rows are
    changed in batches; workers that still run the old code may set the old state again.

    Returns:
        How many there were.

    Raises:
        TypeError, ValueError: as ``set``.
    """
    old, new = checked_state(old), checked_state(new)
    selection = Selection(module=Exact(module), state=old)
    changed = 0
    for looked_at, found in scan.pages(store._handle, selection.where):
        changed += batches.in_batches(store._handle, batches.rename, found, old, new)
        progress(looked_at, None)
    return changed


_Count = TypeVar("_Count", StateCount, CountExcerpt)
_Row = TypeVar("_Row", Row, RowExcerpt)


@dataclass(frozen=True, slots=True)
class Observation(Generic[_Count, _Row]):
    """How a store is at a moment, for those who watch it.

    Attributes:
        states: how many pairs of which module are in which state.
        changed: how many pairs have entered their state since the moment that was asked for. One
            that has changed twice counts once.
        newest: those who entered theirs last, the last first.
    """

    states: tuple[_Count, ...]
    changed: int
    newest: tuple[_Row, ...]


def observe(
    store: SQLiteStorage, since_ms: int, *, newest: int = 10
) -> Observation[StateCount, Row]:
    """Look at a store. A million rows take some 1.3 s, in which nobody is held up.

    Args:
        store: which.
        since_ms: since when changes are counted (Unix time in ms).
        newest: how many changes to show.
    """
    return Observation(
        changed=_changed(store, since_ms),
        states=count_states(store),
        newest=tuple(rows(store, order="since", is_reversed=True, limit=newest)) if newest else (),
    )


def observe_excerpts(
    store: SQLiteStorage, since_ms: int, *, newest: int = 10
) -> Observation[CountExcerpt, RowExcerpt]:
    """Do as `observe` for a screen: see `excerpts` and `count_excerpts`."""
    last = excerpts(store, order="since", is_reversed=True, limit=newest)
    return Observation(
        changed=_changed(store, since_ms),
        states=count_excerpts(store),
        newest=tuple(last) if newest else (),
    )


def _changed(store: SQLiteStorage, since_ms: int) -> int:
    # What is set while this counts is the next look's, and what is from the future nobody's.
    now_ms = time.time_ns() // 1_000_000
    recent = Selection(entered_after_ms=since_ms, entered_before_ms=now_ms + 1)
    return sum(each.pairs for each in count_excerpts(store, recent))


def prune(
    store: SQLiteStorage,
    selection: Selection,
    *,
    before_2009: bool = False,
    progress: Progress = scan.silent,
) -> int:
    """Remove the rows that are meant, in batches. Their pairs are in START from then on.

    A pair that has left its state meanwhile is not touched. Nor, where ``entered_before_ms`` is
    given, is one whose time is from before 2009, when Lamson came: it may have entered its state a
    minute ago, when the clock of a machine that had just been started stood at 1970.

    Args:
        store: whose.
        selection: which; `count_states` of its ``with_true_ages`` tells beforehand how many, and of
            its ``with_false_ages`` how many are passed over.
        before_2009: whether not to pass these over.
        progress: told how many rows are looked at.

    Returns:
        How many were removed.
    """
    where = (selection if before_2009 else selection.with_true_ages).where
    removed = 0
    for looked_at, found in scan.pages(store._handle, where):
        removed += batches.in_batches(store._handle, batches.delete, found, where)
        progress(looked_at, None)
    return removed


def _ordered(
    store: SQLiteStorage,
    selection: Selection,
    columns: scan.Columns,
    order: Order,
    is_reversed: bool,
    limit: int | None,
    progress: Progress,
) -> Iterator[Any]:
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be 0 or more rows, or None, not {limit!r}")
    if limit is not None:
        limit = min(limit, sys.maxsize)  # more is no number for SQLite
    direction = " DESC" if is_reversed else ""
    most = f"LIMIT {-1 if limit is None else limit}"
    in_key_order = order == "sender" and not is_reversed
    by = ", ".join(f"{column}{direction}" for column in _ORDERS[order])
    suffix = f"{scan.IN_ORDER if in_key_order else f'ORDER BY {by}'} {most}"
    pages = _told(scan.pages(store._handle, selection.where, suffix, columns), progress)
    if in_key_order:
        return itertools.islice(itertools.chain.from_iterable(pages), limit)
    return _sorted(pages, columns, suffix)


def _told(pages: Iterable[tuple[int, list[Any]]], progress: Progress) -> Iterator[list[Any]]:
    for looked_at, found in pages:
        progress(looked_at, None)
        yield found


def _sorted(pages: Iterable[list[Any]], columns: scan.Columns, suffix: str) -> Iterator[Any]:
    with spill_database() as database:
        database.execute(f"CREATE TABLE rows ({', '.join(columns.names)})")
        database.execute("BEGIN")
        places = ", ".join("?" * len(columns.names))
        for found in pages:
            database.executemany(f"INSERT INTO rows VALUES ({places})", found)
        yield from database.execute(f"SELECT * FROM rows {suffix}")
