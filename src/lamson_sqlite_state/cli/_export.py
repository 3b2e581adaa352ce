"""``export``: the command that writes states to a file, as JSON Lines or CSV."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import click

from .. import transfer
from ..maintenance import Selection
from ..sqlite.copies import atomic_file
from ..sqlite.copies.backup import is_of_store
from ..sqlite.process import new_files
from ..transfer import Format
from ..transfer.json_lines import printable_json
from ._arguments import with_selection
from ._files import FILE, format_by_name, format_option, named
from ._printing import Printer
from ._session import Session, with_session
from ._status import DONE, NOTHING

# So much of a file is written to the disk at a time.
_SYNC_BYTES: Final = 4 * 1024 * 1024


@click.command("export", short_help="Write pairs as JSON Lines or CSV.")
@click.argument("target", metavar="[FILE]", type=FILE, default="-")
@format_option
@with_selection
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@with_session
def export(
    session: Session,
    printer: Printer,
    target: str,
    *,
    form: Format | None,
    selection: Selection,
    force: bool,
) -> int:
    """Write all pairs, or some, to FILE or, without one or with -, to the output.

    JSON Lines lose nothing: one object a line, which import reads. CSV is for people. Workers go
    on meanwhile; for all states as they are at one instant, export a backup.
    """
    session.note_other_file(target)
    form = form or format_by_name(target)
    is_output = target == "-"
    with (
        session.store() as store,
        _output(form) if is_output else _file(target, force=force, store=session.path) as file,
        printer.progress("exporting", is_printing=is_output) as progress,
    ):
        exported = transfer.export_rows(store, file, form, selection=selection, progress=progress)
    if not is_output:
        printer.result({"exported": exported}, f"Exported to {target}: {exported:,}.")
    if not exported:
        printer.note("nothing matched")
    return DONE if exported else NOTHING


class _SyncedFile(io.FileIO):
    """A file that is synced at every write, under a buffer that is as large as a step.

    A sync at the end alone would be one of the whole file, and every write that a worker syncs
    meanwhile would wait for it: for 50 ms beside 100 MB.
    """

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        os.fsync(self.fileno())
        return written


class _TerminalFile(io.BytesIO):
    """JSON Lines on a terminal, with escapes for all that it would obey."""

    def write(self, data: Any, /) -> int:
        """Print some whole lines."""
        return sys.stdout.buffer.write(printable_json(data.decode()).encode())


@contextmanager
def _output(form: Format) -> Iterator[IO[bytes]]:
    is_shown = form == "jsonl" and sys.stdout.isatty()
    yield _TerminalFile() if is_shown else sys.stdout.buffer


@contextmanager
def _file(target: str, *, force: bool, store: str) -> Iterator[IO[bytes]]:
    """Give a file that gets its name only once it is complete. Other users cannot read it."""
    if is_of_store(target, store):
        raise click.UsageError(f"{target} belongs to the store itself: give another file")
    if not os.path.basename(target):
        raise click.UsageError(f"{target!r} names no file: give a file")
    if os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
        with named(target), open(atomic_file.open_stream(target), "wb") as file:
            yield file
        return
    with atomic_file.placed(os.path.abspath(target), overwrite=force) as unfinished:
        try:
            descriptor = new_files.create_file(unfinished, 0o600)
        except OSError as error:
            raise click.UsageError(f"{target}: {error.strerror}: give another file") from error
        file = io.BufferedWriter(_SyncedFile(descriptor, "wb"), _SYNC_BYTES)
        with named(target), file:
            yield file
            file.flush()
            os.fsync(file.fileno())
