"""Power cuts at every system call of a workload, on a model of a disk; and, as root, real ones.

    python stress/powercut.py --seconds 20

Exits with 0 only if every directory that a cut could have left opens, is sound, and holds what was
acknowledged ("FULL") or what was there at some moment ("NORMAL").
"""

import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from powercuts.real import RealCuts, cut_for_real
from powercuts.survey import SABOTAGES, Tick, survey
from powercuts.workloads import WORKLOADS
from reporting.power import CutsRow, model_rows, real_rows

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
    rows = [*model_rows(found), *real_rows(cuts, levels)]
    console.print(_table(rows))
    if report:
        with open(report, "w", encoding="utf-8") as file:
            json.dump({"model": asdict(found), "real": cuts and asdict(cuts)}, file, indent=1)
    _end(console, rows, [*found.losses, *(cuts.losses if cuts else ())], keep)


def _end(
    console: Console, rows: Sequence[CutsRow], losses: Sequence[str], keep: str | None
) -> None:
    if losses:
        console.print(*map(escape, losses), sep="\n")
        console.print("[bold red]FAILED[/bold red]")
        if keep and os.path.exists(keep):
            console.print(f"the first directory that fails: {keep}")
        sys.exit(1)
    if not any(row.cuts for row in rows):
        console.print("[bold red]FAILED[/bold red]: nothing could be cut here")
        sys.exit(1)
    gaps = [f"Not judged: {row.title}: {row.why_not}." for row in rows if row.why_not]
    if gaps:
        console.print(
            "[bold yellow]No power cut lost anything, but some were not made[/bold yellow]"
        )
    else:
        console.print("[bold green]No power cut lost anything[/bold green]")
    for gap in gaps:
        console.print(gap, markup=False, soft_wrap=True)


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


def _table(rows: Sequence[CutsRow]) -> Table:
    table = Table(title="Cut on the model of a disk, and for real")
    table.add_column("workload", no_wrap=True)
    table.add_column("", no_wrap=True)
    for column in ("calls or steps", "acknowledged", "cuts", "directories"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for row in rows:
        numbers = (row.calls, row.acknowledgements, row.cuts, row.directories)
        style = {"good": "green", "bad": "red", "unproved": "yellow"}[row.outcome.kind]
        verdict = f"{row.outcome.words}: {row.why_not}" if row.why_not else row.outcome.words
        table.add_row(
            row.name,
            row.synchronous,
            *(f"{number:,}" for number in numbers),
            f"[{style}]{escape(verdict)}[/{style}]",
        )
    return table


if __name__ == "__main__":
    main()
