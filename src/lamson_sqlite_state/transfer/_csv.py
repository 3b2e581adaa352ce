"""Rows as CSV, for people and their spreadsheets."""

import csv
import functools
import io
import re
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import IO, Final, TypeAlias

from ..keys.columns import checked_state, column_value
from ..keys.rows import (
    RawRow,
    Row,
    format_key,
    format_state,
    is_plain_address,
    parse_key,
    parse_state,
)
from ._row_error import LATEST_MS, REQUIRED_FIELDS, bad_row

# The last is when that was, in UTC. It is for people, and nobody reads it back.
_COLUMNS: Final = ("module", "sender", "state", "since", "time")

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - with a time zone, it would end in +00:00
_MILLISECOND: Final = timedelta(milliseconds=1)

_BLOCK_ROWS: Final = 1_000

# The csv module has 131,072 characters, and a sender may be longer: of a byte that could not be
# decoded, its literal has six.
_LONGEST_CELL: Final = 16 * 1024 * 1024

# The semicolon is a separator to some, who keep to quotes.
_HAS_TO_BE_QUOTED: Final = re.compile(r'[",;\r\n]').search


def write_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line with the names of the columns, and then each row, as RFC 4180 has it.

    Keys stand as people read them: one that is no plain text as a Python literal. So does what
    a spreadsheet would take for a formula, by whatever separator it goes, as anybody can send mail.
    """
    yield ",".join(_COLUMNS) + "\r\n"
    for module, sender, state, since in rows:
        # Put together by hand, as csv.writer takes twice as long and puts no semicolon in quotes.
        yield (
            f"{_word_cell(module) if type(module) is str else _key_cell(module)},"
            f"{sender if type(sender) is str and is_plain_address(sender) else _key_cell(sender)},"
            f"{_state_cell(state)},{since},{utc(since)}\r\n"
        )


def utc(since_ms: int) -> str:
    """Return a time as ISO 8601 has it, in UTC, with milliseconds."""
    if not 0 <= since_ms <= LATEST_MS:
        return str(since_ms)
    # Not `fromtimestamp`: in seconds, a float, the last millisecond of the year 9999 is another.
    return f"{(_EPOCH + since_ms * _MILLISECOND).isoformat('T', 'milliseconds')}Z"


def _cell(text: str) -> str:
    if not _HAS_TO_BE_QUOTED(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _key_cell(key: object) -> str:
    return _cell(format_key(key, is_for_spreadsheets=True))


# Modules and states are few. Of senders there is no end, and of other keys 1 is True to a cache.
@functools.lru_cache(maxsize=4096)
def _word_cell(module: str) -> str:
    return _key_cell(module)


@functools.lru_cache(maxsize=4096)
def _state_cell(state: str) -> str:
    return _cell(format_state(state, is_for_spreadsheets=True))


def read_csv(file: IO[bytes], name: str) -> Iterator[list[RawRow]]:
    """Yield the rows of a file of CSV, some at a time: as `read_json_lines`.

    The first line names the columns, in any order; others than a row's are not looked at. A line
    whose cells are all empty is no row: an empty key or state stands in quotes. For long cells, the
    csv module's limit (`csv.field_size_limit`) is raised.
    """
    now_ms = time.time_ns() // 1_000_000
    # What is no UTF-8 is refused in its line, and not where a block of the file begins.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    found: list[RawRow] = []
    if csv.field_size_limit() < _LONGEST_CELL:  # of all in this process: it is only ever raised
        csv.field_size_limit(_LONGEST_CELL)
    try:
        columns = _columns(next(reader, []))
        for cells in reader:
            if any(map(str.strip, cells)):  # else it is an empty line, or a spreadsheet's empty row
                found.append(_csv_row(cells, columns, now_ms))
            if len(found) == _BLOCK_ROWS:
                yield found
                found = []
    except (ValueError, TypeError, csv.Error, OSError) as error:
        if found:
            yield found
        if isinstance(error, OSError):  # of the file
            raise
        raise bad_row(max(1, reader.line_num), error, name) from error
    finally:
        text.detach()
    if found:
        yield found


_Columns: TypeAlias = tuple[int, int, int, int | None, int]
"""Where in a line sender, module, state and since stand, and how many columns there are in all."""


def _columns(names: list[str]) -> _Columns:
    for name in sorted(REQUIRED_FIELDS):
        if name not in names:
            raise ValueError(f"the first line has to name the columns, but has no {name!r}")
    since = names.index("since") if "since" in names else None
    return names.index("sender"), names.index("module"), names.index("state"), since, len(names)


def _csv_row(cells: list[str], columns: _Columns, now_ms: int) -> RawRow:
    sender_at, module_at, state_at, since_at, width = columns
    if len(cells) != width:
        raise ValueError(f"it has {len(cells)} cells where the first line has {width}")
    sender, since = cells[sender_at], now_ms
    if since_at is not None and (text := cells[since_at]):
        since = int(text) if text.isascii() and text.isdigit() else -1
        if not 0 <= since <= LATEST_MS:
            raise ValueError(f"'since' is a number of milliseconds of Unix time, not {text!r:.40}")
    return (
        # What is plain stands in its column as it is.
        sender if is_plain_address(sender) else _csv_key(sender),
        _csv_module(cells[module_at]),
        _csv_state_of(cells[state_at]),
        since,
    )


def _csv_key(cell: str) -> str | bytes:
    return column_value(parse_key(_decoded(cell))[0])


_csv_module: Final = functools.lru_cache(maxsize=4096)(_csv_key)


@functools.lru_cache(maxsize=4096)
def _csv_state_of(cell: str) -> str:
    return checked_state(parse_state(_decoded(cell)))


def _decoded(cell: str) -> str:
    if not cell.isascii():
        try:
            cell.encode()
        except UnicodeEncodeError as error:  # of a byte that stands there for itself
            raise ValueError("it is no UTF-8") from error
    return cell
