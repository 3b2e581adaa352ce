"""The power cuts of a run, a row for each workload: on the model of a disk, and for real."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from powercuts.real import JOURNALS, RealCuts
from powercuts.survey import Survey

from .outcome import Outcome

__all__ = ["CutsRow", "model_rows", "real_rows"]

_NO_TIME: Final = "there was no time for it"


@dataclass(frozen=True)
class CutsRow:
    """What became of one workload.

    Args:
        name: of the workload.
        synchronous: what its stores were opened with.
        calls: how many there were; on the model, how many steps were recorded.
        acknowledgements: how many calls had returned.
        cuts: how often the power was cut.
        losses: how many of the cuts lost something; or one, if the workload could not be recorded.
        directories: how many were rebuilt and judged on the model.
        missing: why there was no cut, where something is missing here.
    """

    name: str
    synchronous: str
    calls: int = 0
    acknowledgements: int = 0
    cuts: int = 0
    losses: int = 0
    directories: int = 0
    missing: str | None = None

    @property
    def outcome(self) -> Outcome:
        """Whether it was judged, and how."""
        return Outcome(1, int(self.cuts > 0 or self.losses > 0), int(self.losses > 0))

    @property
    def title(self) -> str:
        """Its name, and how durable its stores are."""
        return f"{self.name}, {self.synchronous}" if self.synchronous else self.name

    @property
    def why_not(self) -> str:
        """Why it was not judged; nothing if it was."""
        return "" if self.outcome.judged else self.missing or _NO_TIME


def model_rows(survey: Survey | None) -> Iterator[CutsRow]:
    """Yield the workloads that were recorded, to be cut on the model of a disk."""
    for each in survey.workloads if survey else ():
        yield CutsRow(
            each.name,
            each.synchronous,
            each.calls,
            each.acknowledgements,
            each.cut_points,
            len(each.losses),
            each.directories,
            each.skipped,
        )


def real_rows(
    real: RealCuts | None, levels: Sequence[str] = ("FULL", "NORMAL")
) -> Iterator[CutsRow]:
    """Yield the real cuts of each kind, those kinds among them of which there was none."""
    if real is None:
        return
    if real.skipped and not real.cuts:
        yield CutsRow("a real file system", "", missing=real.skipped)
        return
    for level, journal in product(levels, JOURNALS):
        alike = [each for each in real.cuts if (each.synchronous, each.journal) == (level, journal)]
        yield CutsRow(
            f"ext4, {journal}",
            level,
            sum(each.calls for each in alike),
            sum(each.acknowledgements for each in alike),
            len(alike),
            sum(len(each.losses) for each in alike),
            missing=real.skipped,
        )
