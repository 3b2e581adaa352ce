"""Forked writers against one file; every acknowledgement is held against it in the end.

    python stress/many_writers.py --workers 8 --seconds 5

The parent's own store is open, and its own threads are writing, while it forks the workers.
Exits with 0 only if nothing acknowledged is missing and every process has ended well.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from typing import Final, Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from _checks import Check, check_all, sabotage
from _ledger import COUNTER, Announcer, Ledger
from _load import Load, write_until
from _processes import Source, Tick, Work, end, fork_writer, listen, start_thread
from lamson_sqlite_state import SQLiteStorage

_TIMEOUT_SECONDS: Final = 20.0

# A writer ends after its time is up and its last call has returned, or raised LockTimeout.
_GRACE_SECONDS: Final = _TIMEOUT_SECONDS + 10.0

_REDRAW_SECONDS: Final = 0.1

# A table that is piped into a file or a CI log is not to be wrapped.
_PIPED_WIDTH: Final = 120


@click.command()
@click.option("--workers", default=8, show_default=True, help="Processes to fork.")
@click.option("--threads", default=1, show_default=True, help="Writers in each process.")
@click.option("--seconds", default=5.0, show_default=True, help="How long they write.")
@click.option(
    "--synchronous",
    type=click.Choice(["FULL", "NORMAL"]),
    default="FULL",
    show_default=True,
    help="Whether each write waits for the disk.",
)
@click.option("--pause-ms", default=0.0, show_default=True, help="Pause after each write.")
@click.option("--seed", type=int, help="Of the writers' choices; by default another each time.")
@click.option("--path", type=click.Path(), help="A new file to write to, which is kept.")
@click.option(
    "--sabotage",
    "damage",
    type=click.Choice(["row", "counter"]),
    help="Undo an acknowledged write behind the store's back: the run must fail.",
)
def main(
    workers: int,
    threads: int,
    seconds: float,
    synchronous: Literal["FULL", "NORMAL"],
    pause_ms: float,
    seed: int | None,
    path: str | None,
    damage: str | None,
) -> None:
    """Write from many processes to one file, and compare it with every acknowledgement."""
    if path and os.path.exists(path):
        raise click.BadParameter(f"{path} exists: a run starts with a new file")
    seed = random.randrange(10**6) if seed is None else seed
    scratch = None if path else tempfile.mkdtemp(prefix="many-writers-")
    path = path or os.path.join(scratch or "", "states")
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    console.print(f"seed {seed}, {path}")

    ledger = Ledger()
    with SQLiteStorage(path, timeout=_TIMEOUT_SECONDS, synchronous=synchronous) as store:
        load = Load(seed, time.monotonic() + seconds, pause_ms / 1e3)
        with _progress(console, ledger, seconds) as tick:
            sources = run(store, load, ledger, workers, threads, tick)
        if damage:
            sabotage(path, ledger, damage)
        checks = check_all(path, store, ledger, sources)

    console.print(_fairness_table(ledger, sources))
    console.print(_verdict_table(checks))
    if any(check.problems for check in checks):
        console.print(f"[bold red]FAILED[/bold red]; the file is kept: {path}")
        sys.exit(1)
    console.print("[bold green]Nothing acknowledged is missing[/bold green]")
    if scratch:
        shutil.rmtree(scratch)


def run(
    store: SQLiteStorage,
    load: Load,
    ledger: Ledger,
    workers: int,
    threads: int,
    tick: Tick,
) -> list[Source]:
    """Let everybody write until the deadline, and enter in the ledger what they announce.

    Returns:
        The parent and its workers, all of which have ended.
    """

    def work_of(number: int) -> Work:
        def work(pipe: FileIO) -> None:
            announcers = [Announcer(f"{number}.{thread}", pipe) for thread in range(threads)]
            with ThreadPoolExecutor(threads) as pool:
                # list() raises what a thread has raised.
                list(pool.map(lambda announcer: write_until(store, load, announcer), announcers))

        return work

    # The store is open and in use from here on: the workers are forked in the middle of it.
    store.get(*COUNTER)
    sources = [start_thread("parent", 0, work_of(0))]
    stuck: Sequence[Source] = sources
    try:
        for number in range(1, workers + 1):
            sources.append(fork_writer(f"worker {number}", number, work_of(number), sources))
        stuck = listen(sources, ledger.hear, load.deadline + _GRACE_SECONDS, tick)
    finally:
        end(sources, stuck)
    return sources


@contextmanager
def _progress(console: Console, ledger: Ledger, seconds: float) -> Iterator[Tick]:
    start = redrawn = time.monotonic()
    # Redrawn by hand: a thread that draws would hold the console's lock across a fork.
    with Progress(
        TextColumn("{task.completed:.0f} s"),
        BarColumn(),
        TextColumn("{task.description}"),
        console=console,
        auto_refresh=False,
    ) as progress:
        task = progress.add_task("", total=seconds)

        def redraw() -> None:
            progress.update(
                task,
                completed=min(time.monotonic() - start, seconds),
                description=f"{ledger.writes.total():,} writes acknowledged",
            )
            progress.refresh()

        def tick(sources: Sequence[Source]) -> None:
            nonlocal redrawn
            if redrawn == start:
                pids = " ".join(str(source.pid) for source in sources if source.pid is not None)
                console.print(f"workers {pids}")
            if time.monotonic() - redrawn >= _REDRAW_SECONDS or redrawn == start:
                redrawn = time.monotonic()
                redraw()

        yield tick
        redraw()


def _fairness_table(ledger: Ledger, sources: Sequence[Source]) -> Table:
    workers = [source.number for source in sources if source.number]
    mean = sum(ledger.writes[number] for number in workers) / max(len(workers), 1)
    table = Table(title="Who wrote")
    table.add_column("")
    table.add_column("writes", justify="right")
    table.add_column("share of the workers' mean", justify="right")
    for source in sources:
        writes = ledger.writes[source.number]
        share = f"{writes / mean:.2f}" if mean and source.number else ""
        table.add_row(source.name, f"{writes:,}", share)
    return table


def _verdict_table(checks: Sequence[Check]) -> Table:
    table = Table(title="What was checked")
    table.add_column("", no_wrap=True)
    table.add_column("of", justify="right", no_wrap=True)
    table.add_column("verdict")
    for check in checks:
        verdict = "[red]" + escape("\n".join(check.problems)) + "[/red]"
        table.add_row(
            check.name, check.looked_at, verdict if check.problems else "[green]ok[/green]"
        )
    return table


if __name__ == "__main__":
    main()
