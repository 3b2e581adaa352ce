"""``summary``, ``list``, ``get``, ``check``, ``datasette-metadata``: commands that only read."""

import dataclasses
import itertools
from contextlib import ExitStack
from typing import Any, Final

import click
from rich.text import Text

from .. import maintenance
from ..keys.rows import format_key, format_state
from ..maintenance import (
    CountExcerpt,
    ExistingStorage,
    Order,
    RowExcerpt,
    Selection,
    StateCount,
    Summary,
)
from ..transfer.json_lines import as_object
from ._arguments import key, with_selection
from ._completion import modules
from ._printing import Printer, count_lines, counts_as_objects, one_line
from ._session import Session, with_session
from ._status import DONE, NOTHING
from ._tables import amount, counts_table, local_time

# What a person scrolls through. A script gets all.
_SCREEN_ROWS: Final = 1_000

_RACE: Final = (
    "This version can damage a database in which one program commits while another copies the log "
    "(https://www.sqlite.org/wal.html#walresetbug). The workers are kept from that by their lock; "
    "other programs that write to the file are not: update SQLite to 3.51.3."
)


@click.command("summary", short_help="How many senders are in which state, and how the store is.")
@with_session
def summary(session: Session, printer: Printer) -> int:
    """Show how many senders are in which state, and how the store is.

    It also shows the sizes of the files, SQLite's version, and the limits in force.
    """
    with session.store() as store, printer.progress("counting") as progress:
        summarize = maintenance.summary_excerpts if printer.is_table else maintenance.summary
        found: Any = summarize(store, progress)
    if printer.is_json:
        printer.json(_as_object(found))
    elif printer.is_table:
        _show(found, printer)
    else:
        printer.lines(_lines(found))
    return DONE


@click.command("list", short_help="Pairs, their states, and since when they are in them.")
@with_selection
@click.option("--limit", type=click.IntRange(min=0), help="At most so many; 0 for all.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(("sender", "module", "state", "since")),
    default="sender",
    show_default=True,
)
@click.option("--reverse", "is_reversed", is_flag=True, help="The last first.")
@click.option("--wide", "is_wide", is_flag=True, help="Cut nothing, however long a line gets.")
@with_session
def list_rows(
    session: Session,
    printer: Printer,
    *,
    selection: Selection,
    limit: int | None,
    order: Order,
    is_reversed: bool,
    is_wide: bool,
) -> int:
    """List pairs, their states, and since when they are in them.

    A terminal shows the first 1,000, unless --limit says otherwise, and a line for each. Where a
    name has no room, its line shows both ends, and how much there is between them.
    """
    is_cut = printer.is_table and limit is None
    is_whole = is_wide or not printer.is_table
    is_streamed = is_whole or not is_cut
    read: Any = maintenance.rows if is_whole else maintenance.excerpts
    show: Any = printer.rows if is_whole else printer.tables
    with session.store() as store, ExitStack() as bar:
        progress = bar.enter_context(printer.progress("reading", is_printing=is_streamed))
        found = read(
            store,
            selection,
            order=order,
            is_reversed=is_reversed,
            limit=_SCREEN_ROWS + 1 if is_cut else limit or None,
            progress=progress,
        )
        if not is_streamed:
            found = iter(list(found))
            bar.close()  # before the table is printed
        printed = show(itertools.islice(found, _SCREEN_ROWS if is_cut else None))
        is_more = next(found, None) is not None
    if is_more:
        printer.note(f"these are the first {_SCREEN_ROWS:,}; --limit 0 shows all")
    if not printed:
        printer.note("nothing matched")
    return DONE if printed else NOTHING


@click.command("get", short_help="The state of one pair.")
@click.argument("module", type=key, shell_complete=modules)
@click.argument("sender", type=key)
@with_session
def get(session: Session, printer: Printer, module: object, sender: object) -> int:
    """Show the state of one pair. A script gets the state alone.

    Unlike the application's get, it stores nothing if the pair is unknown.
    """
    with session.store() as store:
        found = maintenance.find(store, module, sender)
        if found is None:
            printer.note(_nothing_known(store, module, sender))
            if printer.is_json:
                printer.json(None)
            return NOTHING
    if printer.is_json:
        printer.json(as_object(found))
    elif printer.is_table:
        printer.tables([RowExcerpt.of(found)])
    else:
        print(format_state(found.state))
    return DONE


