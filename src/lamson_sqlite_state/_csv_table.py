"""Rows as CSV, for people and their spreadsheets."""

import csv
import functools
import io
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, Final, NamedTuple

from ._bad_row import LATEST_MS, REQUIRED_FIELDS, BadRow, reason
from ._keys import checked_state, column_value
from ._row import RawRow, Row, key_of_text, shown_key, shown_state, state_of_text

__all__ = ["csv_lines", "read_csv", "utc"]

# The last is when that was, in UTC. It is for people, and nobody reads it back.
_COLUMNS: Final = ("module", "sender", "state", "since", "time")

_DAY_MS: Final = 86_400_000

_BLOCK_CHARACTERS: Final = 16 * 1024
_BLOCK_ROWS: Final = 1_000


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line with the names of the columns, and then each row, as RFC 4180 has it.

    Keys stand as people read them: one that is no plain text as a Python literal. So does what
    a spreadsheet would take for a formula, as anybody can send a mail.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(_COLUMNS)
    for module, sender, state, since in rows:
        writer.writerow(
            (
                _csv_word(module) if type(module) is str else shown_key(module),
                shown_key(sender, is_for_spreadsheets=True),
                _csv_state(state),
                since,
                utc(since),
            )
        )
        if buffer.tell() > _BLOCK_CHARACTERS:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def utc(since_ms: int) -> str:
    """Return a time as ISO 8601 has it, in UTC, with milliseconds."""
    if not 0 <= since_ms <= LATEST_MS:
        return str(since_ms)
    day, ms = divmod(since_ms, _DAY_MS)
    minutes, ms = divmod(ms, 60_000)
    return f"{_date(day)}T{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}Z"


@functools.lru_cache(maxsize=4096)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * _DAY_MS // 1000, UTC).strftime("%Y-%m-%d")


@functools.lru_cache(maxsize=4096)
def _csv_word(module: str) -> str:
    return shown_key(module, is_for_spreadsheets=True)


_csv_state: Final = functools.lru_cache(maxsize=4096)(shown_state)


def read_csv(file: IO[bytes], name: str) -> Iterator[list[RawRow]]:
    """Yield the rows of a file of CSV, some at a time: as `read_json_lines`.

    The first line names the columns, in any order; others than a row's are not looked at.
    """
    now_ms = time.time_ns() // 1_000_000
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    found: list[RawRow] = []
    try:
        columns = _columns(next(reader, []))
        for cells in reader:
            if not cells:
                continue  # an empty line
            found.append(_csv_row(cells, columns, now_ms))
            if len(found) == _BLOCK_ROWS:
                yield found
                found = []
    except (ValueError, TypeError, csv.Error) as error:  # an undecodable text is a ValueError
        if found:
            yield found
        raise BadRow(f"line {max(1, reader.line_num)}: {reason(error)}", name) from error
    finally:
        text.detach()
    if found:
        yield found


class _Columns(NamedTuple):
    """Where in a line each column stands, and how many there are in all."""

    module: int
    sender: int
    state: int
    since: int | None
    width: int


def _columns(names: list[str]) -> _Columns:
    for name in sorted(REQUIRED_FIELDS):
        if name not in names:
            raise ValueError(f"the first line has to name the columns, but has no {name!r}")
    since = names.index("since") if "since" in names else None
    return _Columns(
        names.index("module"), names.index("sender"), names.index("state"), since, len(names)
    )


def _csv_row(cells: list[str], columns: _Columns, now_ms: int) -> RawRow:
    if len(cells) != columns.width:
        raise ValueError(f"it has {len(cells)} cells where the first line has {columns.width}")
    since = "" if columns.since is None else cells[columns.since]
    if since and not (since.isascii() and since.isdigit() and int(since) <= LATEST_MS):
        raise ValueError(f"'since' is a number of milliseconds of Unix time, not {since!r:.40}")
    return (
        column_value(key_of_text(cells[columns.sender])[0]),
        _csv_module(cells[columns.module]),
        _csv_state_of(cells[columns.state]),
        int(since) if since else now_ms,
    )


@functools.lru_cache(maxsize=4096)
def _csv_module(cell: str) -> str | bytes:
    return column_value(key_of_text(cell)[0])


@functools.lru_cache(maxsize=4096)
def _csv_state_of(cell: str) -> str:
    return checked_state(state_of_text(cell))
