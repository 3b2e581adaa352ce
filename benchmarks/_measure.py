"""Interleaved rounds, and what is said of them: the median and the spread.

Absolute times of one machine say little about another, and on a shared one little about the
next minute. So each round does a thing both ways, one right after the other, and what
counts is the ratio within the round: what slows the machine down slows both.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final, TypeAlias

__all__ = ["Batch", "Comparison", "Row", "measured", "quiet", "timed"]

Batch: TypeAlias = Callable[[], float]
"""Does one thing many times and returns the seconds that one took."""

_WARM_UP_SECONDS: Final = 0.2

_SECONDS_PER: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True)
class Comparison:
    """Two ways to do one thing.

    Args:
        name: what is done.
        ours: does it through the package.
        bare: does it without.
        rounds: how often the two take turns.
        limit: what the median may be at most; None where it is only reported.
        is_difference: compare by ours - bare, in ms, instead of by ours / bare.
    """

    name: str
    ours: Batch
    bare: Batch
    rounds: int
    limit: float | None = None
    is_difference: bool = False


@dataclass(frozen=True)
class Row:
    """What was found: one line of the table.

    Args:
        name: what was done.
        ours: median cost through the package, with its unit.
        bare: median cost without.
        values: what was compared with the limit, one for each round.
        unit: of the values: "x" for a ratio, "ms" for a difference.
        limit: what the median of the values may be; None where it is only reported.
        is_floor: the limit is what it must be at least, not at most.
    """

    name: str
    ours: str
    bare: str
    values: Sequence[float] = field(repr=False)
    unit: str = "x"
    limit: float | None = None
    is_floor: bool = False

    @property
    def median(self) -> float:
        """The middle of the rounds, which one disturbed round cannot move far."""
        return statistics.median(self.values)

    @property
    def is_missed(self) -> bool:
        """Whether the median is on the wrong side of the limit."""
        if self.limit is None:
            return False
        return self.median < self.limit if self.is_floor else self.median > self.limit

    def as_json(self) -> dict[str, object]:
        """Return all there is, for other programs."""
        return {**asdict(self), "median": self.median, "is_missed": self.is_missed}


def measured(comparison: Comparison, advance: Callable[[], None]) -> Row:
    """Run the rounds, after some that do not count, and return what was found.

    A store looks closer at its files while its directory has just changed, as it has by the
    very opening; and writing is slower until the log has its size. So both ways warm up.

    Args:
        comparison: what to run.
        advance: called after each round.
    """
    deadline = time.monotonic() + _WARM_UP_SECONDS
    while True:
        comparison.ours()
        comparison.bare()
        if time.monotonic() >= deadline:
            break
    ours, bare = [], []
    for _ in range(comparison.rounds):
        ours.append(comparison.ours())
        bare.append(comparison.bare())
        advance()
    if comparison.is_difference:
        values = [(a - b) / _SECONDS_PER["ms"] for a, b in zip(ours, bare, strict=True)]
    else:
        values = [a / b for a, b in zip(ours, bare, strict=True)]
    return Row(
        comparison.name,
        _duration(statistics.median(ours)),
        _duration(statistics.median(bare)),
        values,
        unit="ms" if comparison.is_difference else "x",
        limit=comparison.limit,
    )


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


def _duration(seconds: float) -> str:
    unit = next((unit for unit, size in _SECONDS_PER.items() if seconds >= size), "us")
    return f"{seconds / _SECONDS_PER[unit]:.3g} {unit}"
