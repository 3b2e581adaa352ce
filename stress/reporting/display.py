"""The terminal: what goes on now, and a summary in plain text when it is over."""

import time
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
from workers.log import events_in

from .outcome import Outcome
from .run import Run
from .tally import (
    broken_checks,
    by_fault,
    calls_of,
    errors_of,
    latency_of,
    outcome_of,
    strikes_of,
)
from .verdict import summary_of, verdict_on
from .wording import counted, duration

__all__ = ["Display", "print_summary"]

_REDRAW_SECONDS: Final = 0.1

_MOST_LINES: Final = 12

# With more rounds there is a line for each fault instead.
_MOST_ROUNDS: Final = 40

_LONGEST_NAME: Final = max(map(len, FAULTS))

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
        calls, strikes = map(sum, zip(*map(_so_far, campaign.rounds), strict=True))
        failed = len(broken_checks(campaign))
        color = "red" if failed else "green"
        self._progress.update(
            self._task,
            completed=now - self._start,
            description=(
                f"round {this.number}: {' + '.join(this.faults)}; "
                f"{counted(calls, 'call')}, {counted(strikes, 'strike')}, "
                f"[{color}]checks failed: {failed}[/{color}]"
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
    if run.cut_rows:
        console.print()
        console.print(_power_cuts(run))
    console.print()
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
    for remark in [*verdict.remarks, *(f"Not judged: {each}." for each in verdict.not_judged)]:
        console.print(remark, soft_wrap=True, markup=False)
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
    table.add_column("verdict")
    return table


def _rounds(campaign: Campaign) -> Table:
    numbers = ("struck", "calls", "errors", "p99", "longest")
    if len(campaign.rounds) <= _MOST_ROUNDS:
        table = _table("Rounds", ("faults",), numbers)
        for each in campaign.rounds:
            cells = _cells(
                strikes_of(each), calls_of(each), errors_of(each).total(), latency_of(each)
            )
            table.add_row(" + ".join(each.faults), *cells, _verdict(outcome_of([each])))
    else:
        table = _table("Faults", ("fault",), ("rounds", *numbers))
        table.columns[0].no_wrap = True  # so that the verdict is wrapped, not cut off
        for row in by_fault(campaign):
            cells = _cells(row.strikes, row.calls, row.errors.total(), row.latency)
            table.add_row(row.name, f"{row.outcome.of:,}", *cells, _verdict(row.outcome))
    for name in campaign.skipped:
        table.add_row(name, *[""] * (len(table.columns) - 2), _verdict(outcome_of([])))
    return table


def _power_cuts(run: Run) -> Table:
    table = _table("Power cuts", ("of", "synchronous"), ("acknowledged", "cuts"))
    for row in run.cut_rows:
        numbers = (f"{row.acknowledgements:,}", f"{row.cuts:,}") if row.cuts else ("", "")
        table.add_row(row.name, row.synchronous, *numbers, _verdict(row.outcome))
    return table


def _so_far(this: Round) -> tuple[int, int]:
    """Return how many calls a round has seen so far, about, and how often faults struck."""
    if this.verdict:
        return calls_of(this), strikes_of(this)
    return this.calls_so_far, len(events_in(this.directory))


def _cells(strikes: int, calls: int, errors: int, latency: Mapping[int, int]) -> list[str]:
    return [
        *(f"{number:,}" if number else "" for number in (strikes, calls, errors)),
        *(duration(percentile_us(latency, share)) for share in (0.99, 1.0)),
    ]


def _verdict(outcome: Outcome) -> str:
    style = _STYLES[outcome.kind]
    return f"[{style}]{outcome.words}[/{style}]"
