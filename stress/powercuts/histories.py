"""Calls, and which states they make of which: what the judge goes by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

__all__ = ["START", "Call", "History", "Mishap", "Pair", "States", "owner_of", "replay"]

START = "START"

Pair: TypeAlias = tuple[str, str]
"""``(module, sender)``."""

States: TypeAlias = Mapping[Pair, str]
"""Without those in START: such a row may be lost, and means the same as none."""

Mishap: TypeAlias = Literal["delete -wal", "delete -shm", "back up", "restore"]


@dataclass(frozen=True)
class Call:
    """Something a workload does.

    Args:
        method: of the store, or a `Mishap`: what somebody does to the files meanwhile.
        arguments: of the method.
    """

    method: Literal["get", "set", "set_all", "compare_and_set", "clear", "close"] | Mishap
    arguments: tuple[str, ...] = ()

    @property
    def is_mishap(self) -> bool:
        """Whether durability may be asked again only after the next call.

        Not of a deleted -shm, beside which the log is still there.
        """
        return self.method in ("delete -wal", "restore")

    @property
    def leaves_a_foreign_log(self) -> bool:
        """Whether the log beside the database is another one's until the next call."""
        return self.method == "restore"


@dataclass(frozen=True)
class History:
    """What one process does: the states before its first call, and after each."""

    calls: tuple[Call, ...]
    snapshots: tuple[States, ...]

    @cached_property
    def pairs(self) -> frozenset[Pair]:
        """All pairs that ever had a state."""
        return frozenset(pair for snapshot in self.snapshots for pair in snapshot)

    def prefixes(self, found: States, least: int, most: int) -> list[int]:
        """Return after how many calls, from least to most, there were exactly these states."""
        return [n for n in range(least, most + 1) if self.snapshots[n] == found]


def owner_of(pair: Pair) -> int:
    """Return the number of the process whose pair this is: each has senders of its own."""
    return int(pair[1].partition(".")[0])


def replay(calls: Iterable[Call]) -> History:
    """Do the calls on a dictionary."""
    calls = tuple(calls)
    rows: dict[Pair, str] = {}
    backup: dict[Pair, str] = {}
    snapshots: list[States] = [{}]
    for call in calls:
        match call:
            case Call("get", (module, sender)):
                rows.setdefault((module, sender), START)
            case Call("set", (module, sender, state)):
                rows[module, sender] = state
            case Call("set_all", (sender, state)):
                rows.update({pair: state for pair in rows if pair[1] == sender})
            case Call("compare_and_set", (module, sender, expected, state)):
                if rows.get((module, sender), START) == expected:
                    rows[module, sender] = state
            case Call("clear"):
                rows.clear()
            case Call("back up"):
                backup = dict(rows)
            case Call("restore"):
                rows = dict(backup)
        snapshots.append({pair: state for pair, state in rows.items() if state != START})
    return History(calls, tuple(snapshots))
