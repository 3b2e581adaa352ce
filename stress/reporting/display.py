"""The terminal: what goes on now, and a summary in plain text when it is over."""

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from reporting.page import Run
from soaking import checks
from soaking.campaign import Campaign, Round
from soaking.setting import Board
from soaking.statistics import merged, percentile_us

__all__ = ["Display", "calls_of", "duration", "print_summary", "strikes_of"]

_REDRAW_SECONDS: Final = 0.1

_MOST_LINES: Final = 12

_UNITS: Final = ((1e6, "s"), (1e3, "ms"), (1.0, "µs"))


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

    def show(self, campaign: Campaign, this: Round, board: Board) -> None:
        """Redraw, if the last time is a while ago."""
        now = time.monotonic()
        if now - self._redrawn < _REDRAW_SECONDS:
            return
        self._redrawn = now
        calls = board.total() + sum(map(calls_of, campaign.rounds))
        strikes = sum(map(strikes_of, campaign.rounds))
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


def print_summary(console: Console, run: Run, report: Path) -> None:
    """Print what was run and what was found."""
    campaign = run.campaign
    table = Table(title="Rounds", title_justify="left")
    for heading in ("faults", "times"):
        table.add_column(heading, no_wrap=True)
    for heading in ("operations", "errors", "p50", "p99", "longest"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for each in campaign.rounds:
        table.add_row(" + ".join(each.faults), *_row(each))
    for name, reason in campaign.skipped.items():
        table.add_row(name, "", "", "", "", "", "", f"[yellow]skipped: {escape(reason)}[/yellow]")
    console.print(table)
    for each in campaign.rounds:
        for check, problem in each.problems:
            lines = problem.splitlines()
            console.print(f"[red]Round {each.number}: not so: {check}[/red]", soft_wrap=True)
            console.print(escape("\n".join(lines[:_MOST_LINES])), soft_wrap=True)
    is_bad = run.is_bad
    for part in (run.survey, run.cuts):
        for loss in part.losses if part else ():
            console.print(f"[red]Power cuts: not so: {checks.POWER}[/red]", soft_wrap=True)
            console.print(escape("\n".join(loss.splitlines()[:_MOST_LINES])), soft_wrap=True)
    if run.is_interrupted:
        console.print("Interrupted: what was not run is not judged.")
    if is_bad:
        console.print("[bold red]PROMISES WERE BROKEN[/bold red]")
    else:
        console.print("[bold green]Every promise was kept[/bold green]")
    console.print(f"report: {report}", soft_wrap=True)


def duration(us: float | None) -> str:
    """Return a time (µs) as one reads it."""
    if us is None:
        return ""
    factor, unit = next((each for each in _UNITS if us >= each[0]), _UNITS[-1])
    return f"{us / factor:.3g} {unit}"


def strikes_of(this: Round) -> int:
    """Return how often faults struck in a round."""
    strikes = this.verdict["numbers"]["strikes"] if this.verdict else ()
    return sum(count for _, _, count in strikes)


def calls_of(this: Round) -> int:
    """Return how many calls were judged in a round."""
    return sum(this.verdict["numbers"]["calls"].values()) if this.verdict else 0


def _row(this: Round) -> Sequence[str]:
    if this.verdict is None:
        return "", "", "", "", "", "", "[red]none[/red]"
    numbers = this.verdict["numbers"]
    all_calls = merged(numbers["latencies"].values())
    errors = sum(numbers["errors"].values())
    bad = len(this.problems)
    return (
        f"{strikes_of(this):,}" if strikes_of(this) else "",
        f"{calls_of(this):,}",
        f"{errors:,}" if errors else "",
        *(duration(percentile_us(all_calls, share)) for share in (0.5, 0.99, 1.0)),
        f"[red]{bad} violations[/red]" if bad else "[green]ok[/green]",
    )
