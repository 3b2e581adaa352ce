"""The page that people read."""

import statistics
from collections.abc import Sequence
from typing import Final

from .._environment import machine_line
from .._rows import duration, plain, spread
from ._commands import ROWS_PER_SECOND
from ._found import PEAK_BYTES, Figure, Found
from ._workers import BLOCKED_MS

__all__ = ["page", "verdict", "versions"]

_MIB: Final = 1024 * 1024
_COLUMNS: Final = (
    "command",
    "time (min..max)",
    "limit",
    "processor",
    "rows/s",
    "compared with",
    "ratio (min..max)",
    "peak memory",
)


def page(found: Found) -> str:
    """Return all of it as Markdown."""
    return "\n".join(
        [
            f"# The operator's command, on {found.rows:,} rows",
            "",
            "Written by `make bench-operator` from [operator.json](operator.json), which has every",
            "round. What the rows mean is [one directory up](../README.md).",
            "",
            f"On {machine_line(found.environment)}; {versions(found)}; {found.rounds} rounds.",
            "",
            verdict(found),
            "",
            "## Time and memory",
            "",
            _line(_COLUMNS),
            _line(["---"] * len(_COLUMNS)),
            *(_line(_cost(figure)) for figure in found.figures if figure.seconds),
            "",
            "## A worker's `set` meanwhile",
            "",
            f"Limit: {BLOCKED_MS:.0f} ms. The last column counts the sets beyond it, of how many.",
            "The median and p99 are medians of the rounds, the worst is that of all. The first two",
            "lines show what the machine and the workers themselves have in it.",
            "",
            "| beside | median | p99 | worst | beyond |",
            "|---|---|---|---|---|",
            *(_line(_waiting(figure)) for figure in found.figures if figure.sets),
            "",
            "![How long a worker's set takes beside each command](operator.png)",
            "",
        ]
    )


def verdict(found: Found) -> str:
    """Say which limits were missed, in a sentence."""
    if not found.missed:
        return "All limits are kept."
    says = f"Limits missed: {'; '.join(found.missed)}."
    if any(figure.blocked for figure in found.figures if figure.is_control):
        says += " But workers waited as long beside no command at all: the machine was busy."
    return says


def versions(found: Found) -> str:
    """Say in a line what was measured with."""
    where = found.environment
    return ", ".join(f"{name} {where[name]}" for name in ("Python", "SQLite", "filelock"))


def _cost(figure: Figure) -> list[str]:
    median = statistics.median(figure.seconds)
    ratio = ""
    if figure.ratios:
        least, most = min(figure.ratios), max(figure.ratios)
        ratio = f"{statistics.median(figure.ratios):.2f} x ({least:.2f}..{most:.2f})"
    bare = ""
    if figure.bare_seconds:
        bare = f"{figure.yardstick}: {duration(statistics.median(figure.bare_seconds))}"
    return [
        figure.name,
        f"{_marked(duration(median), figure.is_slow)} ({spread(figure.seconds)})",
        _limit(figure),
        duration(statistics.median(figure.processor_seconds)),
        f"{figure.rows / median:,.0f}" if figure.rows else "",
        bare,
        ratio,
        _marked(f"{plain(figure.peak / _MIB)} MiB", figure.is_large) if figure.peak else "",
    ]


def _limit(figure: Figure) -> str:
    limits = []
    if figure.limit_seconds is not None:
        is_rate = figure.rows and figure.rows / figure.limit_seconds == ROWS_PER_SECOND
        says = f"{ROWS_PER_SECOND:,} rows/s" if is_rate else duration(figure.limit_seconds)
        limits.append(says + (" **missed**" if figure.is_slow else ""))
    if figure.is_large:
        limits.append(f"{PEAK_BYTES / _MIB:.0f} MiB **missed**")
    return ", ".join(limits) or "-"


def _waiting(figure: Figure) -> list[str]:
    sets = figure.sets
    beyond = f"{figure.blocked} of {sum(each.count for each in sets):,}"
    if figure.has_blocked:
        beyond = f"**{beyond}: missed**"
    return [
        figure.name,
        duration(statistics.median(each.median_ms for each in sets) / 1e3),
        duration(statistics.median(each.p99_ms for each in sets) / 1e3),
        _marked(duration(figure.worst_ms / 1e3), figure.has_blocked),
        beyond,
    ]


def _marked(text: str, is_missed: bool) -> str:
    return f"**{text}**" if is_missed else text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
