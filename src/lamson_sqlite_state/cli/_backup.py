"""``backup`` and ``restore``: commands that copy a store to a file, and write a copy back."""

import sys

import click

from .. import maintenance
from ._files import FILE
from ._printing import Printer
from ._session import Session, with_session
from ._status import DONE, NOTHING
from ._tables import amount


@click.command("backup", short_help="Copy the store while workers run.")
@click.argument("destination", metavar="DEST", type=FILE)
@click.option("--force", is_flag=True, help="Replace DEST if it is there.")
@with_session
def backup(session: Session, printer: Printer, destination: str, *, force: bool) -> int:
    """Copy the store to DEST, as it is at one instant, while workers run.

    The copy is verified before it gets its name. It is one file, which can be moved, opened, and
    given to restore.
    """
    session.note_other_file(destination)
    with session.store() as store, printer.progress("copying") as progress:
        done = maintenance.backup(store, destination, overwrite=force, progress=progress)
    printer.result(
        done._asdict(),
        f"Copied to {done.path}, and verified: {done.pairs:,} pairs in {amount(done.bytes)}.",
    )
    return DONE


@click.command("restore", short_help="Give all pairs the states of a backup.")
@click.argument("source", metavar="SRC", type=FILE)
@click.option("--yes", is_flag=True, help="Don't ask, where a person could be asked.")
@with_session
def restore(session: Session, printer: Printer, source: str, *, yes: bool) -> int:
    """Give all pairs the states of the backup SRC, while workers run.

    The workers see it at once. What they change meanwhile stays. But forget and prune nothing
    meanwhile: what you remove may be restored. The work is done in batches: if it is interrupted,
    run it again.
    """
    session.note_other_file(source)
    with session.store() as store:
        if printer.is_table and sys.stdin.isatty() and not yes:
            question = f"Give all pairs of {store.path} the states of {source}?"
            if not click.confirm(question, err=True):
                printer.note("nothing was done")
                return NOTHING
        with printer.progress("restoring") as progress:
            done = maintenance.restore(store, source, progress=progress)
    printer.result(
        done._asdict(),
        f"Restored {done.pairs:,} pairs: {done.written:,} were changed, {done.removed:,} removed.",
    )
    return DONE
