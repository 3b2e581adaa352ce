"""What the report tells of, on the page and on the terminal."""

from dataclasses import dataclass

from powercuts.real import RealCuts
from powercuts.survey import Survey
from soaking.campaign import Campaign

__all__ = ["Run"]


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
    def power_cuts(self) -> int:
        """How often the power was cut, on the model and for real."""
        on_paper = sum(each.cut_points for each in self.survey.workloads) if self.survey else 0
        return on_paper + (len(self.cuts.cuts) if self.cuts else 0)

    @property
    def losses(self) -> list[str]:
        """What power cuts were found to have lost, a paragraph each."""
        return [
            *(self.survey.losses if self.survey else ()),
            *(self.cuts.losses if self.cuts else ()),
        ]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was tried, as nothing of what was asked for can be had here."""
        return not self.power_cuts and not self.campaign.rounds and not self.is_interrupted

    @property
    def is_bad(self) -> bool:
        """Whether anything is wrong."""
        return any(each.problems for each in self.campaign.rounds) or bool(self.losses)
