"""One line of the table: what was found in each round, and which side of the limit it is on."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self, TypeAlias

__all__ = ["Row", "Unit", "duration", "plain", "power", "spread"]

Unit: TypeAlias = Literal["x", "ms", "share", "bytes"]
"""Ratio of two times; difference of two times; a share that stands alone; ratio of two sizes."""

_SECONDS_PER: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Row:
    """What was found, round by round.

    Args:
        name: what was done.
        ours: what it cost through the package: seconds of one call, a share, or bytes.
        bare: the same without the package.
        yardstick: what ``bare`` is.
        unit: how the two are compared.
        limit: what the median of `values` may be; None where it is only reported.
        is_floor: the limit is what it must be at least, not at most.
        physical_name: what no way to do it could be quicker than.
        physical: the seconds of that.
        rows: how many the store has, where stores of several sizes are compared.
    """

    name: str
    ours: Sequence[float] = field(repr=False)
    bare: Sequence[float] = field(repr=False)
    yardstick: str
    unit: Unit = "x"
    limit: float | None = None
    is_floor: bool = False
    physical_name: str | None = None
    physical: Sequence[float] = field(default=(), repr=False)
    rows: int | None = None

    @property
    def label(self) -> str:
        """The name, with the size of the store where there are several."""
        return self.name if self.rows is None else f"{self.name}, {power(self.rows)} rows"

    @property
    def values(self) -> list[float]:
        """What is compared with the limit, one for each round."""
        if self.unit == "share":
            return list(self.ours)
        pairs = zip(self.ours, self.bare, strict=True)
        if self.unit == "ms":
            return [(ours - bare) / _SECONDS_PER["ms"] for ours, bare in pairs]
        return [ours / bare for ours, bare in pairs]

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

    @property
    def above_physical(self) -> float | None:
        """How many times the physical limit it took."""
        if not self.physical:
            return None
        return statistics.median(a / b for a, b in zip(self.ours, self.physical, strict=True))

    @property
    def limit_text(self) -> str:
        """The limit with its sign and unit, or a dash."""
        if self.limit is None:
            return "-"
        return f"{'≥' if self.is_floor else '≤'} {self.limit:g}{self.suffix}"

    @property
    def suffix(self) -> str:
        """What stands behind a value."""
        return {"x": " x", "bytes": " x", "ms": " ms", "share": ""}[self.unit]

    def costs(self) -> tuple[str, str]:
        """Return the medians of both ways, as people write them."""
        show = {"share": "{:.2f}".format, "bytes": _size}.get(self.unit, duration)
        return show(statistics.median(self.ours)), show(statistics.median(self.bare))

    def as_json(self) -> dict[str, object]:
        """Return all there is, for other programs and for `from_json`."""
        return {**asdict(self), "median": self.median, "is_missed": self.is_missed}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Return the row that was written by `as_json`."""
        derived = ("median", "is_missed")
        return cls(**{name: value for name, value in found.items() if name not in derived})


def duration(seconds: float) -> str:
    """Return a time with three digits and the unit that suits it."""
    unit = _unit(seconds)
    return f"{plain(seconds / _SECONDS_PER[unit])} {unit}"


def spread(seconds: Sequence[float]) -> str:
    """Return the shortest and the longest of these times, in the unit of the longest."""
    unit = _unit(max(seconds))
    least, most = (plain(f(seconds) / _SECONDS_PER[unit]) for f in (min, max))
    return f"{least}..{most} {unit}"


def _unit(seconds: float) -> str:
    return next((unit for unit, size in _SECONDS_PER.items() if seconds >= size), "ns")


def plain(number: float) -> str:
    """Return a number with three digits, and never an exponent."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def power(number: int) -> str:
    """Return a power of ten as such: 10^7."""
    exponent = len(str(number)) - 1
    return f"10^{exponent}" if number == 10**exponent else f"{number:,}"


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
