"""The command line of the demo."""

import sys
from pathlib import Path

import click
from rich.console import Console

from .errors import DemoError
from .run import Conditions, with_mailbox, with_people


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Processes to fork. They share one queue and one file of states.",
)
@click.option(
    "--people",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help="People who subscribe, confirm, post, leave, or bounce.",
)
@click.option(
    "--mbox",
    "mailbox_path",
    type=click.Path(exists=True, readable=True, path_type=Path),
    help="Instead of people, play the mails in this mbox file or maildir to the list. It is"
    " only read, and no mail leaves this machine.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Decides in which order people come, and how they write their address.",
)
@click.option(
    "--patience",
    "patience_seconds",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds to wait for any one mail before all is called off.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Run in this new directory, and keep it: states, mail, logs. Else they are removed.",
)
def main(
    workers: int,
    people: int,
    mailbox_path: Path | None,
    seed: int,
    patience_seconds: float,
    keep: Path | None,
) -> None:
    """Run a double-opt-in mailing list for real, and check what becomes of everybody.

    A mail server takes mail for the list and queues it. Forked workers, each running
    Salmon's QueueReceiver, take it from there and answer, and they keep everybody's state
    in one SQLiteStorage. In the end each person must be in the state that follows from
    what they did, and each message must have been handled exactly once.

    Exits with 0 if all that is so, with 1 if not.
    """
    conditions = Conditions(Console(), workers, patience_seconds, keep)
    try:
        if mailbox_path is None:
            is_well = with_people(conditions, people, seed)
        else:
            is_well = with_mailbox(conditions, mailbox_path)
    except (DemoError, OSError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(0 if is_well else 1)
