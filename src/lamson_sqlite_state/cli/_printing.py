"""Prints results: as tables on a terminal, else as lines or JSON that a script can read."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from ..keys.rows import Row, format_key, format_state
from ..maintenance import RowExcerpt, StateCount
from ..sqlite.bulk.scan import silent
from ..transfer.json_lines import as_object, json_key, printable_json
from ._tables import local_time, rows_table

# So many rows are laid out as one table, so that its first line need not wait for all of them.
_TABLE_ROWS: Final = 1_000

# Work that is done sooner shows no bar.
_BAR_DELAY_SECONDS: Final = 0.3


class Printer:
    """Where a command's results go, and in which form.

    Args:
        is_json: whether JSON was asked for.

    Attributes:
        is_json: the same.
        is_table: whether the results go to a terminal, as tables.
        console: prints the tables.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._is_on_terminal = sys.stdout.isatty()
        self.is_table = self._is_on_terminal and not is_json
        # A terminal that lacks a letter gets Python's escape for it, which JSON does not know.
        self._is_ascii = self._is_on_terminal and sys.stdout.encoding.lower() != "utf-8"
        self.console = _console()

    def json(self, found: object) -> None:
        """Print anything as JSON."""
        print(self._dumped(found, indent=2))

    def lines(self, rows: Iterable[Sequence[object]]) -> None:
        """Print rows for scripts, with tabs between the cells."""
        for row in rows:
            print("\t".join(one_line(str(cell)) for cell in row))

    def result(self, fields: Mapping[str, Any], sentence: str) -> None:
        """Print what a command has done: a sentence for people, or its numbers by name."""
        if self.is_json:
            self.json(fields)
        elif self.is_table:
            self.console.print(one_line(sentence))
        else:
            self.lines(fields.items())

    def rows(self, rows: Iterable[Row]) -> int:
        """Print whole rows of a store as they come, and return how many there were."""
        printed = 0
        for printed, row in enumerate(rows, 1):
            if self.is_json:
                before = "[" if printed == 1 else ","
                print(f"{before}\n  {self._dumped(as_object(row))}", end="")
            elif self.is_table:
                module, sender, state, _ = row_cells(row)
                # The cell that may be very long stands last.
                print(f"{local_time(row.since)}  {state:12}  {module:28}  {sender}")
            else:
                self.lines([row_cells(row)])
        if self.is_json:
            print("\n]" if printed else "[]")
        return printed

    def tables(self, rows: Iterable[RowExcerpt]) -> int:
        """Print tables of rows, a line for each, and return how many there were."""
        printed = 0
        source = iter(rows)
        while some := list(islice(source, _TABLE_ROWS)):
            self.console.print(rows_table(some, self.console))
            printed += len(some)
        return printed

    def note(self, text: str) -> None:
        """Say something to people, beside the results."""
        print(f"lamson-state: {one_line(text)}", file=sys.stderr)

    @contextmanager
    def progress(
        self, title: str, *, is_printing: bool = False
    ) -> Iterator[Callable[[int, int | None], None]]:
        """Give a function that shows how far a long work has come: on stderr, if on a terminal.

        Args:
            title: names the work.
            is_printing: whether the work prints results meanwhile. Where these go to a terminal,
                no bar is shown, because it would be drawn across them.
        """
        console = _console(stderr=True)
        if not console.is_interactive or (is_printing and sys.stdout.isatty()):
            yield silent
            return
        columns = "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        bar = Progress(*columns, console=console, transient=True)
        task = bar.add_task(title, total=None)
        show_from = time.monotonic() + _BAR_DELAY_SECONDS

        def advance(done: int, of: int | None) -> None:
            bar.update(task, completed=done, total=of)
            if time.monotonic() > show_from:
                bar.start()  # does nothing to a bar that is shown already

        try:
            yield advance
        finally:
            bar.stop()

    def _dumped(self, found: object, indent: int | None = None) -> str:
        text = json.dumps(found, ensure_ascii=self._is_ascii, indent=indent)
        return printable_json(text) if self._is_on_terminal else text


def row_cells(row: Row) -> tuple[str, str, str, int]:
    """Return a row as a script gets it."""
    return format_key(row.module), format_key(row.sender), format_state(row.state), row.since


def count_lines(counts: Iterable[StateCount]) -> Iterator[tuple[object, ...]]:
    """Yield how many pairs are in which state, as a script gets it."""
    for each in counts:
        module, state = format_key(each.module), format_state(each.state)
        yield "state", module, state, each.pairs, each.oldest_ms


def counts_as_objects(counts: Iterable[StateCount]) -> list[dict[str, object]]:
    """Return how many pairs are in which state, for JSON."""
    return [
        {
            "module": json_key(each.module),
            "state": each.state,
            "pairs": each.pairs,
            "oldest": each.oldest_ms,
            "newest": each.newest_ms,
        }
        for each in counts
    ]


def one_line(text: str) -> str:
    """Return a text with escapes for line ends and for all that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _console(*, stderr: bool = False) -> Console:
    # What a sender wrote is shown, and never taken for Rich's markup.
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
