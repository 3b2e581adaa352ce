"""What is said of a row: a ratio, how sure it is, and whether it is slower.

Every round gives one ratio of the working tree to the revision, and one of the revision to
itself: two workers run the revision in each round, and the second is compared with the first
just as the working tree is. What is shown is the median of each, and the interval in which the
median lies with a probability of 95 % or more. That interval is exact for any distribution,
because it only counts how many rounds are on each side of a value (the sign test: Conover,
Practical Nonparametric Statistics, 3.2). It supposes that rounds are independent of each
other, and so each has new processes, new files and an order of its own.

The spread of single rounds would not do, because it stays as it is however many rounds there
are, while the median of more rounds is known better.

A row is slower if its median is more than 5 % beyond the interval of the revision with itself,
whose farther end counts whether it is above 1 or below, and if its own interval is above 1.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

__all__ = ["TOLERANCE", "Compared", "Estimate"]

TOLERANCE: Final = 1.05
_DOUBT: Final = 0.05
_LEAST_ROUNDS: Final = 6  # of fewer, not even the range holds the median with such a probability


@dataclass(frozen=True)
class Estimate:
    """A median and the interval that it lies in."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return that of these values; of fewer than nine, the interval is their range."""
        ordered = sorted(values)
        skipped = _skipped(len(ordered))
        return cls(statistics.median(ordered), ordered[skipped], ordered[-1 - skipped])

    @classmethod
    def of_ratios(cls, above: Sequence[float], below: Sequence[float]) -> Self:
        """Return that of the ratios, round by round."""
        return cls.of([a / b for a, b in zip(above, below, strict=True)])

    @property
    def farthest(self) -> float:
        """The end that is farther from 1, as a factor of at least 1."""
        return max(self.high, 1 / self.low, 1.0)


def _skipped(count: int) -> int:
    """Return how many values at each end are outside of the interval.

    The median is below the k-th smallest of n values with the probability that a coin comes up
    heads fewer than k times in n.
    """
    skipped, outside = 0, 2 / 2**count
    while True:
        outside += 2 * math.comb(count, skipped + 1) / 2**count
        if outside > _DOUBT:
            return skipped
        skipped += 1


@dataclass(frozen=True)
class Compared:
    """What a row took, in seconds of one call, round by round.

    Args:
        name: of the row.
        revision: the other revision.
        again: the same revision, in other processes.
        here: the working tree.
    """

    name: str
    revision: Sequence[float] = field(repr=False)
    again: Sequence[float] = field(repr=False)
    here: Sequence[float] = field(repr=False)

    @property
    def ratio(self) -> Estimate:
        """The working tree to the revision."""
        return Estimate.of_ratios(self.here, self.revision)

    @property
    def itself(self) -> Estimate:
        """The revision to itself."""
        return Estimate.of_ratios(self.again, self.revision)

    @property
    def can_be_told(self) -> bool:
        """Whether there were enough rounds to say anything."""
        return len(self.here) >= _LEAST_ROUNDS

    @property
    def least_seen(self) -> float:
        """The ratio from which on the row would be called slower."""
        return TOLERANCE * self.itself.farthest

    @property
    def is_slower(self) -> bool:
        """Whether the working tree is, by more than the tolerance and the noise."""
        is_beyond = self.ratio.median > self.least_seen and self.ratio.low > 1
        return self.can_be_told and is_beyond

    @property
    def is_quicker(self) -> bool:
        """Whether it is quicker by as much."""
        is_beyond = self.ratio.median < 1 / self.least_seen and self.ratio.high < 1
        return self.can_be_told and is_beyond
