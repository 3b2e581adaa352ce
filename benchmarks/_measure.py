"""Interleaved rounds, and what is said of them: the median and the spread.

Absolute times of one machine say little about another, and on a shared one little about the
next minute. So each round does a thing both ways, one right after the other, and what
counts is the ratio within the round: what slows the machine down slows both.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from ._effort import Effort
from ._rows import Row, Unit

__all__ = ["Advance", "Batch", "Comparison", "Physical", "in_rounds", "measured", "quiet", "timed"]

Batch: TypeAlias = Callable[[], float]
"""Does one thing many times and returns the seconds that one took."""

Advance: TypeAlias = Callable[[], None]
"""Called after each round."""


@dataclass(frozen=True)
class Physical:
    """What an operation cannot do without, and nothing else: no such operation is quicker.

    Args:
        name: what is done.
        batch: does it.
    """

    name: str
    batch: Batch


@dataclass(frozen=True)
class Comparison:
    """Two ways to do one thing.

    Args:
        name: what is done.
        ours: does it through the package.
        bare: does it without.
        yardstick: what ``bare`` does, in a few words.
        limit: what the median may be at most; None where it is only reported.
        unit: "x" compares by ours / bare, "ms" by ours - bare.
        physical: what no way to do it could be quicker than.
    """

    name: str
    ours: Batch
    bare: Batch
    yardstick: str
    limit: float | None = None
    unit: Unit = "x"
    physical: Physical | None = None


def measured(comparison: Comparison, effort: Effort, advance: Advance) -> Row:
    """Run the rounds, after some that do not count, and return what was found."""
    batches = [comparison.ours, comparison.bare]
    if comparison.physical:
        batches.append(comparison.physical.batch)
    ours, bare, *physical = in_rounds(batches, effort.rounds, advance, effort.warm_up_seconds)
    return Row(
        comparison.name,
        ours,
        bare,
        yardstick=comparison.yardstick,
        unit=comparison.unit,
        limit=comparison.limit,
        physical_name=comparison.physical.name if comparison.physical else None,
        physical=physical[0] if physical else (),
    )


def in_rounds(
    batches: Sequence[Batch], rounds: int, advance: Advance, warm_up_seconds: float
) -> list[list[float]]:
    """Let batches take turns, and return what each returned, round by round.

    A store looks closer at its files while its directory has just changed, as it has by the
    very opening; and writing is slower until the log has its size. So all warm up.
    """
    deadline = time.monotonic() + warm_up_seconds
    while True:
        for batch in batches:
            batch()
        if time.monotonic() >= deadline:
            break
    found: list[list[float]] = [[] for _ in batches]
    for _ in range(rounds):
        for batch, seconds in zip(batches, found, strict=True):
            seconds.append(batch())
        advance()
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out, which would charge one round for another's objects."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def timed(work: Callable[[], None], calls: int) -> float:
    """Run ``work``, which makes so many calls, and return the seconds of one."""
    with quiet():
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) / calls
