"""``import-shelve``, ``export``, ``import``, ``backup`` and ``restore``."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, cast

import click

from .. import maintenance, transfer
from ..errors import StorageError
from ..sqlite.copies import atomic_file
from ..sqlite.copies.backup import is_of_store
from ..sqlite.process import new_files
from ..transfer import Format, Imported, OnConflict
from ..transfer.json_lines import printable_json
from ._arguments import chosen, filters
from ._printing import Printer
from ._session import DONE, NOTHING, Session, with_session
from ._tables import amount

# So much of a file is written to the disk at a time.
_SYNC_BYTES: Final = 4 * 1024 * 1024

# How a file begins that SQLite has written.
_DATABASE: Final = b"SQLite format 3\0"

# So many refusals are shown, and the rest counted.
_SHOWN: Final = 20

_ON_CONFLICT = click.option(
    "--on-conflict",
    type=click.Choice(("keep", "replace")),
    default="keep",
    show_default=True,
    help="Whether a pair that has a state in the store keeps it, or gets the new one.",
)
_CREATE = click.option(
    "--create",
    "may_create",
    is_flag=True,
    help="Make the store if missing; as root, for the owner of its directory.",
)
_FORMAT = click.option(
    "--format",
    "form",
    type=click.Choice(("jsonl", "csv")),
    help="JSON Lines or CSV; by default, what the file's name says, or jsonl.",
)


@click.command("import-shelve", short_help="Take over a ShelveStorage.")
@click.argument("shelf", metavar="PATH", type=click.Path(readable=False))
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
    on_conflict: str,
    may_create: bool,
) -> int:
    """Take over the states of a ShelveStorage of Lamson's or Salmon's.

    PATH is what ShelveStorage was given, or one of its files, whichever dbm has written them. They
    are only read, and what their pickles contain is never executed: what is no text is
    refused, and makes the exit status 1. End the application that writes to them first.
    """
    session.other_file(shelf)
    with (
        session.store_or_new(may_create=may_create, is_dry_run=is_dry_run) as store,
        printer.progress("importing") as progress,
    ):
        done = transfer.import_shelve(
            store,
            shelf,
            on_conflict=cast("OnConflict", on_conflict),
            is_dry_run=is_dry_run,
            progress=progress,
        )
    for refused in done.refused[:_SHOWN]:
        printer.note(f"refused {refused.key}: {refused.reason}")
    if done.refused_count > _SHOWN:
        printer.note(f"refused {done.refused_count - _SHOWN:,} more")
    return _report(printer, done, is_dry_run=is_dry_run)


@click.command("export", short_help="Write pairs as JSON Lines or CSV.")
@click.argument("target", metavar="[FILE]", type=click.Path(readable=False), default="-")
@_FORMAT
@filters
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@with_session
def export(
    session: Session,
    printer: Printer,
    target: str,
    *,
    form: str | None,
    force: bool,
    **options: object,
) -> int:
    """Write all pairs, or some, to FILE or, without one or with -, to the output.

    JSON Lines lose nothing: one object a line, which import reads. CSV is for people. Workers go
    on meanwhile; for all states as they are at one instant, export a backup.
    """
    selection = chosen(**options)  # type: ignore[arg-type]
    session.other_file(target)
    form = _format(target, form)
    with (
        session.store() as store,
        _output(target, force=force, store=session.path) as file,
        printer.progress("exporting", is_printing=target == "-") as progress,
    ):
        exported = transfer.export_rows(
            store,
            _Shown() if target == "-" and form == "jsonl" and sys.stdout.isatty() else file,
            form,
            selection=selection,
            progress=progress,
        )
    if target != "-":
        printer.result({"exported": exported}, f"Exported to {target}: {exported:,}.")
    if not exported:
        printer.note("nothing matched")
    return DONE if exported else NOTHING


@click.command("import", short_help="Read what export has written.")
@click.argument("source", metavar="FILE", type=click.Path(readable=False))
@_FORMAT
@_ON_CONFLICT
@_CREATE
@with_session
def import_rows(
    session: Session,
    printer: Printer,
    source: str,
    *,
    form: str | None,
    on_conflict: str,
    may_create: bool,
) -> int:
    """Put the pairs of FILE, or of the input (-), into the store, as export wrote them.

    FILE may also be another store: a backup, or what sqlite3's .dump has saved of one.
    """
    session.other_file(source)
    conflict = cast("OnConflict", on_conflict)
    if form is None and _is_database(source):
        with (
            session.store_or_new(may_create=may_create) as store,
            printer.progress("importing") as progress,
        ):
            done = transfer.import_copy(store, source, on_conflict=conflict, progress=progress)
        return _report(printer, done)
    with (
        _input(source) as file,
        session.store_or_new(may_create=may_create) as store,
        printer.progress("importing") as progress,
    ):
        done = transfer.import_rows(
            store,
            file,
            _format(source, form),
            on_conflict=conflict,
            name="standard input" if source == "-" else source,
            progress=progress,
        )
    return _report(printer, done)


@click.command("backup", short_help="Copy the store while workers run.")
@click.argument("destination", metavar="DEST", type=click.Path(readable=False))
@click.option("--force", is_flag=True, help="Replace DEST if it is there.")
@with_session
def backup(session: Session, printer: Printer, destination: str, *, force: bool) -> int:
    """Copy the store to DEST, as it is at one instant, while workers run.

    The copy is verified before it gets its name. It is one file, which can be moved, opened, and
    given to restore.
    """
    session.other_file(destination)
    with session.store() as store, printer.progress("copying") as progress:
        done = maintenance.backup(store, destination, overwrite=force, progress=progress)
    printer.result(
        done._asdict(),
        f"Copied to {done.path}, and verified: {done.pairs:,} pairs in {amount(done.bytes)}.",
    )
    return DONE


@click.command("restore", short_help="Give all pairs the states of a backup.")
@click.argument("source", metavar="SRC", type=click.Path(readable=False))
@click.option("--yes", is_flag=True, help="Don't ask, where a person could be asked.")
@with_session
def restore(session: Session, printer: Printer, source: str, *, yes: bool) -> int:
    """Give all pairs the states of the backup SRC, while workers run.

    They see it at once. What they change meanwhile stays, but forget and prune nothing meanwhile:
    that may be restored all the same. It is done in batches: if it is interrupted, run it again.
    """
    session.other_file(source)
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


def _format(path: str, form: str | None) -> Format:
    if form is None:
        form = "csv" if path.lower().endswith(".csv") else "jsonl"
    return cast("Format", form)


def _is_database(path: str) -> bool:
    # No connection of this process has it open, whose locks this would drop.
    if not os.path.isfile(path):
        return False
    with _named(path), open(path, "rb") as file:
        return file.read(len(_DATABASE)) == _DATABASE


@contextmanager
def _input(source: str) -> Iterator[IO[bytes]]:
    with _named("standard input" if source == "-" else source):
        if source == "-":
            yield sys.stdin.buffer
            return
        with open(source, "rb") as file:
            yield file


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Give the errors from reading or writing a file its name."""
    try:
        yield
    except OSError as error:
        if error.filename is None and not isinstance(error, StorageError):
            error.filename = file
        raise


