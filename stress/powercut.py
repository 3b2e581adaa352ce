"""Power cuts at every system call of a workload, on a model of a disk; and, as root, real ones.

    python stress/powercut.py --seconds 20

Exits with 0 only if every directory that a cut could have left opens, is sound, and holds what was
acknowledged ("FULL") or what was there at some moment ("NORMAL").
"""

import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from powercuts.real import RealCuts, cut_for_real
from powercuts.survey import SABOTAGES, Survey, Tick, survey
from powercuts.workloads import WORKLOADS

# A table that is piped into a file or a CI log is not to be wrapped.
_PIPED_WIDTH: Final = 160

# Of the time there is, unless there are no real cuts.
_MODEL_SHARE: Final = 0.75


@click.command()
@click.option("--seed", type=int, help="Of all choices; by default another each time.")
@click.option("--seconds", default=60.0, show_default=True, help="How long all of it may take.")
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    type=click.Choice(list(WORKLOADS)),
    help="What is recorded; by default all. May be repeated.",
)
@click.option(
    "--synchronous",
    "levels",
    multiple=True,
    type=click.Choice(["FULL", "NORMAL"]),
    help="What its stores are opened with; by default both.",
)
@click.option(
    "--real/--no-real",
    default=True,
    show_default=True,
    help="Also cut off a real file system, where this is root on Linux.",
)
@click.option(
    "--sabotage",
    type=click.Choice(SABOTAGES),
    help="Turn the durability down behind the store's back: the run must fail.",
)
@click.option("--keep", type=click.Path(), help="A new directory, for the first that fails.")
@click.option("--json", "report", type=click.Path(), help="A file for all that was found.")
def main(
    seed: int | None,
    seconds: float,
    workloads: tuple[str, ...],
    levels: tuple[Literal["FULL", "NORMAL"], ...],
    sabotage: str | None,
    keep: str | None,
    report: str | None,
    *,
    real: bool,
) -> None:
    """Cut the power wherever it hurts, and judge what is left."""
    if keep and os.path.exists(keep):
        raise click.BadParameter(f"{keep} exists: give a new directory")
    seed = random.randrange(10**6) if seed is None else seed
    levels = levels or ("FULL", "NORMAL")
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    console.print(f"seed {seed}")
    cuts: RealCuts | None = None
    with _progress(console) as tick:
        found = survey(
            seed,
            seconds * _MODEL_SHARE if real else seconds,
            workloads=workloads or tuple(WORKLOADS),
            levels=levels,
            sabotage=sabotage,
            keep=keep,
            tick=tick,
        )
        if real:
            share = seconds * (1 - _MODEL_SHARE)
            cuts = cut_for_real(
                seed, share, rounds=100, levels=levels, sabotage=sabotage, tick=tick
            )
    console.print(_model_table(found))
    if cuts is not None:
        console.print(_real_table(cuts))
    if report:
        with open(report, "w", encoding="utf-8") as file:
            json.dump({"model": asdict(found), "real": cuts and asdict(cuts)}, file, indent=1)
    _end(console, found, cuts, keep)


def _end(console: Console, found: Survey, cuts: RealCuts | None, keep: str | None) -> None:
    losses = [*found.losses, *(cuts.losses if cuts else ())]
    if losses:
        console.print(*map(escape, losses), sep="\n")
        console.print("[bold red]FAILED[/bold red]")
        if keep and os.path.exists(keep):
            console.print(f"the first directory that fails: {keep}")
        sys.exit(1)
    if all(each.skipped for each in found.workloads) and not (cuts and cuts.cuts):
        console.print("[bold red]FAILED[/bold red]: nothing could be cut here")
        sys.exit(1)
    console.print("[bold green]No power cut lost anything[/bold green]")


@contextmanager
def _progress(console: Console) -> Iterator[Tick]:
    # Redrawn by hand, as elsewhere: no thread that draws lives across a fork.
    with Progress(
        TextColumn("{task.description:<32}"), BarColumn(), console=console, auto_refresh=False
    ) as progress:
        task = progress.add_task("", total=1.0)
        shown = ("", 0.0)

        def tick(name: str, done: float) -> None:
            nonlocal shown
            if name != shown[0] or done - shown[1] >= 0.01:
                shown = (name, done)
                progress.update(task, description=name, completed=done)
                progress.refresh()

        yield tick


def _model_table(found: Survey) -> Table:
    table = Table(title="Cut on the model of a disk")
    table.add_column("workload", no_wrap=True)
    table.add_column("", no_wrap=True)
    for column in ("recorded", "acknowledged", "cut points", "directories", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for each in found.workloads:
        numbers = (each.calls, each.acknowledgements, each.cut_points, each.directories)
        table.add_row(
            each.name,
            each.synchronous,
            *(f"{number:,}" for number in numbers),
            f"{each.seconds:.1f}",
            _verdict(len(each.losses), each.skipped),
        )
    return table


def _real_table(cuts: RealCuts) -> Table:
    table = Table(title=f"A real ext4, cut off under {cuts.processes} processes")
    table.add_column("journal", no_wrap=True)
    table.add_column("", no_wrap=True)
    for column in ("cuts", "called", "acknowledged", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    kinds = dict.fromkeys((cut.journal, cut.synchronous) for cut in cuts.cuts)
    for kind in kinds:
        those = [cut for cut in cuts.cuts if (cut.journal, cut.synchronous) == kind]
        table.add_row(
            *kind,
            f"{len(those):,}",
            f"{sum(cut.calls for cut in those):,}",
            f"{sum(cut.acknowledgements for cut in those):,}",
            f"{sum(cut.seconds for cut in those):.1f}",
            _verdict(sum(len(cut.losses) for cut in those), None),
        )
    if cuts.skipped:
        table.add_row("", "", "", "", "", "", _verdict(0, cuts.skipped))
    return table


def _verdict(losses: int, skipped: str | None) -> str:
    if skipped:
        return f"[yellow]skipped: {escape(skipped)}[/yellow]"
    return f"[red]{losses} losses[/red]" if losses else "[green]ok[/green]"


if __name__ == "__main__":
    main()
