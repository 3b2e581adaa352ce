"""The terminal: what goes on now, and a summary in plain text when it is over."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from faults import FAULTS
from soaking import checks
from soaking.campaign import Campaign, Round
from soaking.statistics import percentile_us

from .run import Run
from .tally import broken_checks, by_fault, calls_of, errors_of, latency_of, strikes_of
from .verdict import summary_of, verdict_on
from .wording import counted, duration

__all__ = ["Display", "print_summary"]

_REDRAW_SECONDS: Final = 0.1

_MOST_LINES: Final = 12

# With more rounds there is a line for each fault instead.
_MOST_ROUNDS: Final = 40

_LONGEST_NAME: Final = max(map(len, FAULTS))

_SKIPPED: Final = "[yellow]skipped[/yellow]"

_STYLES: Final = {"good": "green", "bad": "red", "unproved": "yellow"}


class Display:
    """A line that says which round it is, which faults strike, and that nothing is wrong yet.

    Redrawn by hand: a thread that draws would hold the console's lock across a fork.

    Args:
        console: where to.
        seconds: how long it will take.
    """

    def __init__(self, console: Console, seconds: float) -> None:
        self._start = time.monotonic()
        self._redrawn = 0.0
        self._progress = Progress(
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
            TextColumn("{task.description}"),
            console=console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("", total=seconds)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, campaign: Campaign, this: Round) -> None:
        """Redraw, if the last time is a while ago."""
        now = time.monotonic()
        if now - self._redrawn < _REDRAW_SECONDS:
            return
        self._redrawn = now
        calls = sum(each.calls for each in campaign.rounds)
        strikes = sum(each.strikes for each in campaign.rounds)
        violations = sum(len(each.problems) for each in campaign.rounds)
        color = "red" if violations else "green"
        self._progress.update(
            self._task,
            completed=now - self._start,
            description=(
                f"round {this.number}: {' + '.join(this.faults)}; "
                f"{calls:,} operations, {strikes:,} faults, "
                f"[{color}]violations: {violations}[/{color}]"
            ),
        )
        self._progress.refresh()

    def show_cut(self, name: str, done: float) -> None:
        """Redraw while the power is cut on one workload after the other."""
        now = time.monotonic()
        if now - self._redrawn >= _REDRAW_SECONDS:
            self._redrawn = now
            text = f"power cuts: {name}, {done:.0%}"
            self._progress.update(self._task, completed=now - self._start, description=text)
            self._progress.refresh()


def print_summary(console: Console, run: Run, report: Path | None) -> None:
    """Print what was run and what was found."""
    console.print(_rounds(run.campaign))
    if run.survey or run.cuts:
        console.print()
        console.print(_power_cuts(run))
    console.print()
    for name, reason in _skipped(run).items():
        console.print(f"Skipped: {name}: {reason}", soft_wrap=True, markup=False)
    for each in broken_checks(run.campaign):
        where = f"Round {each.this.number} ({' + '.join(each.this.faults)})"
        _print_broken(console, f"{where}: not so: {each.check}", "\n".join(each.problems))
    for loss in run.losses:
        _print_broken(console, f"Power cuts: not so: {checks.POWER}", loss)
    for sentence in summary_of(run):
        console.print(sentence, soft_wrap=True)
    if run.sabotage:
        console.print(
            f"[yellow]Switched off on purpose: {escape(run.sabotage)}[/yellow]", soft_wrap=True
        )
    verdict = verdict_on(run)
    style = _STYLES[verdict.kind]
    headline = verdict.headline if verdict.kind == "good" else verdict.headline.upper()
    console.print(f"[bold {style}]{headline}[/bold {style}]", soft_wrap=True)
    for remark in verdict.remarks:
        console.print(remark, soft_wrap=True)
    if report is not None:
        console.print(f"report: {report}", soft_wrap=True, markup=False)


def _print_broken(console: Console, headline: str, text: str) -> None:
    lines = text.splitlines()
    more = len(lines) - _MOST_LINES
    lines = lines[:_MOST_LINES] + [f"... {counted(more, 'line')} more in the report"] * (more > 0)
    console.print(f"[red]{escape(headline)}[/red]", soft_wrap=True)
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    """Return an empty table that a terminal of 80 columns has room for."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.show_edge = False
    for heading in words:
        table.add_column(heading, min_width=_LONGEST_NAME if len(words) == 1 else None)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    return table


def _rounds(campaign: Campaign) -> Table:
    numbers = ("struck", "calls", "errors", "p99", "longest")
    if len(campaign.rounds) <= _MOST_ROUNDS:
        table = _table("Rounds", ("faults",), numbers)
        for each in campaign.rounds:
            failed = len({check for check, _ in each.problems})
            table.add_row(
                " + ".join(each.faults),
                *_cells(
                    strikes_of(each), calls_of(each), errors_of(each).total(), latency_of(each)
                ),
                _verdict(failed, is_judged=each.verdict is not None),
            )
    else:
        table = _table("Faults", ("fault",), ("rounds", *numbers))
        for row in by_fault(campaign):
            table.add_row(
                row.name,
                f"{len(row.rounds):,}",
                *_cells(row.strikes, row.calls, row.errors.total(), row.latency),
                _verdict(len(row.failed), is_judged=row.judged > 0),
            )
    for name in campaign.skipped:
        table.add_row(name, *[""] * (len(table.columns) - 2), _SKIPPED)
    return table


def _power_cuts(run: Run) -> Table:
    table = _table("Power cuts", ("of", "synchronous"), ("acknowledged", "cuts"))
    for each in run.survey.workloads if run.survey else ():
        table.add_row(
            each.name,
            each.synchronous,
            f"{each.acknowledgements:,}",
            f"{each.cut_points:,}",
            _SKIPPED if each.skipped else _verdict(len(each.losses), is_judged=each.cut_points > 0),
        )
    cuts = run.cuts.cuts if run.cuts else ()
    for level, count in Counter(each.synchronous for each in cuts).items():
        alike = [each for each in cuts if each.synchronous == level]
        table.add_row(
            "a real file system",
            level,
            f"{sum(each.acknowledgements for each in alike):,}",
            f"{count:,}",
            _verdict(sum(bool(each.losses) for each in alike), is_judged=True),
        )
    if run.cuts and run.cuts.skipped:
        table.add_row("a real file system", "", "", "", _SKIPPED)
    return table


def _cells(strikes: int, calls: int, errors: int, latency: Mapping[int, int]) -> list[str]:
    return [
        *(f"{number:,}" if number else "" for number in (strikes, calls, errors)),
        *(duration(percentile_us(latency, share)) for share in (0.99, 1.0)),
    ]


def _verdict(failed: int, *, is_judged: bool) -> str:
    if failed:
        return f"[red]{failed:,} failed[/red]"
    return "[green]ok[/green]" if is_judged else "[yellow]not judged[/yellow]"


def _skipped(run: Run) -> Mapping[str, str]:
    """Return what could not be had here, and why."""
    found = dict(run.campaign.skipped)
    for each in run.survey.workloads if run.survey else ():
        if each.skipped:
            found[f"power cuts of {each.name}"] = each.skipped
    if run.cuts and run.cuts.skipped:
        found["power cuts of a real file system"] = run.cuts.skipped
    return found
