"""The two ways to run the list, with people or with a mailbox, and what comes of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lamson_sqlite_state import SQLiteStorage

from . import show
from .crowd import Crowd
from .people import population
from .player import Player, opened
from .stage import Stage, staged
from .verdict import count_states, unaccounted, wrong_archives, wrong_states

PEOPLE_AT_ONCE = 16
WAITING_PER_WORKER = 8
RUN_DIR = Path("run")


@dataclass(frozen=True)
class Conditions:
    """What both ways have in common."""

    console: Console
    workers: int
    patience_seconds: float
    keep: Path | None


def with_people(conditions: Conditions, count: int, seed: int) -> bool:
    """Let people use the list; True if every single one is in the right state afterwards."""
    people = population(count, seed)
    console = conditions.console
    with staged(conditions.workers, conditions.patience_seconds, conditions.keep) as stage:
        crowd = Crowd(stage)

        def live(on_step: Callable[[], None]) -> None:
            crowd.live(people, min(count, PEOPLE_AT_ONCE), on_step)
            stage.ledger.wait_for_room(0)

        seconds = _timed(console, stage, "people", count, live)
        problems = _end(console, stage)
        if undelivered := stage.ledger.undelivered():
            problems.append(f"{undelivered} messages could not be delivered")
        problems += wrong_archives(crowd.posts, RUN_DIR)
        # After the table of states: a store notes START for those that it is asked about.
        with SQLiteStorage(RUN_DIR / "states") as fresh:
            wrong = wrong_states(people, fresh)
        if wrong:
            console.print(show.wrong_table(wrong))
            problems.append(f"{len(wrong)} states are wrong")
        _tell_time(conditions, stage, f"{count:,} people", seconds)
        return _conclude(console, problems, "Every one of them is in the state they must be in.")


def with_mailbox(conditions: Conditions, path: Path) -> bool:
    """Play a mailbox to the list; True if no worker died, and no message was lost."""
    console = conditions.console
    with (
        opened(path) as box,
        staged(conditions.workers, conditions.patience_seconds, conditions.keep) as stage,
        stage.postman() as postman,
    ):
        player = Player(postman, stage.ledger, stage.boxes)
        window = conditions.workers * WAITING_PER_WORKER
        count = len(box)
        seconds = _timed(
            console, stage, "mails", count, lambda on_step: player.play(box, window, on_step)
        )
        problems = _end(console, stage)
        if player.refused:
            console.print(f"The mail server refused {player.refused:,} of them.")
        _tell_time(conditions, stage, f"{count:,} mails played", seconds)
        return _conclude(console, problems, "No worker died, and each message is accounted for.")


def _timed(
    console: Console,
    stage: Stage,
    unit: str,
    total: int,
    run: Callable[[Callable[[], None]], None],
) -> float:
    started = time.monotonic()
    with show.progress(console, stage.ledger) as bar:
        task = bar.add_task(unit, total=total)
        run(lambda: bar.advance(task))
    return time.monotonic() - started


def _end(console: Console, stage: Stage) -> list[str]:
    """End the workers, show what they did, and return what is wrong with it."""
    stage.crew.dismiss()
    console.print(show.workers_table(stage.ledger, stage.crew.pids, stage.crew.exit_codes))
    console.print(show.states_table(count_states(RUN_DIR / "states")))
    return [*stage.crew.failures(), *unaccounted(stage.ledger, RUN_DIR)]


def _tell_time(conditions: Conditions, stage: Stage, what: str, seconds: float) -> None:
    handled = len(stage.ledger.handled)
    conditions.console.print(
        f"{what}, {handled:,} messages, {conditions.workers} workers:"
        f" {seconds:.1f} s, {handled / seconds:,.0f} messages a second."
    )
    if conditions.keep is not None:
        conditions.console.print(f"All of it is in {conditions.keep}.")


def _conclude(console: Console, problems: list[str], all_is_well: str) -> bool:
    for problem in problems:
        console.print(f"[bold red]wrong:[/] {problem}")
    if not problems:
        console.print(f"[bold green]{all_is_well}[/]")
    return not problems
