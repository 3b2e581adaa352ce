"""What a run has found, in a JSON file, and which side of its limits that is on."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from .._environment import Environment
from .._results import in_lines
from ._workers import BLOCKED_MS, Sets

__all__ = ["PEAK_BYTES", "Figure", "Found"]

PEAK_BYTES: Final = 100 * 1024 * 1024
"""The most that any command may have in memory."""


@dataclass(frozen=True)
class Figure:
    """One command, round by round.

    Args:
        name: what was done.
        rows: how many rows it was about.
        seconds: from the start of its process to the end.
        processor_seconds: of that, on a processor.
        peak_bytes: the most that it had in memory; 0 where that is not its own.
        yardstick: what `bare_seconds` are of; "" without.
        bare_seconds: the same work without the package.
        limit_seconds: what the median of `seconds` may be; None where it is only reported.
        sets: what workers saw beside it; empty where none were.
        is_control: whether it is no command at all, and so has no limit.
    """

    name: str
    rows: int
    seconds: Sequence[float]
    processor_seconds: Sequence[float]
    peak_bytes: Sequence[int]
    yardstick: str
    bare_seconds: Sequence[float]
    limit_seconds: float | None
    sets: Sequence[Sets]
    is_control: bool = False

    @property
    def ratios(self) -> list[float]:
        """How many times as long as the yardstick, one for each round."""
        if not self.bare_seconds:
            return []
        return [ours / bare for ours, bare in zip(self.seconds, self.bare_seconds, strict=True)]

    @property
    def peak(self) -> int:
        """The most that it had in memory in any round."""
        return max(self.peak_bytes, default=0)

    @property
    def worst_ms(self) -> float:
        """The longest set of all rounds."""
        return max((each.worst_ms for each in self.sets), default=0.0)

    @property
    def blocked(self) -> int:
        """How many sets took longer than they may, in all rounds."""
        return sum(each.blocked for each in self.sets)

    @property
    def is_slow(self) -> bool:
        """Whether the median is beyond its limit."""
        if self.limit_seconds is None:
            return False
        return statistics.median(self.seconds) > self.limit_seconds

    @property
    def is_large(self) -> bool:
        """Whether it had more in memory than it may have."""
        return self.peak > PEAK_BYTES

    @property
    def has_blocked(self) -> bool:
        """Whether a set beside it took longer than it may; never where there was no command."""
        return not self.is_control and self.blocked > 0


@dataclass(frozen=True)
class Found:
    """One run.

    Args:
        environment: where.
        rows: of the store.
        rounds: how often.
        figures: what was measured.
    """

    environment: Environment
    rows: int
    rounds: int
    figures: Sequence[Figure]

    @property
    def missed(self) -> list[str]:
        """The limits that were missed, as people say it."""
        return [
            f"{figure.name}: {what}"
            for figure in self.figures
            for is_missed, what in (
                (figure.is_slow, "time"),
                (figure.is_large, "memory"),
                (figure.has_blocked, f"a set took more than {BLOCKED_MS:.0f} ms"),
            )
            if is_missed
        ]

    def save(self, path: str) -> None:
        """Write every round's values."""
        with open(path, "w") as file:
            file.write(in_lines(asdict(self)) + "\n")

    @classmethod
    def load(cls, path: str) -> Self:
        """Return what `save` has written."""
        with open(path) as file:
            found: dict[str, Any] = json.load(file)
        figures = [
            Figure(**{**each, "sets": [Sets(**sets) for sets in each["sets"]]})
            for each in found.pop("figures")
        ]
        return cls(**found, figures=figures)
