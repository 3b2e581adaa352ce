"""Forked processes with threads on shared pairs; the recorded history is judged twice.

    python stress/linearizable.py --processes 8 --threads 2 --operations 200000

No `get`, in any process or thread, may return a state older than one whose write had returned
before the `get` was called, and no two may see a new state and then an older one. Exits with
0 only if the history is linearizable and every process has ended well.
"""

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from _processes import Source, Tick
from _traffic import Traffic, drive
from judges.falsify import falsify
from judges.history import Operation, load
from judges.linearizability import check
from judges.second_opinion import look_again
from judges.violation import described
from lamson_sqlite_state import SQLiteStorage

_TIMEOUT_SECONDS: Final = 20.0
_REDRAW_SECONDS: Final = 0.1

# What is piped into a file or a CI log is not to be wrapped.
_PIPED_WIDTH: Final = 160


@click.command()
@click.option("--processes", default=8, show_default=True, help="Processes to fork.")
@click.option("--threads", default=2, show_default=True, help="Threads in each process.")
@click.option("--operations", default=200_000, show_default=True, help="Calls of all of them.")
@click.option("--clears", default=40, show_default=True, help="How many of these are clear.")
@click.option("--senders", default=10, show_default=True, help="Shared senders, of 4 pairs each.")
@click.option(
    "--synchronous",
    type=click.Choice(["FULL", "NORMAL"]),
    default="FULL",
    show_default=True,
    help="Whether each write waits for the disk.",
)
@click.option("--cache-size", type=int, help="Of the store; by default the store's own.")
@click.option("--seed", type=int, help="Of the threads' choices; by default another each time.")
@click.option("--keep", type=click.Path(), help="A new directory for the store and the records.")
@click.option(
    "--seed-stale-read",
    is_flag=True,
    help="Make one recorded read older than it was: the run must fail.",
)
def main(
    synchronous: str,
    cache_size: int | None,
    seed: int | None,
    keep: str | None,
    *,
    seed_stale_read: bool,
    **numbers: int,
) -> None:
    """Use one store from many processes and threads, and judge what they have seen."""
    seed = random.randrange(10**6) if seed is None else seed
    traffic = Traffic(seed=seed, **numbers)
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    directory = Path(keep or tempfile.mkdtemp(prefix="linearizable-"))
    if keep:
        directory.mkdir()
    console.print(f"seed {seed}, {directory}")

    options: dict[str, Any] = {"timeout": _TIMEOUT_SECONDS, "synchronous": synchronous}
    if cache_size is not None:
        options["cache_size"] = cache_size
    start = time.monotonic()
    with (
        SQLiteStorage(directory / "states", **options) as store,
        _progress(console, traffic.operations) as progress,
    ):
        sources = drive(store, traffic, directory, *progress)
    history = load(directory)
    console.print(_summary(history, time.monotonic() - start))
    if seed_stale_read:
        history, false = falsify(history, "stale read", seed)
        console.print(f"falsified: pair {false.key} {described(false, history[0].called_ns)}")

    problems = [f"{source.name} {source.problem}" for source in sources if source.problem]
    problems += _judge(console, history)
    if problems:
        console.print(*map(escape, problems), sep="\n")
        console.print(f"[bold red]FAILED[/bold red]; the records are kept: {directory}")
        sys.exit(1)
    console.print("[bold green]The history is linearizable[/bold green]")
    if not keep:
        shutil.rmtree(directory)


def _judge(console: Console, history: Sequence[Operation]) -> Iterator[str]:
    start = time.monotonic()
    violation = check(history)
    if violation is not None:
        yield str(violation)
    middle = time.monotonic()
    findings = look_again(history)
    if findings:
        yield f"the second judge finds {len(findings)}, the first of which is: {findings[0]}"
    end = time.monotonic()
    console.print(
        f"judged for linearizability in {middle - start:.1f} s: "
        f"{'a violation' if violation else 'ok'}; "
        f"for stretches of values in {end - middle:.1f} s: {'violations' if findings else 'ok'}"
    )


def _summary(history: Sequence[Operation], seconds: float) -> str:
    kinds = Counter(operation.kind.name.lower() for operation in history)
    unknown = sum(operation.returned_ns is None for operation in history)
    return (
        f"{len(history):,} operations in {seconds:.1f} s: "
        + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
        + (f"; {unknown} of unknown outcome" if unknown else "")
    )


@contextmanager
def _progress(console: Console, operations: int) -> Iterator[tuple[Any, Tick]]:
    done = 0
    redrawn = 0.0
    # Redrawn by hand: a thread that draws would hold the console's lock across a fork.
    with Progress(
        BarColumn(),
        TextColumn("{task.completed:,.0f} operations"),
        console=console,
        auto_refresh=False,
    ) as progress:
        task = progress.add_task("", total=operations)

        def hear(line: str) -> None:
            nonlocal done
            done += int(line)

        def tick(_sources: Sequence[Source]) -> None:
            nonlocal redrawn
            if time.monotonic() - redrawn >= _REDRAW_SECONDS:
                redrawn = time.monotonic()
                progress.update(task, completed=done)
                progress.refresh()

        yield hear, tick
        progress.update(task, completed=operations)
        progress.refresh()


if __name__ == "__main__":
    main()
