"""What is looked at in every round: the names of the checks, and what each means in plain words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["MEANINGS", "Check", "shortened"]

LINEARIZABLE: Final = "the history is linearizable"
SECOND: Final = "a second judge agrees"
ACKNOWLEDGED: Final = "what was acknowledged is there"
ERRORS: Final = "only allowed errors were raised"
DURATION: Final = "no call took longer than it may"
HELD: Final = "while the write lock is held, all read on and nobody writes"
SHARES: Final = "the workers got equal shares"
SIZES: Final = "the files stay within bounds"
ACTIVE: Final = "the faults struck, and everybody worked"
ENDS: Final = "every process ended well"
SINCE: Final = "the time of a change is that of the change"
SOUND: Final = "the file is sound"
LEFT: Final = "nothing is left"
POWER: Final = "no power cut loses what was acknowledged"
BESIDE: Final = "nothing went wrong beside the calls"

JUDGED: Final = "the round could be run and judged"
"""Not looked at by a judge: what is not so where a round has no verdict, but for a Ctrl-C."""

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        LINEARIZABLE: "Each call can be thought to have happened at one moment between its begin "
        "and its end, so that every answer is right: no read is older than a write that had "
        "returned, no update is lost, no state comes from nowhere, and nobody sees a new state "
        "and then an old one, in whichever process. Judged by searching for such an order, pair "
        "by pair.",
        SECOND: "The same calls are judged by another method, which looks only for what "
        "certainly cannot be.",
        ACKNOWLEDGED: "Every pair that one thread alone writes to is, in the end, in the state "
        "that this thread was last told is stored; killed threads included.",
        ERRORS: "Calls have raised nothing but what the faults of the round allow.",
        DURATION: "No call has taken longer than its timeout (a first read twice that), but for "
        "the time that its process was stopped by us.",
        HELD: "While one process, stopped or another program's, holds the lock, every other "
        "process still reads, no write is acknowledged, and those who want to write are told after "
        "their timeout.",
        SHARES: "In a round without faults, no worker gets to write much less often than "
        "the others.",
        SIZES: "Neither SQLite's log nor the database has grown beyond what the rows need.",
        ACTIVE: "Each fault has struck at least once and each worker has made calls: a round in "
        "which nothing happens proves nothing.",
        ENDS: "Every process has ended by itself with exit status 0, unless we killed it.",
        SINCE: "For every pair that one thread alone writes to, the file says that it entered its "
        "state while the call was under way that brought it there; setting the same state again "
        "does not count.",
        SOUND: "SQLite's integrity check finds nothing, and every row can be read and makes sense.",
        LEFT: "When all have ended there is no lock held, no descriptor open, and no file but the "
        "store's own.",
        POWER: "Whatever a cut of the power may leave of the files opens again, is sound, and has "
        "every acknowledged state (at NORMAL: all states that there were at some time).",
        BESIDE: "The faults could strike and be put right, and no thread of the first process "
        "died.",
    }
)
"""Each check by its name."""

_SHOWN: Final = 5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what should be so.
        problems: what is not so; none where all is well.
        looked_at: how much there was to look at; or why the check says nothing of this round.
        is_asked: whether the check says anything of this round.
    """

    name: str
    problems: tuple[str, ...]
    looked_at: str = ""
    is_asked: bool = True


def shortened(problems: Iterable[str]) -> tuple[str, ...]:
    """Return the first few problems, and how many more there are."""
    found = list(problems)
    more = len(found) - _SHOWN
    return tuple(found[:_SHOWN]) + ((f"... and {more} more",) if more > 0 else ())
