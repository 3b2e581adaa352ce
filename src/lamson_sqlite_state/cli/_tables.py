"""Tables on a terminal: each row has one line, however narrow the screen or long the address."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.filesize import pick_unit_and_suffix
from rich.table import Table
from rich.text import Text

from ..maintenance import CountExcerpt, Excerpt, RowExcerpt

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))

# Where a text is cut, its beginning gets this part of the room. Most modules begin alike, so of
# them the end tells more.
_BEGIN: Final = 0.6
_BEGIN_OF_MODULE: Final = 0.25

# Few addresses or names of modules are longer.
_ORDINARY: Final = 40

# A narrower text has no room to say how much is left out.
_LEAST_WITH_COUNT: Final = 24

# Between two columns.
_GAP: Final = 3


class _Column(NamedTuple):
    """A column.

    Attributes:
        title: above it.
        least: so many cells, if its texts are as long; fewer only where nothing else helps.
        is_number: whether its texts stand at the right.
    """

    title: str
    least: int
    is_number: bool = False


# Where there is no room for all columns, the last is left out, and then the last but one.
_ROWS: Final = (
    _Column("module", 12),
    _Column("sender", 28),
    _Column("state", 10),
    _Column("since", 19),
    _Column("for", 5, is_number=True),
)
_COUNTS: Final = (
    _Column("module", 12),
    _Column("state", 10),
    _Column("senders", 7, is_number=True),
    _Column("oldest since", 19),
    _Column("for", 5, is_number=True),
)


def rows_table(rows: Iterable[RowExcerpt], console: Console) -> Table:
    """Lay out rows of a store."""
    return _table(_ROWS, [(*row[:3], *_times(row.since)) for row in rows], console)


def counts_table(counts: Iterable[CountExcerpt], console: Console) -> Table:
    """Lay out how many pairs are in which state. A module is named once, in its first line."""
    cells: list[tuple[Excerpt, ...]] = []
    last: Excerpt | None = None
    for count in counts:
        module = Excerpt("") if count.module == last else count.module
        pairs = Excerpt(f"{count.pairs:,}")
        cells.append((module, count.state, pairs, *_times(count.oldest_ms)))
        last = count.module
    return _table(_COUNTS, cells, console)


def _times(since_ms: int) -> tuple[Excerpt, Excerpt]:
    now_ms = time.time_ns() // 1_000_000
    return Excerpt(local_time(since_ms)), Excerpt(_age(now_ms - since_ms))


def shortened(excerpt: Excerpt, width: int, begin: float = _BEGIN) -> str:
    """Return a text that fits into so many cells: whole, or its two ends.

    Between the ends stands how much is left out: in characters if the text was read whole, else in
    bytes. A character counts for one cell at least, because terminals differ in how they show a
    combining one.
    """
    text, end, left_out_bytes = excerpt
    if not left_out_bytes and _cells(text, width) <= width:
        return text
    end = end or text
    most = amount(left_out_bytes) if left_out_bytes else f"{len(text):,}"
    has_count = width >= _LEAST_WITH_COUNT
    room = max(0, width - (len(most) + 2 if has_count else 1))
    first = _fitting(text, round(room * begin))
    last = _fitting(reversed(end), room - _cells(first, room))[::-1]
    if not has_count:
        return f"{first}…{last}"
    if not left_out_bytes:
        most = f"{len(text) - len(first) - len(last):,}"
    return f"{first}…{most}…{last}"


def local_time(since_ms: int) -> str:
    """Return a time as a local clock showed it."""
    try:
        return datetime.fromtimestamp(since_ms / 1000).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006
    except (ValueError, OverflowError, OSError):
        return str(since_ms)


def amount(size: int) -> str:
    """Return a size in bytes in its largest binary unit."""
    unit, name = pick_unit_and_suffix(size, ["bytes", "KiB", "MiB", "GiB"], 1024)
    return f"{size / unit:,.{0 if unit == 1 else 1}f} {name}"


def _age(ms: int) -> str:
    seconds = ms // 1000
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size:,} {unit}"
    return "now" if seconds >= 0 else "in the future"


def _table(
    columns: Sequence[_Column], rows: Sequence[Sequence[Excerpt]], console: Console
) -> Table:
    if console.options.ascii_only:
        rows = [[_ascii(cell) for cell in row] for row in rows]
    room = console.width
    natural = [
        max([len(column.title), *(_natural(row[number], room) for row in rows)])
        for number, column in enumerate(columns)
    ]
    widths = _widths(columns, natural, room)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, width in zip(columns, widths, strict=False):
        table.add_column(
            column.title,
            width=width,
            no_wrap=True,
            overflow="crop",
            justify="right" if column.is_number else "left",
        )
    for row in rows:
        table.add_row(*map(_text, columns, row, widths))
    return table


def _text(column: _Column, cell: Excerpt, width: int) -> Text:
    begin = _BEGIN_OF_MODULE if column.title == "module" else _BEGIN
    is_error = column.title == "state" and cell.begin == "ERROR"
    return Text(shortened(cell, width, begin), style="bold red" if is_error else "")


def _widths(columns: Sequence[_Column], natural: Sequence[int], room: int) -> list[int]:
    """Return how many cells each column gets, without the last columns if there is no room."""

    def missing(widths: Sequence[int]) -> int:
        return sum(widths) + _GAP * len(widths) - 1 - room

    least = [min(column.least, cells) for column, cells in zip(columns, natural, strict=True)]
    ordinary = [
        min(max(_ORDINARY, each), cells) for each, cells in zip(least, natural, strict=True)
    ]
    if missing(ordinary) > 0:
        # The age goes before an ordinary name is cut, because the time beside it says the same.
        least.pop()
    if missing(least) > 0:
        least.pop()
    widths = list(natural[: len(least)])
    for _ in range(missing(widths)):
        # The column with most cells above its least gives one; if none has, the fullest.
        surplus = [
            (max(0, width - few), width / few) for width, few in zip(widths, least, strict=True)
        ]
        most = surplus.index(max(surplus))
        widths[most] = max(1, widths[most] - 1)
    return widths


def _natural(cell: Excerpt, most: int) -> int:
    return most if cell.left_out_bytes else min(most, _cells(cell.begin, most))


def _cells(text: str, enough: int) -> int:
    """Return how many cells a text takes, or some more than enough."""
    return sum(_width(each) for each in text[: enough + 1])


def _width(character: str) -> int:
    return max(1, cell_len(character))


def _fitting(characters: Iterable[str], room: int) -> str:
    taken: list[str] = []
    for each in characters:
        room -= _width(each)
        if room < 0:
            break
        taken.append(each)
    return "".join(taken)


def _ascii(cell: Excerpt) -> Excerpt:
    begin, end = (each.encode("ascii", "backslashreplace").decode() for each in cell[:2])
    return Excerpt(begin, end, cell.left_out_bytes)
