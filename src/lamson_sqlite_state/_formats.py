"""Rows as text: JSON Lines, which lose nothing, and CSV, for people and their spreadsheets.

Everything here goes block by block, as files may be far larger than memory.
"""

import csv
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import IO, Any, Final, Literal, TypeAlias

from ._keys import checked_state, column_value
from ._row import RawRow, Row, key_of_text, shown_key, shown_state, state_of_text
from .errors import StorageError

__all__ = [
    "BadRow",
    "Format",
    "as_object",
    "csv_lines",
    "json_lines",
    "read_csv",
    "read_json_lines",
]

Format: TypeAlias = Literal["jsonl", "csv"]

CSV_COLUMNS: Final = ("module", "sender", "state", "since", "time")
"""The last is for people: when that was, in UTC. Nobody reads it back."""

_BLOCK_BYTES: Final = 256 * 1024

# No row is as long; but a file without line ends, which is no such file, may be.
_LONGEST_LINE_BYTES: Final = 64 * 1024 * 1024

_FIELDS: Final = frozenset({"module", "sender", "state", "since"})
_REQUIRED: Final = frozenset({"module", "sender", "state"})

# SQLite's integers, and times that are later than anything.
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999
_LAST_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class BadRow(StorageError):
    """A file to be imported has something in it that is no row. The message names the line.

    What stood before it may have been imported, and nothing behind it was.
    """


def as_object(row: Row) -> dict[str, object]:
    """Return a row as the object that it is in JSON."""
    return {
        "module": _json_key(row.module),
        "sender": _json_key(row.sender),
        "state": row.state,
        "since": row.since,
    }


