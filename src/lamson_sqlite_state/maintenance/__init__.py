"""What the operator of a store needs: look at the states, mend them, copy them, check them.

All functions work on a live store under load: no worker waits for more than some milliseconds. They
may be interrupted at any moment: what has been done stays, and a second run does the rest. The
command ``lamson-state`` parses arguments, calls these functions and prints their results.

    from lamson_sqlite_state.maintenance import ExistingStorage, Selection, rows

    with ExistingStorage("run/states") as store:
        for row in rows(store, Selection(state="ERROR")):
            print(row.module, row.sender, row.since)

A *store* may be any `SQLiteStorage`. An `ExistingStorage` is a store whose file must exist already.
Every function can raise a `StorageError`, as every call of a store can.
"""

from ..errors import NoStore
from ..keys.rows import Row
from ..sqlite.bulk.scan import Progress
from ..sqlite.check import Finding, check
from ..sqlite.copies.backup import Backup, backup
from ..sqlite.copies.restore import Restored, restore
from ..sqlite.storage import ExistingStorage
from ._counting import StateCount
from ._excerpts import CountExcerpt, Excerpt, RowExcerpt
from ._mending import forget, prune, rename_state
from ._summary import Files, Limits, Summary
from ._views import (
    Observation,
    Order,
    count_excerpts,
    count_states,
    excerpts,
    find,
    observe,
    observe_excerpts,
    rows,
    summary,
    summary_excerpts,
)
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
