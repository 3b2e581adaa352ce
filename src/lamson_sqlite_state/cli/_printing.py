"""How results are shown: tables on a terminal, else lines or JSON that a script can read."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..keys.rows import Row, format_key, format_state
from ..maintenance import StateCount
from ..maintenance.excerpts import RowExcerpt
from ..sqlite.bulk.scan import silent
from ..transfer.json_lines import as_object, json_key, printable_json
from ._tables import local_time, rows_table

# Of rows, so that a table can be laid out before all of them are read.
_TABLE_ROWS: Final = 1_000

# Work that is done sooner shows no bar.
_PATIENCE_SECONDS: Final = 0.3


class Printer:
    """Where a command's results go, and in which form.

    Args:
        is_json: whether JSON was asked for.

    Attributes:
        is_json: the same.
        is_table: whether people are to read it, on a terminal.
        console: for tables.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._is_on_terminal = sys.stdout.isatty()
        self.is_table = self._is_on_terminal and not is_json
        # A letter that a terminal lacks is printed with an escape that JSON does not know.
        self._is_ascii = self._is_on_terminal and sys.stdout.encoding.lower() != "utf-8"
        self.console = Console(highlight=False, markup=False, emoji=False)

    def json(self, found: object) -> None:
        """Print anything as JSON."""
        print(self._dumped(found, indent=2))

    def lines(self, rows: Iterable[Sequence[object]]) -> None:
        """Print rows for scripts, their cells with tabs between them."""
        for row in rows:
            print("\t".join(one_line(str(cell)) for cell in row))

    def result(self, fields: Mapping[str, Any], sentence: str) -> None:
        """Print what a command has done: a sentence, or its numbers by name."""
        if self.is_json:
            self.json(fields)
        elif self.is_table:
            self.console.print(one_line(sentence))
        else:
            self.lines(fields.items())

    def rows(self, rows: Iterable[Row]) -> int:
        """Print whole rows of a store, as they come, and return how many there were."""
        printed = 0

        def counted() -> Iterator[Row]:
            nonlocal printed
            for row in rows:
                printed += 1
                yield row

        if self.is_json:
            self._json_array(counted())
        elif self.is_table:
            # What may be very long stands last.
            for module, sender, state, since in counted():
                names = f"{format_state(state):12}  {format_key(module):28}  {format_key(sender)}"
                print(f"{local_time(since)}  {names}")
        else:
            self.lines(
                (format_key(module), format_key(sender), format_state(state), since)
                for module, sender, state, since in counted()
            )
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
        self, what: str, *, is_printing: bool = False
    ) -> Iterator[Callable[[int, int | None], None]]:
        """Show how far a long work has come, on stderr, if that is a terminal.

        Args:
            what: the work.
            is_printing: whether it prints its results meanwhile. On a terminal they would cross.
        """
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        if not console.is_terminal or (is_printing and sys.stdout.isatty()):
            yield silent
            return
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        task = bar.add_task(what, total=None)
        start = time.monotonic()
        is_shown = False

        def advance(done: int, of: int | None) -> None:
            nonlocal is_shown
            if not is_shown and time.monotonic() - start > _PATIENCE_SECONDS:
                bar.start()
                is_shown = True
            bar.update(task, completed=done, total=of)

        try:
            yield advance
        finally:
            if is_shown:
                bar.stop()

    def _json_array(self, rows: Iterator[Row]) -> None:
        first = next(rows, None)
        if first is None:
            print("[]")
            return
        before = "[\n"
        for row in chain((first,), rows):
            sys.stdout.write(f"{before}  {self._dumped(as_object(row))}")
            before = ",\n"
        print("\n]")

    def _dumped(self, found: object, indent: int | None = None) -> str:
        text = json.dumps(found, ensure_ascii=self._is_ascii, indent=indent)
        return printable_json(text) if self._is_on_terminal else text


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
    """Return a text as it can be printed, without line ends and what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
