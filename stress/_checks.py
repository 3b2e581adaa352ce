"""The last word: what is in the file, held against everything that was acknowledged.

Two invariants do not depend on each other: every pair that one writer owns is in the last state
that this writer was told is stored; and the counter that all writers change is as high as
there were successful changes, each from another number. The first finds lost writes, the second
lost updates, and writes that happened although they were refused.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from _ledger import COUNTER, Ledger, Pair, count_in
from _processes import Source
from lamson_sqlite_state import SQLiteStorage

__all__ = ["Check", "check_all", "sabotage"]

_SHOWN: Final = 5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what should be so.
        problems: what is not so; none where all is well.
        looked_at: what there was to look at, for the table.
    """

    name: str
    problems: tuple[str, ...]
    looked_at: str = ""


def check_all(
    path: str, store: SQLiteStorage, ledger: Ledger, sources: Iterable[Source]
) -> list[Check]:
    """Look at everything. Plain sqlite3 goes first: the store's `get` would add what is missing."""
    in_file = _states_in_file(path)
    acknowledged = f"{len(ledger.states)} pairs"
    return [
        _every_writer_ended_well(sources),
        Check("no promise broken on the way", _shortened(ledger.complaints)),
        _all_wrote(ledger, sources),
        Check(
            "acknowledged = in the file (plain sqlite3)",
            _differences(ledger, in_file),
            acknowledged,
        ),
        Check(
            "acknowledged = what the store says",
            _differences(ledger, {pair: store.get(*pair) for pair in ledger.states}),
            acknowledged,
        ),
        _counted(ledger, in_file),
        _integrity(path),
        _no_process_left(),
    ]


def sabotage(path: str, ledger: Ledger, what: str) -> None:
    """Do behind the store's back what it must never do, to see that the checks find it.

    Args:
        path: the file.
        ledger: what was acknowledged.
        what: "row" drops an acknowledged write, "counter" an acknowledged update.
    """
    pair = min(ledger.states) if what == "row" else COUNTER
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if what == "row":
            connection.execute("DELETE FROM states WHERE module = ? AND sender = ?", pair)
        else:
            connection.execute(
                "UPDATE states SET state = CAST(state AS INTEGER) - 1"
                " WHERE module = ? AND sender = ?",
                pair,
            )


def _states_in_file(path: str) -> dict[Pair, str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT module, sender, state FROM states").fetchall()
    return {(module, sender): state for module, sender, state in rows}


def _differences(ledger: Ledger, found: Mapping[Pair, str]) -> tuple[str, ...]:
    possible = ledger.possible_states()
    problems = []
    for pair, states in possible.items():
        if found.get(pair) not in states:
            expected = " or ".join(sorted(str(state) for state in states))
            problems.append(f"{pair}: acknowledged {expected}, found {found.get(pair, 'nothing')}")
    problems += [
        f"{pair}: found {state}, but nobody set it"
        for pair, state in found.items()
        if pair not in possible and pair != COUNTER
    ]
    return _shortened(problems)


def _counted(ledger: Ledger, in_file: Mapping[Pair, str]) -> Check:
    acknowledged = ledger.counted.total()
    highest = count_in(in_file.get(COUNTER, "0"))
    problems = [
        f"changing the counter to {count} succeeded {times} times"
        for count, times in ledger.counted.items()
        if times > 1
    ]
    if not acknowledged <= highest <= acknowledged + ledger.pending_counts():
        problems.append(f"{acknowledged} changes succeeded, but the counter is at {highest}")
    return Check("counter = successful compare_and_set", _shortened(problems), f"{acknowledged}")


def _all_wrote(ledger: Ledger, sources: Iterable[Source]) -> Check:
    # A run in which nothing happened proves nothing.
    idle = [source.name for source in sources if not ledger.writes[source.number]]
    return Check(
        "everybody wrote",
        tuple(f"{name} has not written once" for name in idle),
        f"{ledger.writes.total()} writes",
    )


def _every_writer_ended_well(sources: Iterable[Source]) -> Check:
    sources = list(sources)
    problems = [f"{source.name} {source.problem}" for source in sources if source.problem]
    return Check("every writer ended well", tuple(problems), f"{len(sources)} writers")


def _integrity(path: str) -> Check:
    with closing(sqlite3.connect(path)) as connection:
        found = [row for (row,) in connection.execute("PRAGMA integrity_check")]
    return Check("PRAGMA integrity_check", () if found == ["ok"] else _shortened(found))


def _no_process_left() -> Check:
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return Check("no process left", ())
    return Check("no process left", (f"process {pid or 'of some number'} is still there",))


def _shortened(problems: list[str]) -> tuple[str, ...]:
    more = len(problems) - _SHOWN
    return tuple(problems[:_SHOWN]) + ((f"... and {more} more",) if more > 0 else ())
