"""The command behind ``make bench-operator``."""  # noqa: A005 - nobody imports it by this name alone

import os
import tempfile
from collections.abc import Callable
from typing import Final

import click

from .._environment import environment
from .._results import RESULTS
from ._commands import COMMANDS, CONTROLS, Command, function_alone
from ._found import Figure, Found
from ._ground import Ground
from ._page import page, verdict
from ._picture import draw
from ._process import Ran
from ._workers import Sets

__all__ = ["main"]

_QUICK_ROWS: Final = 2_000
_ALONE: Final = "summary, the function alone"

Say = Callable[[str], None]


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--rows", type=click.IntRange(min=100), default=1_000_000, show_default=True)
@click.option("--quick", is_flag=True, help="One round on few rows, to see that it runs.")
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False),
    help="Measure on the disk of this directory; by default, the one for temporary files.",
)
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False),
    help="Write JSON, page and picture here; by default benchmarks/results, or nowhere if quick.",
)
@click.option("--redraw", is_flag=True, help="Measure nothing; write page and picture anew.")
def main(
    rounds: int, rows: int, quick: bool, directory: str | None, results: str | None, redraw: bool
) -> None:
    """Measure lamson-state, and what workers feel of it."""
    target = results or (None if quick else RESULTS)
    if redraw:
        found = Found.load(os.path.join(target or RESULTS, "operator.json"))
    else:
        if quick:
            rounds, rows = 1, min(rows, _QUICK_ROWS)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as scratch:
            found = _measured(scratch, rows, rounds, lambda what: click.echo(what, err=True))
    if target:
        saved = os.path.join(target, "operator.json")
        found.save(saved)
        found = Found.load(saved)  # with as many digits as anybody else will have
        draw(found, os.path.join(target, "operator.png"))
        with open(os.path.join(target, "operator.md"), "w", encoding="utf-8") as file:
            file.write(page(found))
    click.echo(page(found) if quick else verdict(found))


def _measured(directory: str, rows: int, rounds: int, say: Say) -> Found:
    where = environment(directory)
    say(f"making {rows:,} rows")
    ground = Ground(directory, rows)
    runs: dict[str, list[tuple[Ran, Ran | None]]] = {}
    sets: dict[str, list[Sets]] = {}
    alone: list[Ran] = []
    for number in range(1, rounds + 1):
        # All in turns: what slows the machine for a while slows them all.
        for command in COMMANDS:
            say(f"round {number} of {rounds}: {command.name}")
            runs.setdefault(command.name, []).append(
                (command.run(ground), command.run_bare(ground))
            )
            if command.name == "summary":
                alone.append(function_alone(ground))
        for name, control in CONTROLS.items():
            say(f"round {number} of {rounds}: workers beside {name}")
            sets.setdefault(name, []).append(control(ground))
        for command in COMMANDS:
            if command.has_workers:
                say(f"round {number} of {rounds}: workers beside {command.name}")
                sets.setdefault(command.name, []).append(command.beside_workers(ground))
    figures = [
        _figure(command, ground, runs[command.name], sets.get(command.name, []))
        for command in COMMANDS
    ]
    place = [figure.name for figure in figures].index("summary")
    figures.insert(place + 1, _function_alone(figures[place], alone))
    controls = [
        Figure(name, 0, [], [], [], "", [], None, sets[name], is_control=True) for name in CONTROLS
    ]
    return Found(where, rows, rounds, [*controls, *figures])


def _figure(
    command: Command, ground: Ground, runs: list[tuple[Ran, Ran | None]], sets: list[Sets]
) -> Figure:
    return Figure(
        name=command.name,
        rows=command.rows(ground) if command.has_workers else 0,
        seconds=[ours.seconds for ours, _ in runs],
        processor_seconds=[ours.processor_seconds for ours, _ in runs],
        peak_bytes=[ours.peak_bytes for ours, _ in runs],
        yardstick=command.bare[1] if command.bare else "",
        bare_seconds=[bare.seconds for _, bare in runs if bare],
        limit_seconds=command.limit_seconds(ground),
        sets=sets,
    )


def _function_alone(whole: Figure, runs: list[Ran]) -> Figure:
    return Figure(
        name=_ALONE,
        rows=whole.rows,
        seconds=[each.seconds for each in runs],
        processor_seconds=[each.processor_seconds for each in runs],
        peak_bytes=[],
        yardstick=whole.yardstick,
        bare_seconds=whole.bare_seconds,
        limit_seconds=whole.limit_seconds,
        sets=[],
    )


if __name__ == "__main__":
    main()
