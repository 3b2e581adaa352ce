"""The verdict on a run, in words: what the page begins with, and the terminal ends with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from soaking import checks

from .run import Run
from .tally import broken_checks, by_check, outcome_of, totals
from .wording import counted, span

__all__ = ["Verdict", "summary_of", "verdict_on"]


@dataclass(frozen=True)
class Verdict:
    """How a run ended.

    Args:
        kind: good, if every promise was judged, and kept; bad; or neither.
        headline: the same in a few words.
        remarks: how much was found wrong, and what else has to be known to read it right.
        not_judged: what the verdict says nothing of, and why.
    """

    kind: Literal["good", "bad", "unproved"]
    headline: str
    remarks: list[str]
    not_judged: list[str]


def verdict_on(run: Run) -> Verdict:
    """Return the verdict."""
    remarks, not_judged = _counts(run), list(_not_judged(run))
    if run.is_interrupted:
        remarks.append("Interrupted: what had not begun by then was not tried.")
    if run.is_bad:
        headline = "Promises were broken" + ", as they had to be" * bool(run.sabotage)
        return Verdict("bad", headline, remarks, not_judged)
    if not totals(run.campaign).rounds and not run.power_cuts:
        return Verdict("unproved", "Nothing was judged", remarks, not_judged)
    if run.sabotage:
        remarks.append(
            "With a defence switched off, the checks should have found something. Nothing is "
            "proved by a run in which they do not."
        )
        return Verdict("unproved", "The sabotage was not noticed", remarks, not_judged)
    if not_judged or run.is_interrupted:
        headline = "Nothing wrong was found, but not everything was judged"
        return Verdict("unproved", headline, remarks, not_judged)
    return Verdict("good", "Every promise was kept", remarks, not_judged)


def summary_of(run: Run) -> list[str]:
    """Say in a few sentences what was done."""
    found = totals(run.campaign)
    sentences = []
    if found.rounds:
        struck = (
            f"{counted(found.faults, 'kind of fault', 'kinds of faults')} struck "
            f"{counted(found.strikes, 'time')}"
        )
        unknown = f" ({found.unknown:,} of unknown outcome)" if found.unknown else ""
        sentences.append(
            f"In {span(found.seconds)}, {_processes(run)} made {counted(found.calls, 'call')}"
            f"{unknown} on one state file, while {struck if found.faults else 'no fault struck'}."
        )
        every = found.rounds + found.unjudged
        where = f"in {found.rounds:,} of {every:,} rounds " if found.unjudged else ""
        sentences.append(f"Every call was recorded, and all that was recorded {where}was judged.")
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
        outcome = outcome_of(run.campaign.rounds)
        every = counted(outcome.of, "round")
        where = f"{outcome.failed:,} of {every}" if outcome.of > 1 else "the only round"
        texts.append(f"{counted(len(broken), 'check')} failed, in {where}.")
    elif found.rounds:
        texts.append(
            f"{counted(found.checks, 'check')} in {counted(found.rounds, 'round')}: "
            "none found anything wrong."
        )
    if run.losses:
        cuts = run.power_outcome
        where = f"{cuts.failed:,} of {counted(cuts.of, 'workload')}"
        texts.append(f"{counted(len(run.losses), 'finding')} after power cuts, in {where}.")
    return texts


def _not_judged(run: Run) -> Iterator[str]:
    """Yield what the run says nothing of, and why."""
    campaign = run.campaign
    for each in campaign.rounds:
        if not each.is_judged:
            faults = " + ".join(each.faults)
            yield f"round {each.number} ({faults}): the run ended before its verdict"
    for name, reason in campaign.skipped.items():
        yield f"{name}: {reason}"
    begun = {name for each in campaign.rounds for name in each.faults}
    if late := [each for each in campaign.faults if each not in begun | campaign.skipped.keys()]:
        yield f"{', '.join(late)}: the run ended before their rounds"
    if not totals(campaign).rounds:
        yield "all that is asked of a round: no round was judged"
    else:
        for row in by_check(campaign):
            if not row.outcome.judged:
                yield f"whether {row.name}: no round could tell"
    for cuts in run.cut_rows:
        if cuts.why_not:
            yield f"power cuts of {cuts.title}: {cuts.why_not}"
    if run.survey is None and run.cuts is None:
        yield f"whether {checks.POWER}: the power was not cut"
    elif run.survey is None or run.cuts is None:
        how = "on the model of a disk" if run.survey is None else "of a real file system"
        yield f"power cuts {how}: the run ended before them"
