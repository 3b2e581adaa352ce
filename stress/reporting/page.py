"""The report: one self-contained page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from faults import FAULTS, NEVER
from soaking import checks
from soaking.statistics import percentile_us
from workers.setting import FIRST_MISHAP, FIRST_TOOL, GRANDCHILDREN

from .distributions import distributions
from .fairness import fairness
from .machine import machine
from .power import model_rows, real_rows
from .run import Run
from .tally import (
    KINDS,
    broken_checks,
    by_check,
    by_fault,
    calls_of,
    errors_of,
    is_calm,
    latencies,
    latency_of,
    outcome_of,
    strikes_of,
)
from .timeline import timeline
from .verdict import summary_of, verdict_on
from .wording import GLOSSARY, STORE, counted, duration

__all__ = ["Run", "write_report"]

_TEMPLATE: Final = "report.html.j2"

_SHARES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0))

_MARKS: Final = {"good": "✓", "bad": "✕", "unproved": "?"}

# With more, the table of all rounds is folded up: the one by fault says the same.
_OPEN_ROUNDS: Final = 40


def write_report(path: Path, run: Run) -> None:
    """Write the page. What it shows, it contains: nothing is fetched from anywhere."""
    template = _environment().get_template(_TEMPLATE)
    path.write_text(template.render(_contents(run)), encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "commas": "{:,}".format,
        "counted": counted,
        "duration": duration,
        "sentence": lambda text: text[:1].upper() + text[1:],
    }
    environment.filters.update(filters)
    return environment


def _contents(run: Run) -> dict[str, Any]:
    """Return all that the template asks for."""
    campaign = run.campaign
    return {
        "run": run,
        "campaign": campaign,
        "verdict": verdict_on(run),
        "marks": _MARKS,
        "summary": summary_of(run),
        "broken": broken_checks(campaign),
        "checks": by_check(campaign),
        "meanings": checks.MEANINGS,
        "power": checks.POWER,
        "numbers": {"children": GRANDCHILDREN, "tools": FIRST_TOOL, "mishaps": FIRST_MISHAP},
        "machine": machine(campaign.directory),
        "charts": {
            "timeline": _inline(timeline(campaign.rounds)),
            "latencies": _inline(distributions(campaign.rounds)),
            "fairness": _inline(fairness(campaign.rounds)),
        },
        "latencies": list(_latency_rows(run)),
        "shares": [name for name, _ in _SHARES],
        "faults": by_fault(campaign),
        "about": FAULTS,
        "never": NEVER,
        "is_rounds_open": len(campaign.rounds) <= _OPEN_ROUNDS,
        "calls_of": calls_of,
        "errors_of": errors_of,
        "strikes_of": strikes_of,
        "outcome_of": outcome_of,
        "p99_of": lambda each: percentile_us(latency_of(each), 0.99),
        "model_rows": list(model_rows(run.survey)),
        "real_rows": list(real_rows(run.cuts)),
        "store": STORE,
        "glossary": GLOSSARY,
    }


def _inline(svg: str | None) -> Markup | None:
    # What the drawing contains beside numbers are names of ours, which it escapes itself.
    return None if svg is None else Markup(svg)


@dataclass(frozen=True)
class _LatencyRow:
    """One operation, with faults or without: how many calls, and how long they took (µs)."""

    kind: str
    is_calm: bool
    calls: int
    times: list[float | None]


def _latency_rows(run: Run) -> Iterator[_LatencyRow]:
    calm = [each for each in run.campaign.rounds if is_calm(each)]
    struck = [each for each in run.campaign.rounds if not is_calm(each)]
    for kind in KINDS:
        for rounds in (calm, struck):
            found = latencies(rounds, kind)
            if found:
                times = [percentile_us(found, share) for _, share in _SHARES]
                yield _LatencyRow(kind, rounds is calm, sum(found.values()), times)
