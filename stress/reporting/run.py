"""What the report tells of, on the page and on the terminal."""

from dataclasses import dataclass

from powercuts.real import RealCuts
from powercuts.survey import Survey
from soaking.campaign import Campaign

from .outcome import Outcome
from .power import CutsRow, model_rows, real_rows

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
    def cut_rows(self) -> list[CutsRow]:
        """What became of each workload under power cuts, on the model and for real."""
        return [*model_rows(self.survey), *real_rows(self.cuts)]

    @property
    def power_cuts(self) -> int:
        """How often the power was cut."""
        return sum(row.cuts for row in self.cut_rows)

    @property
    def power_outcome(self) -> Outcome:
        """What became of all workloads under power cuts together."""
        outcomes = [row.outcome for row in self.cut_rows]
        return Outcome(
            len(outcomes),
            sum(each.judged for each in outcomes),
            sum(each.failed for each in outcomes),
        )

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
