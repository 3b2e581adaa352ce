"""The command behind ``make bench``: what the package costs, beside the same work without it."""

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import click
from rich.console import Console

from . import _operations as operations
from ._beside_writers import get_beside_writers
from ._comparison import compare_peers, peer_steps
from ._contention import crowd_steps, crowds, waiting, waiting_rows
from ._effort import BENCH, FULL, SMOKE, Effort
from ._environment import environment, machine_line, versions_line
from ._files import ROWS
from ._markdown import rewrite_pages
from ._measure import Advance, measured
from ._operations import Operation
from ._plots import draw
from ._progress import progress_bar
from ._report import crowds_table, only_in_full, peers_table, ratios_table, waiting_table
from ._results import RESULTS, Results
from ._rows import Row
from ._scale import scale, scale_steps
from ._starting import importing, opening
from .against._command import measure_against
from .against._effort import BENCH as TURNS
from .against._effort import SMOKE as SMOKE_TURNS

__all__ = ["main"]

# A table that is piped into a file or a CI log is not to be wrapped.
_PIPED_WIDTH: Final = 190

_OPERATIONS: Final[tuple[Operation, ...]] = (
    operations.get_cached,
    partial(get_beside_writers, senders=100, limit=1.5),
    partial(get_beside_writers, senders=1),
    partial(get_beside_writers, senders=1_000),
    operations.get_uncached,
    partial(operations.get_uncached, cache_size=0),
    operations.set_unchanged,
    partial(operations.set_changing, synchronous="NORMAL"),
    partial(operations.set_changing, synchronous="FULL"),
    operations.first_get,
    operations.set_all,
    partial(opening, is_kept_open=True),
    partial(opening, is_kept_open=False),
    importing,
)


@click.command()
@click.option("--full", is_flag=True, help="Everything, up to ten million rows; 3 GB of disk.")
@click.option("--quick", is_flag=True, help="A few seconds of work, to see that it runs.")
@click.option("--strict", is_flag=True, help="Exit with 1 where a limit is missed.")
@click.option(
    "--against",
    metavar="REV",
    help="Measure the working tree and this revision in turns, with a new environment for each.",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), help="With --against: how many rounds; by default 12."
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False),
    help="Measure on the disk of this directory; by default, the one for temporary files.",
)
@click.option(
    "--results",
    "results_directory",
    type=click.Path(exists=True, file_okay=False),
    help="Write JSON and plots here; by default benchmarks/results, or nowhere with --quick.",
)
@click.option(
    "--redraw",
    is_flag=True,
    help="Measure nothing; draw the plots and write the pages of the last full run anew.",
)
def main(
    full: bool,
    quick: bool,
    strict: bool,
    against: str | None,
    rounds: int | None,
    directory: str | None,
    results_directory: str | None,
    redraw: bool,
) -> None:
    """Measure what the package costs beside the same work without it."""
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    if against is not None:
        if full or strict or redraw or results_directory:
            raise click.UsageError("--against goes with --quick, --rounds and --directory only")
        turns = SMOKE_TURNS if quick else TURNS
        measure_against(against, directory, replace(turns, rounds=rounds or turns.rounds), console)
        return
    if rounds:
        raise click.UsageError("--rounds goes with --against only")
    committed = Results.committed()
    if redraw:
        if committed is None:
            raise click.ClickException("there has been no full run: make bench-full")
        draw(committed, RESULTS)
        rewrite_pages(committed)
        return
    effort = FULL if full else SMOKE if quick else BENCH
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as scratch:
        results = _measure_all(scratch, effort, console)
    results_directory = results_directory or (None if quick else RESULTS)
    if results_directory:
        os.makedirs(results_directory, exist_ok=True)
        results.save(os.path.join(results_directory, f"{effort.name}.json"))
        draw(results, results_directory)
    _print(results, committed, console)
    sys.exit(1 if strict and results.missed else 0)


def _measure_all(directory: str, effort: Effort, console: Console) -> Results:
    where = environment(directory)
    steps = (
        effort.rounds * len(_OPERATIONS)
        + effort.waiting_rounds
        + peer_steps(effort)
        + crowd_steps(effort)
        + scale_steps(effort)
    )
    with progress_bar(console, steps) as (describe, advance):
        rows = _ratios(os.path.join(directory, "ratios"), effort, describe, advance)
        describe("processes waiting for each other")
        waited = waiting(os.path.join(directory, "waiting"), effort, advance)
        peers = compare_peers(os.path.join(directory, "peers"), effort, describe, advance)
        crowded = crowds(os.path.join(directory, "crowds"), effort, describe, advance)
        scaled = scale(os.path.join(directory, "scale"), effort, describe, advance)
    return Results(
        effort.name, where, [*rows, *waiting_rows(waited), *scaled], waited, peers, crowded
    )


def _ratios(
    directory: str, effort: Effort, describe: Callable[[str], None], advance: Advance
) -> list[Row]:
    rows = []
    for number, operation in enumerate(_OPERATIONS):
        ground = operations.two_files(os.path.join(directory, str(number)), ROWS)
        with operation(ground, effort) as comparison:
            describe(comparison.name)
            rows.append(measured(comparison, effort, advance))
    return rows


def _print(results: Results, committed: Results | None, console: Console) -> None:
    console.print(machine_line(results.environment), highlight=False)
    console.print(versions_line(results.environment), highlight=False)
    earlier = only_in_full(results, committed)
    console.print(ratios_table(results.rows, earlier))
    if earlier and committed:
        console.print(f"The last rows are of the full run of {committed.environment['date']}")
    elif results.effort != "full":
        console.print("The limits for ten million rows are measured by make bench-full only")
    console.print(waiting_table(results.waiting))
    console.print(crowds_table(results.crowds))
    console.print(peers_table(results.peers))
    if results.missed:
        console.print(f"[red]Limits missed: {', '.join(results.missed)}[/red]", highlight=False)
    else:
        console.print("[green]All limits kept[/green]")


if __name__ == "__main__":
    main()