@click.command("check", short_help="What may be wrong with the store, and how to mend it.")
@with_session
def check(session: Session, printer: Printer) -> int:
    """Look for all that may be wrong with the store, and say how to mend it.

    It checks integrity, schema, rows that nobody can read, hard links, permissions, the file
    system, which process holds the lock, and files that were left behind. It changes nothing. The
    exit status is 1 if there is a finding.
    """
    with printer.progress("checking") as progress:
        findings = maintenance.check(
            session.path, progress=lambda _what, done, of: progress(done, of)
        )
    if printer.is_json:
        printer.json([dataclasses.asdict(finding) for finding in findings])
    elif printer.is_table:
        for finding in findings:
            subject = (f"{finding.subject}: ", "bold red")
            for line in (
                Text.assemble(subject, one_line(finding.problem)),
                Text(f"    {one_line(finding.path)}", style="dim"),
                Text(f"    {finding.remedy}"),
            ):
                # Long lines are left to the terminal to break, so that a remedy copied from it has
                # no line end within.
                printer.console.print(line, soft_wrap=True)
        if not findings:
            printer.console.print("All is well.")
    else:
        printer.lines((each.subject, each.path, each.problem, each.remedy) for each in findings)
    return NOTHING if findings else DONE


@click.command("datasette-metadata", short_help="The metadata with which Datasette shows a store.")
def datasette_metadata() -> int:
    """Print the metadata with which Datasette shows a store, in YAML.

    It describes the columns, and has three questions: which senders are in ERROR, how many are in
    which state, and all states of some senders. Give it to Datasette's --metadata. This command
    needs no --store.
    """
    from importlib.resources import files  # no other command waits for this import

    folder = __name__.rpartition(".")[0]  # not __package__, which Python 3.15 need not set
    metadata = files(folder).joinpath("datasette.yaml")
    print(metadata.read_text(encoding="utf-8"), end="")
    return DONE


def _nothing_known(store: ExistingStorage, module: object, sender: object) -> str:
    # Somebody may have meant a number or None as a text, which has to stand in quotes.
    texts = [key if isinstance(key, str) else format_key(key) for key in (module, sender)]
    if texts != [module, sender] and maintenance.find(store, *texts) is not None:
        return f"nothing matched, but the texts are known: {' '.join(map(repr, texts))} in quotes"
    return "nothing matched: the pair is unknown, and its next mail starts at START"


def _show(found: Summary[CountExcerpt], printer: Printer) -> None:
    console = printer.console
    console.print(one_line(found.path), soft_wrap=True)
    console.print(counts_table(found.states, console))
    oldest = "" if found.oldest_ms is None else f", the oldest since {local_time(found.oldest_ms)}"
    console.print(f"{found.pairs:,} pairs of {found.senders:,} senders{oldest}.")
    sizes = ", ".join(
        f"{path.removeprefix(found.path) or 'database'} {amount(size)}"
        for path, size in found.files.bytes.items()
    )
    console.print(f"Files: {sizes}.")
    limits = found.limits
    console.print(
        f"Limits, where boot.py gives no others: a call waits {limits.timeout_seconds:g} s for "
        f"writers; a process keeps {limits.cache_pairs:,} pairs in memory; writes are "
        f"{limits.synchronous}; new files have mode {limits.file_mode}. Always: other tools' edits "
        f"are seen within {limits.look_ms} ms; the log is copied into the database after "
        f"{limits.checkpoint_pages:,} pages and cut back to {amount(limits.log_bytes)}."
    )
    console.print(f"SQLite {found.sqlite_version}.")
    if found.has_wal_reset_race:
        console.print(Text(f"{_RACE}", style="yellow"))


def _lines(found: Summary[StateCount]) -> list[tuple[object, ...]]:
    return [
        *count_lines(found.states),
        ("pairs", found.pairs),
        ("senders", found.senders),
        ("oldest", "" if found.oldest_ms is None else found.oldest_ms),
        *(("file", path, size) for path, size in found.files.bytes.items()),
        ("sqlite", found.sqlite_version),
        ("wal_reset_race", str(found.has_wal_reset_race).lower()),
        *(("limit", name, value) for name, value in found.limits._asdict().items()),
    ]


def _as_object(found: Summary[StateCount]) -> dict[str, object]:
    return {
        "path": found.path,
        "states": counts_as_objects(found.states),
        "pairs": found.pairs,
        "senders": found.senders,
        "oldest": found.oldest_ms,
        "files": found.files.bytes,
        "sqlite": found.sqlite_version,
        "wal_reset_race": found.has_wal_reset_race,
        "limits": found.limits._asdict(),
    }