def json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each row as an object on a line of its own, with its line end."""
    for module, sender, state, since in rows:
        # Put together by hand, as json.dumps takes three times as long.
        yield (
            f'{{"module": {_json_text(module)}, "sender": {_json_text(sender)},'
            f' "state": {encode_basestring(state)}, "since": {since}}}\n'
        )


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield a line with the names of the columns, and then each row, as RFC 4180 has it.

    Keys stand as people read them: one that is no plain text as a Python literal. So does what
    a spreadsheet would take for a formula, as anybody can send a mail.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow(
            (
                shown_key(row.module, is_for_spreadsheets=True),
                shown_key(row.sender, is_for_spreadsheets=True),
                shown_state(row.state),
                row.since,
                utc(row.since),
            )
        )
        if buffer.tell() > 16 * 1024:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def utc(since_ms: int) -> str:
    """Return a time as ISO 8601 has it, in UTC, with milliseconds."""
    if not 0 <= since_ms <= _LATEST_MS:
        return str(since_ms)
    seconds, ms = divmod(since_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def read_json_lines(file: IO[bytes], name: str) -> Iterator[list[RawRow]]:
    """Yield the rows of a file of JSON Lines, some at a time. A row without ``since`` is from now.

    Args:
        file: open for reading.
        name: of it, for errors.

    Raises:
        BadRow: at the first line that is no row.
        OSError: it cannot be read.
    """
    now_ms = time.time_ns() // 1_000_000
    number = 0
    for lines in _blocks(file, name):
        filled = [line for line in lines if line and not line.isspace()]
        try:
            # Many at once, which takes half the time of one by one.
            found = json.loads(b"[" + b",".join(filled) + b"]")
            if len(found) != len(filled):
                raise ValueError
            yield [_raw_row(each, now_ms) for each in found]
        except (ValueError, TypeError, RecursionError):
            yield list(_one_by_one(lines, number, name, now_ms))
        number += len(lines)


def read_csv(file: IO[bytes], name: str) -> Iterator[list[RawRow]]:
    """Yield the rows of a file of CSV, some at a time: as `read_json_lines`.

    The first line names the columns, in any order; others than a row's are not looked at.
    """
    now_ms = time.time_ns() // 1_000_000
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.DictReader(text, strict=True)
    found: list[RawRow] = []
    try:
        missing = sorted(_REQUIRED - set(reader.fieldnames or ()))
        if missing:
            raise ValueError(f"the first line has to name the columns, but has no {missing[0]!r}")
        for cells in reader:
            found.append(_csv_row(cells, now_ms))
            if len(found) == 1_000:
                yield found
                found = []
    except (ValueError, TypeError, csv.Error) as error:  # an undecodable text is a ValueError
        if found:
            yield found
        raise BadRow(f"line {max(1, reader.line_num)}: {_reason(error)}", name) from error
    finally:
        text.detach()
    if found:
        yield found


def _json_key(key: object) -> object:
    value = column_value(key)
    return value if isinstance(value, str) else {"literal": value.decode("ascii")}


def _json_text(key: object) -> str:
    value = column_value(key)
    if isinstance(value, str):
        return encode_basestring(value)
    return f'{{"literal": {encode_basestring(value.decode("ascii"))}}}'


def _blocks(file: IO[bytes], name: str) -> Iterator[list[bytes]]:
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            raise BadRow("it has lines of more than 64 MiB: it is no file of JSON Lines", name)
        if lines:
            yield lines
    if rest:
        yield [rest]


def _one_by_one(lines: list[bytes], before: int, name: str, now_ms: int) -> Iterator[RawRow]:
    # To find the one that is wrong. Those before it are rows as any.
    for number, line in enumerate(lines, before + 1):
        if line and not line.isspace():
            try:
                yield _raw_row(json.loads(line), now_ms)
            except (ValueError, TypeError, RecursionError) as error:
                raise BadRow(f"line {number}: {_reason(error)}", name) from error


def _raw_row(found: Any, now_ms: int) -> RawRow:
    if type(found) is not dict or not _REQUIRED <= found.keys() <= _FIELDS:
        raise ValueError(_wrong_fields(found))
    module, sender, state = found["module"], found["sender"], found["state"]
    since = found.get("since", now_ms)
    if type(since) is not int or not 0 <= since <= _LATEST_MS:
        raise ValueError(f"'since' is a number of milliseconds of Unix time, not {since!r:.40}")
    if not (type(sender) is type(module) is type(state) is str and state.isascii()):
        state = checked_state(state)
        module, sender = _key_of_json(module, "module"), _key_of_json(sender, "sender")
    elif not (module.isascii() and sender.isascii()):
        module, sender = column_value(module), column_value(sender)
    return sender, module, state, since


def _wrong_fields(found: object) -> str:
    if not isinstance(found, dict):
        return f"a row is an object, not {type(found).__name__}"
    missing, extra = sorted(_REQUIRED - found.keys()), sorted(found.keys() - _FIELDS)
    return f"it has no {missing[0]!r}" if missing else f"a row has no {extra[0]!r:.40}"


def _key_of_json(value: object, name: str) -> str | bytes:
    if isinstance(value, str):
        return column_value(value)
    if isinstance(value, dict) and value.keys() == {"literal"} and type(value["literal"]) is str:
        key, is_literal = key_of_text(value["literal"])
        if is_literal:
            return column_value(key)
    raise ValueError(f'{name!r} is a text, or {{"literal": ...}} with a Python literal')


def _csv_row(cells: Mapping[str, Any], now_ms: int) -> RawRow:
    if None in cells or None in cells.values():
        raise ValueError("it has not as many cells as the first line")
    since = cells.get("since", "").strip()
    if since and not (since.isascii() and since.isdigit() and int(since) <= _LATEST_MS):
        raise ValueError(f"'since' is a number of milliseconds of Unix time, not {since!r:.40}")
    return (
        column_value(key_of_text(cells["sender"])[0]),
        column_value(key_of_text(cells["module"])[0]),
        checked_state(state_of_text(cells["state"])),
        int(since) if since else now_ms,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error.msg}, column {error.colno})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)


READERS: Final[Mapping[Format, Callable[[IO[bytes], str], Iterator[list[RawRow]]]]] = {
    "jsonl": read_json_lines,
    "csv": read_csv,
}

WRITERS: Final[Mapping[Format, Callable[[Iterable[Row]], Iterator[str]]]] = {
    "jsonl": json_lines,
    "csv": csv_lines,
}
