"""The verdict on a run, in words: what the page begins with, and the terminal ends with."""

from dataclasses import dataclass
from typing import Literal

from .run import Run
from .tally import broken_checks, totals
from .wording import counted, span

__all__ = ["Verdict", "summary_of", "verdict_on"]


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Args:
        kind: good, bad, or neither: where nothing is proved.
        headline: the same in a few words.
        remarks: how much was found wrong, and what else has to be known to read it right.
    """

    kind: Literal["good", "bad", "unproved"]
    headline: str
    remarks: list[str]


def verdict_on(run: Run) -> Verdict:
    """Return the verdict."""
    found = totals(run.campaign)
    remarks = _counts(run)
    if run.is_interrupted:
        remarks.append("Interrupted: what had not begun by then was not tried.")
    if found.unjudged and not run.is_bad:
        remarks.append(f"{counted(found.unjudged, 'round')} cut short: no verdict on that.")
    if run.is_bad:
        headline = "Promises were broken" + ", as they had to be" * bool(run.sabotage)
        return Verdict("bad", headline, remarks)
    if not found.rounds and not run.power_cuts:
        return Verdict("unproved", "Nothing was judged", remarks)
    if run.sabotage:
        remarks.append(
            "With a defence switched off, the checks should have found something. Nothing is "
            "proved by a run in which they do not."
        )
        return Verdict("unproved", "The sabotage was not noticed", remarks)
    headline = "Every promise was kept" + ", as far as the run went" * run.is_interrupted
    return Verdict("good", headline, remarks)


def summary_of(run: Run) -> list[str]:
    """Say in a few sentences what was done."""
    found = totals(run.campaign)
    sentences = []
    if found.rounds:
        struck = (
            f"{counted(found.faults, 'kind of fault', 'kinds of faults')} struck "
            f"{counted(found.strikes, 'time')}"
        )
        judged = "as much as could be was" if found.unjudged else "all that was recorded was"
        sentences.append(
            f"In {span(found.seconds)}, {_processes(run)} got {counted(found.calls, 'call')} "
            f"answered by one state file, while {struck if found.faults else 'no fault struck'}."
        )
        sentences.append(f"Every call was recorded, and {judged} judged.")
    if run.power_cuts:
        sentences.append(f"The power was cut at {counted(run.power_cuts, 'moment')}.")
    return sentences


def _processes(run: Run) -> str:
    this = run.campaign
    return (
        f"{counted(totals(this).processes, 'process', 'processes')} ({this.workers} or more at a "
        f"time, with {counted(this.threads, 'thread')} each)"
    )


def _counts(run: Run) -> list[str]:
    found = totals(run.campaign)
    broken = broken_checks(run.campaign)
    texts = []
    if broken:
        failed = len({each.this.number for each in broken})
        every = found.rounds + found.unjudged
        where = f"{failed:,} of {every:,} rounds" if every > 1 else "the only round"
        texts.append(f"{counted(len(broken), 'check')} failed, in {where}.")
    elif found.rounds:
        texts.append(
            f"{counted(found.checks, 'check')} in {counted(found.rounds, 'round')}: "
            "none found anything wrong."
        )
    if run.losses:
        texts.append(f"{counted(len(run.losses), 'loss', 'losses')} found after power cuts.")
    return texts
