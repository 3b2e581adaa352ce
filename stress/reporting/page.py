"""The report: one self-contained page."""

from dataclasses import dataclass
from pathlib import Path

from powercuts.real import RealCuts
from powercuts.survey import Survey
from soaking.campaign import Campaign

__all__ = ["Run", "write_report"]


@dataclass(frozen=True)
class Run:
    """What the page tells of.

    Args:
        campaign: the rounds, and what became of each.
        survey: the power cuts on the model of a disk, if there were any.
        cuts: those of a real file system, if there were any.
        command: what runs the same again.
        sabotage: which defence was switched off on purpose, in words, if one was.
        is_interrupted: whether the run was ended by Ctrl-C.
    """

    campaign: Campaign
    survey: Survey | None
    cuts: RealCuts | None
    command: str
    sabotage: str | None
    is_interrupted: bool

    @property
    def is_bad(self) -> bool:
        """Whether anything is wrong."""
        return (
            any(each.problems for each in self.campaign.rounds)
            or bool(self.survey and self.survey.losses)
            or bool(self.cuts and self.cuts.losses)
        )


def write_report(path: Path, run: Run) -> None:
    """Write the page."""
    path.write_text(f"<!doctype html><title>{run.is_bad}</title>")
