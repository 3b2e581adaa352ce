"""The command behind ``make bench``: every cost as a ratio to the bare libraries below it."""

import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ._contention import PROCESSES, Waiting, contend, file_lock_writer, store_writer
from ._files import new_store
from ._measure import Row, measured
from ._operations import QUICK, Effort, comparisons

__all__ = ["main"]

_P99_LIMIT: Final = 0.25
_SHARE_LIMIT: Final = 0.80

# A table that is piped into a file or a CI log is not to be wrapped.
_PIPED_WIDTH: Final = 120


@click.command()
@click.option("--quick", is_flag=True, help="A few seconds of work, to see that it runs.")
@click.option("--strict", is_flag=True, help="Exit with 1 where a limit is missed.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False), help="Write every round's values here."
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False),
    help="Measure on the disk of this directory; by default, the one for temporary files.",
)
def main(quick: bool, strict: bool, json_path: str | None, directory: str | None) -> None:
    """Measure what the package costs beside bare sqlite3 and filelock."""
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    effort = QUICK if quick else Effort()
    with tempfile.TemporaryDirectory(prefix="ratios-", dir=directory) as scratch:
        rows, waiting = _measure_all(scratch, effort, console)
    console.print(_environment())
    console.print(_ratios_table(rows))
    console.print(_waiting_table(waiting))
    missed = [row.name for row in rows if row.is_missed]
    if json_path:
        _write_json(json_path, rows, waiting)
    if missed:
        console.print(f"[red]Limits missed: {', '.join(missed)}[/red]", highlight=False)
        sys.exit(1 if strict else 0)
    console.print("[green]All limits kept[/green]")


def _measure_all(
    directory: str, effort: Effort, console: Console
) -> tuple[list[Row], dict[str, list[Waiting]]]:
    single = comparisons(directory, effort)
    # Redrawn by hand between rounds: a thread that draws would take part in the measurement,
    # and would be there when processes are forked.
    with Progress(
        TextColumn("{task.description:35}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=effort.rounds * len(single) + effort.contention_rounds)

        def advance() -> None:
            progress.advance(task)
            progress.refresh()

        rows = []
        for entering in single:
            with entering as comparison:
                progress.update(task, description=comparison.name)
                progress.refresh()
                rows.append(measured(comparison, advance))
        progress.update(task, description="processes waiting for each other")
        progress.refresh()
        waiting = _contention(directory, effort, advance)
    return rows + _waiting_rows(waiting), waiting


def _contention(
    directory: str, effort: Effort, advance: Callable[[], None]
) -> dict[str, list[Waiting]]:
    openers = {"lamson-sqlite-state": store_writer, "sqlite3 under FileLock": file_lock_writer}
    paths = {
        name: new_store(os.path.join(directory, opener.__name__))
        for name, opener in openers.items()
    }
    waiting: dict[str, list[Waiting]] = {name: [] for name in openers}
    for _ in range(effort.contention_rounds):
        for name, opener in openers.items():
            waiting[name].append(contend(paths[name], opener, effort.seconds))
        advance()
    return waiting


def _waiting_rows(waiting: dict[str, list[Waiting]]) -> list[Row]:
    ours, bare = waiting.values()

    def p99(rounds: Sequence[Waiting]) -> list[float]:
        return [each.percentile_ms(99) for each in rounds]

    def shares(rounds: Sequence[Waiting]) -> list[float]:
        return [each.slowest_share for each in rounds]

    return [
        Row(
            f"p99 of a set, {PROCESSES} writers",
            f"{statistics.median(p99(ours)):.3g} ms",
            f"{statistics.median(p99(bare)):.3g} ms",
            [a / b for a, b in zip(p99(ours), p99(bare), strict=True)],
            limit=_P99_LIMIT,
        ),
        Row(
            f"slowest of {PROCESSES} writers to the mean",
            f"{statistics.median(shares(ours)):.2f}",
            f"{statistics.median(shares(bare)):.2f}",
            shares(ours),
            limit=_SHARE_LIMIT,
            is_floor=True,
        ),
    ]


def _ratios_table(rows: Sequence[Row]) -> Table:
    table = Table(title="Cost of one call")
    for name in ("operation", "ours", "bare", "ratio", "min..max", "limit", ""):
        is_text = name in ("operation", "")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        unit = f" {row.unit}"
        limit = "-" if row.limit is None else f"{'≥' if row.is_floor else '≤'} {row.limit:g}{unit}"
        verdict = "" if row.limit is None else "[green]kept[/green]"
        table.add_row(
            row.name,
            row.ours,
            row.bare,
            f"{row.median:.2f}{unit}",
            f"{min(row.values):.2f}..{max(row.values):.2f}",
            limit,
            "[bold red]missed[/bold red]" if row.is_missed else verdict,
            style="red" if row.is_missed else None,
        )
    return table


def _waiting_table(waiting: dict[str, list[Waiting]]) -> Table:
    table = Table(title=f"{PROCESSES} processes writing, synchronous FULL, 2 ms between writes")
    table.add_column("", no_wrap=True)
    for name in ("p50", "p99", "worst", "writes", "share of the mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, rounds in waiting.items():
        for each in rounds:
            mean = sum(each.counts) / len(each.counts)
            table.add_row(
                name,
                *(f"{each.percentile_ms(percent):.2f} ms" for percent in (50, 99, 100)),
                str(sum(each.counts)),
                f"{min(each.counts) / mean:.2f}..{max(each.counts) / mean:.2f}",
            )
    return table


def _environment() -> str:
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"filelock {version('filelock')}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {platform.platform()}"
    )


def _write_json(path: str, rows: Sequence[Row], waiting: dict[str, list[Waiting]]) -> None:
    document = {
        "environment": _environment(),
        "rows": [row.as_json() for row in rows],
        "waiting": {
            name: [
                {
                    "p50_ms": each.percentile_ms(50),
                    "p99_ms": each.percentile_ms(99),
                    "worst_ms": each.percentile_ms(100),
                    "counts": each.counts,
                }
                for each in rounds
            ]
            for name, rounds in waiting.items()
        },
    }
    with open(path, "w") as file:
        json.dump(document, file, indent=1)


if __name__ == "__main__":
    main()