class _Steady(io.FileIO):
    """A file that is written to the disk as it grows, under a buffer that is as large as a step.

    If all of it were left to the end, every write that a worker syncs meanwhile would wait for
    the whole file: for 50 ms beside 100 MB.
    """

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        os.fsync(self.fileno())
        return written


class _Shown(io.BytesIO):
    """JSON Lines on a terminal."""

    def write(self, data: Any, /) -> int:
        """Print some whole lines."""
        return sys.stdout.buffer.write(printable_json(data.decode()).encode())


@contextmanager
def _output(target: str, *, force: bool, store: str) -> Iterator[IO[bytes]]:
    """Give a file that gets its name only once it is complete. Others cannot read it."""
    if target == "-":
        yield sys.stdout.buffer
        return
    if is_of_store(target, store):
        raise click.UsageError(f"{target} belongs to the store itself: give another file")
    if not target:
        raise click.UsageError("an empty path names no file: give a file")
    if os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
        with _named(target), open(atomic_file.open_stream(target), "wb") as file:
            yield file
        return
    if not os.path.basename(target):
        raise click.UsageError(f"{target} is a directory: give a file in it")
    with atomic_file.placed(os.path.abspath(target), overwrite=force) as unfinished:
        try:
            descriptor = new_files.create_file(unfinished, 0o600)
        except OSError as error:
            raise click.UsageError(f"{target}: {error.strerror}: give another file") from error
        with _named(target), io.BufferedWriter(_Steady(descriptor, "wb"), _SYNC_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
