"""Reads and writes rows as CSV, for people and their spreadsheets."""

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
from ._row_error import LATEST_MS, REQUIRED_FIELDS, bad_row, bad_since

# "time" is "since" in UTC, for people. It is not read back.
_COLUMNS: Final = ("module", "sender", "state", "since", "time")

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - with a time zone, isoformat() would append +00:00
_MILLISECOND: Final = timedelta(milliseconds=1)

_BLOCK_ROWS: Final = 1_000

# In characters. The csv module's own limit is 131,072, and a sender may be longer: its literal has
# six characters for each byte that could not be decoded.
_LONGEST_CELL: Final = 16 * 1024 * 1024

# Some spreadsheets separate cells by semicolons, but leave cells in quotes whole.
_HAS_TO_BE_QUOTED: Final = re.compile(r'[",;\r\n]').search


def write_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line with the names of the columns, then a line for each row, as RFC 4180 has them.

    Keys are written as people read them: a key that is no plain text as a Python literal. A text
    that a spreadsheet would take for a formula, with whatever separator, is written as a literal
    too, because anybody can send mail.
    """
    yield ",".join(_COLUMNS) + "\r\n"
    for module, sender, state, since in rows:
        # Put together by hand, because csv.writer takes twice as long, and quotes no semicolon.
        yield (
            f"{_word_cell(module) if type(module) is str else _key_cell(module)},"
            f"{sender if type(sender) is str and is_plain_address(sender) else _key_cell(sender)},"
            f"{_state_cell(state)},{since},{format_utc(since)}\r\n"
        )


def format_utc(since_ms: int) -> str:
    """Return a time (Unix time in ms) in the form of ISO 8601, in UTC, with milliseconds."""
    if not 0 <= since_ms <= LATEST_MS:
        return str(since_ms)
    # Not `fromtimestamp`, whose seconds are a float: too coarse for milliseconds of the year 9999.
    return f"{(_EPOCH + since_ms * _MILLISECOND).isoformat('T', 'milliseconds')}Z"


def _cell(text: str) -> str:
    if not _HAS_TO_BE_QUOTED(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _key_cell(key: object) -> str:
    return _cell(format_key(key, is_for_spreadsheets=True))


# Modules and states are few, so they are cached. Senders are too many. Keys that are no text cannot
# be cached, because a cache takes 1 and True for one key.
_word_cell: Final = functools.lru_cache(maxsize=4096)(_key_cell)


@functools.lru_cache(maxsize=4096)
def _state_cell(state: str) -> str:
    return _cell(format_state(state, is_for_spreadsheets=True))


def read_csv(file: IO[bytes], name: str) -> Iterator[list[RawRow]]:
    """Yield the rows of a file of CSV, some at a time, as `read_json_lines` does.

    The first line names the columns, in any order; columns that a row does not have are ignored. A
    line whose cells are all empty is skipped: `write_csv` writes an empty key or state in quotes.
    The csv module's limit (`csv.field_size_limit`) is raised, because cells may be long.
    """
    now_ms = time.time_ns() // 1_000_000
    # surrogateescape, so that a line that is no UTF-8 is refused by its number, and not the block.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    found: list[RawRow] = []
    if (
        csv.field_size_limit() < _LONGEST_CELL
    ):  # the whole process has one limit, so it is never lowered
        csv.field_size_limit(_LONGEST_CELL)
    try:
        columns = _columns(next(reader, []))
        for cells in reader:
            if any(map(str.strip, cells)):  # neither an empty line nor a spreadsheet's empty row
                found.append(_csv_row(cells, columns, now_ms))
            if len(found) == _BLOCK_ROWS:
                yield found
                found = []
    except (ValueError, TypeError, csv.Error, OSError) as error:
        if found:
            yield found
        if isinstance(error, OSError):  # the file could not be read
            raise
        raise bad_row(max(1, reader.line_num), error, name) from error
    finally:
        text.detach()
    if found:
        yield found


_Columns: TypeAlias = tuple[int, int, int, int | None, int]
"""The places of sender, module, state and since in a line, and the number of all columns."""


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
            raise bad_since(text)
    return (
        # A plain address is its own column value.
        sender if is_plain_address(sender) else _key_of_cell(sender),
        _module_of_cell(cells[module_at]),
        _state_of_cell(cells[state_at]),
        since,
    )


def _key_of_cell(cell: str) -> str | bytes:
    return column_value(parse_key(_decoded(cell))[0])


_module_of_cell: Final = functools.lru_cache(maxsize=4096)(_key_of_cell)


@functools.lru_cache(maxsize=4096)
def _state_of_cell(cell: str) -> str:
    return checked_state(parse_state(_decoded(cell)))


def _decoded(cell: str) -> str:
    if not cell.isascii():
        try:
            cell.encode()
        except UnicodeEncodeError as error:  # a surrogate stands for a byte that is no UTF-8
            raise ValueError("it is no UTF-8") from error
    return cell
