"""``import-shelve`` and ``import``: commands that put states from other files into a store."""

import os
from typing import Final

import click

from .. import transfer
from ..transfer import Format, Imported, OnConflict
from ._files import FILE, format_by_name, format_option, named
from ._printing import Printer
from ._session import Session, with_session
from ._status import DONE, NOTHING

# How a file begins that SQLite has written.
_DATABASE: Final = b"SQLite format 3\0"

# So many refused entries are shown; the rest is only counted.
_MOST_SHOWN: Final = 20

_ON_CONFLICT: Final = click.option(
    "--on-conflict",
    type=click.Choice(("keep", "replace")),
    default="keep",
    show_default=True,
    help="Whether a pair that has a state in the store keeps it, or gets the new one.",
)
_CREATE: Final = click.option(
    "--create",
    "may_create",
    is_flag=True,
    help="Make the store if missing; as root, for the owner of its directory.",
)


@click.command("import-shelve", short_help="Take over a ShelveStorage.")
@click.argument("shelf", metavar="PATH", type=FILE)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Write nothing; tell what would be.")
@_ON_CONFLICT
@_CREATE
@with_session
def import_shelve(
    session: Session,
    printer: Printer,
    shelf: str,
    *,
    is_dry_run: bool,
    on_conflict: OnConflict,
    may_create: bool,
) -> int:
    """Take over the states of a ShelveStorage of Lamson's or Salmon's.

    PATH is what ShelveStorage was given, or one of its files, whichever dbm has written them. They
    are only read, and what their pickles contain is never executed. Each entry that is not the
    text of a state is refused, and makes the exit status 1. End the application that writes to the
    files first.
    """
    session.note_other_file(shelf)
    with (
        session.store_or_new(may_create=may_create, is_dry_run=is_dry_run) as store,
        printer.progress("importing") as progress,
    ):
        done = transfer.import_shelve(
            store, shelf, on_conflict=on_conflict, is_dry_run=is_dry_run, progress=progress
        )
    for refused in done.refused[:_MOST_SHOWN]:
        printer.note(f"refused {refused.key}: {refused.reason}")
    if done.refused_count > _MOST_SHOWN:
        printer.note(f"refused {done.refused_count - _MOST_SHOWN:,} more")
    return _report(printer, done, is_dry_run=is_dry_run)


@click.command("import", short_help="Read what export has written.")
@click.argument("source", metavar="FILE", type=FILE)
@format_option
@_ON_CONFLICT
@_CREATE
@with_session
def import_rows(
    session: Session,
    printer: Printer,
    source: str,
    *,
    form: Format | None,
    on_conflict: OnConflict,
    may_create: bool,
) -> int:
    """Put the pairs of FILE, or of the input (-), into the store, as export wrote them.

    FILE may also be another store: a backup, or what sqlite3's .dump has saved of one.
    """
    session.note_other_file(source)
    is_copy = form is None and _is_database(source)
    name = "standard input" if source == "-" else source
    with (
        named(name),
        click.open_file(source, "rb") as file,
        session.store_or_new(may_create=may_create) as store,
        printer.progress("importing") as progress,
    ):
        if is_copy:
            done = transfer.import_copy(store, source, on_conflict=on_conflict, progress=progress)
        else:
            form = form or format_by_name(source)
            done = transfer.import_rows(
                store, file, form, on_conflict=on_conflict, name=name, progress=progress
            )
    return _report(printer, done)


def _is_database(path: str) -> bool:
    # Asked before any connection is open: closing the file would drop the locks of a connection
    # of this process to the same file.
    if not os.path.isfile(path):
        return False
    with named(path), open(path, "rb") as file:
        return file.read(len(_DATABASE)) == _DATABASE


def _report(printer: Printer, done: Imported, *, is_dry_run: bool = False) -> int:
    would = "would be " if is_dry_run else ""
    sentence = f"{done.rows:,} pairs read: {done.written:,} {would}written, {done.kept:,} kept"
    if done.refused_count:
        sentence += f"; {done.refused_count:,} refused"
    fields = {
        "read": done.rows,
        "written": done.written,
        "kept": done.kept,
        "refused": done.refused_count,
    }
    printer.result(fields, f"{sentence}.")
    return DONE if done.rows and not done.refused_count else NOTHING
