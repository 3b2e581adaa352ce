"""Tables on a terminal: one line a row, however narrow it is and however long an address."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..maintenance import CountExcerpt
from ..maintenance.excerpts import Excerpt, RowExcerpt

_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))

# Where a text is cut, its beginning gets so much of the room. Modules mostly begin alike.
_BEGIN: Final = 0.6
_BEGIN_OF_MODULE: Final = 0.25

# Few addresses or names of modules are longer.
_ORDINARY: Final = 40

# Narrower, there is no room to say how much is left out.
_LEAST_WITH_COUNT: Final = 24

_GAP: Final = 3
"""Between two columns, and around them."""


class _Column(NamedTuple):
    """A column.

    Attributes:
        title: above it.
        least: so many cells, if its texts are as long; fewer only where nothing else helps.
        leaves: whether it is left out where there is no room for all: a higher number goes first.
        right: whether its texts stand at the right.
    """

    title: str
    least: int
    leaves: int = 0
    right: bool = False


_ROWS: Final = (
    _Column("module", 12),
    _Column("sender", 28),
    _Column("state", 10),
    _Column("since", 19, leaves=1),
    _Column("for", 5, leaves=2, right=True),
)
_COUNTS: Final = (
    _Column("module", 12),
    _Column("state", 10),
    _Column("senders", 7, right=True),
    _Column("oldest since", 19, leaves=1),
    _Column("for", 5, leaves=2, right=True),
)


def rows_table(rows: Iterable[RowExcerpt], console: Console) -> Table:
    """Lay out rows of a store."""
    now_ms = time.time_ns() // 1_000_000
    return _table(
        _ROWS,
        [
            (*row[:3], Excerpt(local_time(row.since)), Excerpt(age(now_ms - row.since)))
            for row in rows
        ],
        console,
    )


def counts_table(counts: Iterable[CountExcerpt], console: Console) -> Table:
    """Lay out how many pairs are in which state."""
    now_ms = time.time_ns() // 1_000_000
    cells: list[tuple[Excerpt, ...]] = []
    last: Excerpt | None = None
    for count in counts:
        oldest = local_time(count.oldest_ms), age(now_ms - count.oldest_ms)
        module = Excerpt("") if count.module == last else count.module
        cells.append((module, count.state, *map(Excerpt, (f"{count.pairs:,}", *oldest))))
        last = count.module
    return _table(_COUNTS, cells, console)


def shortened(excerpt: Excerpt, width: int, begin: float = _BEGIN) -> str:
    """Return a text for so many cells: whole, or its two ends and how much is between them.

    A character counts for one cell at least, so that no terminal needs more, whatever it makes of
    combining ones.
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


def age(ms: int) -> str:
    """Return a duration as people say it, by its largest unit."""
    seconds = ms // 1000
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size:,} {unit}"
    return "now" if seconds >= 0 else "in the future"


def local_time(since_ms: int) -> str:
    """Return a time as the clock on the wall had it."""
    try:
        return datetime.fromtimestamp(since_ms / 1000).strftime("%Y-%m-%d %H:%M:%S")  # noqa: DTZ006
    except (ValueError, OverflowError, OSError):
        return str(since_ms)


def amount(size: int) -> str:
    """Return a size in bytes as people say it."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


def _table(
    columns: Sequence[_Column], rows: Sequence[Sequence[Excerpt]], console: Console
) -> Table:
    if console.options.ascii_only:
        rows = [[_ascii(cell) for cell in row] for row in rows]
    natural = [
        max([len(column.title), *(_natural(row[number], console.width) for row in rows)])
        for number, column in enumerate(columns)
    ]
    widths = _widths(columns, natural, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, width in widths.items():
        column = columns[number]
        justify: Literal["right", "left"] = "right" if column.right else "left"
        title = shortened(Excerpt(column.title), width)
        table.add_column(title, width=width, no_wrap=True, overflow="crop", justify=justify)
    for row in rows:
        table.add_row(*(_text(columns[each], row[each], width) for each, width in widths.items()))
    return table


def _text(column: _Column, cell: Excerpt, width: int) -> Text:
    begin = _BEGIN_OF_MODULE if column.title == "module" else _BEGIN
    is_error = column.title == "state" and cell.begin == "ERROR"
    return Text(shortened(cell, width, begin), style="bold red" if is_error else "")


def _widths(columns: Sequence[_Column], natural: Sequence[int], room: int) -> dict[int, int]:
    """Return the columns that there is room for, and how many cells each has."""
    kept = list(range(len(columns)))

    def missing(widths: Iterable[int]) -> int:
        return sum(widths) + _GAP * len(kept) - 1 - room

    least = [min(*both) for both in zip(natural, (each.least for each in columns), strict=True)]
    optional = [each for each in kept if columns[each].leaves]
    optional.sort(key=lambda each: columns[each].leaves, reverse=True)
    # How long is said by since when: it goes before an ordinary name is cut.
    if missing(map(min, natural, (max(_ORDINARY, each) for each in least))) > 0:
        kept.remove(optional.pop(0))
    while optional and missing(least[each] for each in kept) > 0:
        kept.remove(optional.pop(0))
    widths = {each: natural[each] for each in kept}
    for _ in range(missing(widths.values())):
        # What has more than its least gives first; then each gives its part.
        most = max(
            kept, key=lambda each: (max(0, widths[each] - least[each]), widths[each] / least[each])
        )
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
