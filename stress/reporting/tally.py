"""A campaign added up: by check, by fault, by operation, and over all rounds."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from faults import FAULTS
from soaking import checks
from soaking.campaign import Campaign, Round
from soaking.statistics import Histogram, merged

from .outcome import Outcome
from .wording import counted

__all__ = [
    "KINDS",
    "Broken",
    "CheckRow",
    "FaultRow",
    "Totals",
    "broken_checks",
    "by_check",
    "by_fault",
    "calls_of",
    "errors_of",
    "is_calm",
    "latencies",
    "latency_of",
    "outcome_of",
    "strikes_of",
    "totals",
]

KINDS: Final = ("get", "set", "compare_and_set", "set_all", "clear")
"""The operations, in the order in which one gets to know them."""

# What checks say they have looked at, as far as it can be added up over the rounds.
_COUNT: Final = re.compile(r"([\d,]+) (\w+)")
_EXTREME: Final = re.compile(r"(longest|slowest) ([\d.]+) (.+)")
_SIZES: Final = re.compile(r"log ([\d.]+) MB, database ([\d.]+) kB")


@dataclass(frozen=True)
class Broken:
    """One check that failed in one round: what is not so there."""

    check: str
    this: Round
    problems: Sequence[str]

    @property
    def text(self) -> str:
        """All of it: short findings line by line, and histories with space around them."""
        is_short = all("\n" not in each for each in self.problems)
        return ("\n" if is_short else "\n\n").join(self.problems)

    @property
    def meaning(self) -> str:
        """What should be so, in words."""
        return checks.MEANINGS.get(
            self.check, "What could not be run or judged says nothing: so it counts as broken."
        )


@dataclass(frozen=True)
class CheckRow:
    """What became of one check over all rounds.

    Args:
        name: of the check.
        looked_at: how much there was to look at, in words.
        outcome: of the rounds that the check was to judge, those without a verdict among them.
    """

    name: str
    looked_at: str
    outcome: Outcome


@dataclass(frozen=True)
class FaultRow:
    """What became of one fault, or of one that goes with others, over all its rounds."""

    name: str
    rounds: Sequence[Round]
    strikes: int

    @property
    def outcome(self) -> Outcome:
        """Of its rounds."""
        return outcome_of(self.rounds)

    @property
    def calls(self) -> int:
        """How many calls were judged in its rounds."""
        return sum(map(calls_of, self.rounds))

    @property
    def errors(self) -> Counter[str]:
        """What calls raised in its rounds, by the name of the error."""
        return sum(map(errors_of, self.rounds), Counter())

    @property
    def latency(self) -> Histogram:
        """How long all calls of its rounds took."""
        return merged(each for this in self.rounds for each in _latencies(this).values())

    @property
    def together_with(self) -> Sequence[str]:
        """The other faults that struck in its rounds, the most frequent first."""
        others = Counter(name for each in self.rounds for name in each.faults if name != self.name)
        return [name for name, _ in others.most_common()]


@dataclass(frozen=True)
class Totals:
    """A campaign in a few numbers. Only what was judged counts."""

    rounds: int
    unjudged: int
    checks: int
    calls: int
    unknown: int
    errors: int
    strikes: int
    faults: int
    processes: int
    seconds: float


def outcome_of(rounds: Sequence[Round]) -> Outcome:
    """Return what became of some rounds. One that could not be run or judged has failed."""
    judged = sum(each.is_judged for each in rounds)
    return Outcome(len(rounds), judged, sum(bool(each.problems) for each in rounds))


def is_calm(this: Round) -> bool:
    """Return whether nothing struck in a round."""
    return this.faults == ["calm"]


def calls_of(this: Round) -> int:
    """Return how many calls were judged in a round."""
    return sum(this.verdict["numbers"]["calls"].values()) if this.verdict else 0


def errors_of(this: Round) -> Counter[str]:
    """Return what calls raised in a round, by the name of the error."""
    return Counter(this.verdict["numbers"]["errors"] if this.verdict else {})


def strikes_of(this: Round, fault: str | None = None) -> int:
    """Return how often faults struck in a round, or one of them did."""
    strikes = this.verdict["numbers"]["strikes"] if this.verdict else ()
    return sum(count for name, _, count in strikes if fault in (None, name))


def totals(campaign: Campaign) -> Totals:
    """Return the sums over all rounds."""
    judged = [each for each in campaign.rounds if each.verdict]
    numbers = [each.verdict["numbers"] for each in judged if each.verdict]
    return Totals(
        rounds=len(judged),
        unjudged=len(campaign.rounds) - len(judged),
        checks=sum(len(_asked(each)) for each in judged),
        calls=sum(map(calls_of, judged)),
        unknown=sum(each["unknown"] for each in numbers),
        errors=sum(errors_of(each).total() for each in judged),
        strikes=sum(map(strikes_of, judged)),
        faults=sum(row.strikes > 0 for row in by_fault(campaign)),
        processes=sum(each["processes"] for each in numbers),
        seconds=max(
            (
                each.began_seconds + found["seconds"]
                for each, found in zip(judged, numbers, strict=True)
            ),
            default=0.0,
        ),
    )


def broken_checks(campaign: Campaign) -> list[Broken]:
    """Return what failed, round by round."""
    found: list[Broken] = []
    for this in campaign.rounds:
        problems: dict[str, list[str]] = defaultdict(list)
        for check, problem in this.problems:
            problems[check].append(problem)
        found += [Broken(check, this, texts) for check, texts in problems.items()]
    return found


def by_check(campaign: Campaign) -> list[CheckRow]:
    """Return a row for each check of rounds, in the order in which they are explained.

    A round without a verdict is one that no check has judged.
    """
    texts: dict[str, list[str]] = {name: [] for name in checks.MEANINGS if name != checks.POWER}
    for this in campaign.rounds:
        for check in _asked(this):
            texts.setdefault(check["name"], []).append(check["looked_at"])
    failed = Counter(broken.check for broken in broken_checks(campaign))
    unjudged = sum(not each.verdict for each in campaign.rounds)
    rows = [
        CheckRow(name, _together(each), Outcome(len(each) + unjudged, len(each), failed[name]))
        for name, each in texts.items()
    ]
    if failed[checks.JUDGED]:
        judged = sum(each.is_judged for each in campaign.rounds)
        outcome = Outcome(len(campaign.rounds), judged, failed[checks.JUDGED])
        rows.append(CheckRow(checks.JUDGED, "", outcome))
    return rows


def _asked(this: Round) -> list[dict[str, Any]]:
    """Return what checks wrote of a round, those that say nothing of it left out."""
    return [each for each in this.verdict["checks"] if each["is_asked"]] if this.verdict else []


def _together(texts: Iterable[str]) -> str:
    """Add up what was looked at, or name the worst; nothing if these are other words."""
    said = [text for text in texts if text]
    if counts := list(filter(None, map(_COUNT.fullmatch, said))):
        total = sum(int(each[1].replace(",", "")) for each in counts)
        return counted(total, counts[0][2].removesuffix("s"))
    if extremes := list(filter(None, map(_EXTREME.fullmatch, said))):
        worst = (max if extremes[0][1] == "longest" else min)(float(each[2]) for each in extremes)
        return f"{extremes[0][1]} {worst:.2f} {extremes[0][3]}"
    if sizes := list(filter(None, map(_SIZES.fullmatch, said))):
        log, database = (max(float(each[place]) for each in sizes) for place in (1, 2))
        return f"log up to {log:.1f} MB, database up to {database:.0f} kB"
    return ""


def by_fault(campaign: Campaign) -> list[FaultRow]:
    """Return a row for each fault that struck, in the order in which a soak goes through them."""
    rounds: dict[str, list[Round]] = {name: [] for name in FAULTS}
    for this in campaign.rounds:
        for name in this.faults:
            rounds.setdefault(name, []).append(this)
    return [
        FaultRow(name, each, sum(strikes_of(this, name) for this in each))
        for name, each in rounds.items()
        if each
    ]


def latencies(rounds: Iterable[Round], kind: str) -> Histogram:
    """Return how long one operation took in these rounds."""
    return merged(_latencies(this).get(kind, {}) for this in rounds)


def latency_of(this: Round) -> Histogram:
    """Return how long all calls of a round took."""
    return merged(_latencies(this).values())


def _latencies(this: Round) -> dict[str, Histogram]:
    found: dict[str, Histogram] = this.verdict["numbers"]["latencies"] if this.verdict else {}
    return found
