"""How the report puts things: times and counts as one reads them, and the words it explains."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["GLOSSARY", "STORE", "counted", "duration", "span"]

_UNITS: Final = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))

# From here on seconds are read more easily as minutes.
_MINUTES_FROM_SECONDS: Final = 120

STORE: Final = (
    "The store keeps, in one SQLite file, how far each mail conversation has got, so that "
    "whichever process of a mail application receives the next message can go on where the last "
    "one stopped."
)

GLOSSARY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "state": "How far one conversation has got: a short word such as START or CONFIRMING.",
        "pair": "A part of the application and a sender. Each pair has one state; one that was "
        "never written is in START.",
        "call, operation": "One use of the store: get reads a pair's state, set writes it, "
        "compare_and_set writes it only if it still is what was expected, set_all writes all of "
        "a sender's, clear forgets everything.",
        "acknowledged": "A write is acknowledged when its call has returned without an error. From "
        "then on it must not get lost.",
        "worker": "One of the processes that use the store at the same time, with several threads "
        "each.",
        "round": "A few seconds in which all workers make calls while one or more faults strike. "
        "Afterwards all that was recorded in it is judged.",
        "fault": "Something that goes wrong on a bad day, brought about on purpose: a process is "
        "killed, a file deleted, the disk is full.",
        "calm": "A round without faults, with which the others are compared.",
        "history": "All calls of a round: who called what, from when until when, and the answer.",
        "linearizable": "A history is linearizable if each call can be thought to have happened at "
        "one moment between its begin and its end, so that every answer is right. Processes "
        "then cannot tell the store from one that does one thing at a time.",
        "write lock": "What a process must hold to write; there is one, for all processes. Whoever "
        "does not get it in time is told so by an error (LockTimeout).",
        "timeout": "How long a call waits for the write lock before it gives up.",
        "log, WAL": "SQLite's write-ahead log: writes go to the end of this file first, and at a "
        "checkpoint from there into the database.",
        "version counters": "A small file in memory by which a process notices that another one "
        "has written, so that it need not ask SQLite each time.",
        "synchronous": "FULL: a write is acknowledged when the disk has it, and survives a power "
        "cut. NORMAL: a power cut may undo the last writes, but damages nothing.",
        "p50, p99, p99.9": "Of 1,000 calls, 500, 990 and 999 were at least as quick as this.",
        "sabotage": "A run in which the store lacks one of its defences, to see that the checks "
        "notice that.",
    }
)
"""What somebody has to know who has never seen the code."""


def duration(us: float | None) -> str:
    """Return a time (µs) as one reads it."""
    if us is None:
        return ""
    factor, unit = next((each for each in _UNITS if us >= each[0]), _UNITS[-1])
    return f"{us / factor:.3g} {unit}"


def span(seconds: float) -> str:
    """Return how long something took, in words."""
    if seconds >= _MINUTES_FROM_SECONDS:
        return counted(round(seconds / 60), "minute")
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number of things."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
