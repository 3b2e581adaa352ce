"""Runs that never took place, for the report to tell of."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults import FAULTS
from powercuts.real import JOURNALS, RealCut, RealCuts
from powercuts.survey import Survey, SurveyedWorkload
from reporting.run import Run
from reporting.tally import KINDS
from soaking import checks
from soaking.campaign import Campaign, Round

SURVEY = Survey(
    1,
    [
        SurveyedWorkload("first use", "FULL", 120, 14, 121, 640),
        SurveyedWorkload("every call", "NORMAL", 130, 13, 60, 320),
    ],
)
CUTS = RealCuts(
    1,
    4,
    [
        RealCut(level, journal, 1_200, 1_190, [], 1.0)
        for level in ("FULL", "NORMAL")
        for journal in JOURNALS
        for _ in range(2)
    ],
)

SHARES = {KINDS[0]: 0.7, KINDS[1]: 0.2, KINDS[2]: 0.05, KINDS[3]: 0.049, KINDS[4]: 0.001}


def numbers(
    faults: Sequence[str], rng: random.Random, seconds: float, kinds: Sequence[str] = KINDS
) -> dict[str, Any]:
    """Return a round's numbers, as JSON gives them back."""
    rates = [rng.randrange(300, 2_000) for _ in range(int(seconds * 10))]
    total = sum(rates)
    calls: dict[str, int] = {kind: int(total * SHARES[kind]) or 1 for kind in kinds}
    strikes: list[list[Any]] = [
        [name, "it struck", rng.randrange(1, 40)] for name in faults if name != "calm"
    ]
    return {
        "seconds": seconds,
        "calls": calls,
        "unknown": 0,
        "errors": {"LockTimeout": rng.randrange(1, 900)} if "stop" in faults else {},
        "timeline": rates,
        "writes": [rate // 3 for rate in rates],
        "bin_seconds": 0.1,
        "latencies": {
            kind: {
                f"{bucket}": max(1, int(count * 0.1 * math.pow(0.85, abs(bucket - 60))))
                for bucket in range(10, 110)
            }
            for kind, count in calls.items()
        },
        "shares": {f"{worker}": rng.uniform(0.8, 1.2) for worker in range(1, 9)},
        "processes": 8 + rng.randrange(5),
        "strikes": strikes,
        "strike_seconds": sorted(
            rng.uniform(0, seconds) for _, _, count in strikes for _ in range(min(count, 400))
        ),
        "largest": {"": 16_384, "-wal": 4_124_152},
    }


def verdict(
    faults: Sequence[str],
    rng: random.Random,
    seconds: float = 1.0,
    problems: dict[str, list[str]] | None = None,
    kinds: Sequence[str] = KINDS,
) -> dict[str, Any]:
    """Return what the judge writes of a round in which these checks found these problems."""
    looked_at = {
        checks.LINEARIZABLE: "5,736 calls",
        checks.DURATION: "longest 0.18 s",
        checks.SHARES: "slowest 0.77 of the mean"
        if faults == ["calm"]
        else "some fault of this round is uneven",
        checks.SIZES: "log 4.1 MB, database 16 kB",
    }
    not_asked = {
        checks.SHARES: faults != ["calm"],
        checks.HELD: not {"stop", "held-lock", "open-transaction"}.intersection(faults),
    }
    return {
        "checks": [
            {
                "name": name,
                "problems": (problems or {}).get(name, []),
                "looked_at": looked_at.get(name, ""),
                "is_asked": not not_asked.get(name, False),
            }
            for name in checks.MEANINGS
            if name != checks.POWER
        ],
        "faults": list(faults),
        "numbers": numbers(faults, rng, seconds, kinds),
    }


def campaign(directory: Path, rounds: int, *, seconds: float = 1.0, seed: int = 1) -> Campaign:
    """Return a campaign whose rounds were all found good: each fault first, then combinations."""
    rng = random.Random(seed)
    result = Campaign(directory, rounds * (seconds + 0.1), seed, list(FAULTS))
    names = list(FAULTS)
    for number in range(1, rounds + 1):
        alone = number <= len(names)
        faults = [names[number - 1]] if alone else rng.sample(names[1:], rng.randrange(1, 4))
        began = (number - 1) * (seconds + 0.1)
        this = Round(number, faults, directory / f"round-{number}", began)
        this.verdict = verdict(faults, rng, seconds)
        result.rounds.append(this)
    return result


def run_of(this: Campaign, **others: Any) -> Run:
    """Return a run that was nothing but this campaign."""
    given: dict[str, Any] = {
        "survey": None,
        "cuts": None,
        "command": "python stress/soak.py --seed 1",
        "sabotage": None,
        "is_interrupted": False,
    }
    return Run(this, **(given | others))


def complete_run(directory: Path, rounds: int = len(FAULTS), **others: Any) -> Run:
    """Return a run in which everything was judged, and found good."""
    return run_of(campaign(directory, rounds), **({"survey": SURVEY, "cuts": CUTS} | others))


def broken(directory: Path, *problems: str, check: str = checks.LINEARIZABLE) -> Campaign:
    """Return a campaign in whose second round of three a check has found these problems."""
    result = campaign(directory, 3)
    result.rounds[1].verdict = verdict(["kill"], random.Random(1), problems={check: list(problems)})
    return result
