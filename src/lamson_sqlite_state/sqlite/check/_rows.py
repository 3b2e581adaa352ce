"""A check's look at every row: whether calls can reach it, and read what it holds.

The rows are read in the order of their key, some thousand at a time. Between two pages nothing
is kept open, so that no log grows by it, and no more than one page is in memory.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from ...command_line import command
from ...keys.literals import is_literal
from ...keys.rows import OLDEST_MS
from ..engine.queries import all_rows, first_row
from ._finding import Finding, shown
from ._reader import Reader

_PAGE_ROWS: Final = 2000
_EXAMPLES: Final = 3

# A longer key is named by its ends and its length.
_LONGEST_BYTES: Final = 500
_END_BYTES: Final = 60

# Clocks of one host are set back by an operator, or by a moment where they had run ahead.
_FUTURE_MS: Final = 60_000

# The kinds of a row's values, where they are not all what they have to be.
_PAGE: Final = (
    "SELECT sender, module, state, since, CASE"
    " WHEN typeof(sender) = 'text' AND typeof(module) = 'text' AND typeof(state) = 'text'"
    " AND typeof(since) = 'integer' THEN NULL"
    " ELSE typeof(sender) || ' ' || typeof(module) || ' ' || typeof(state) || ' ' || typeof(since)"
    " END FROM states {after} ORDER BY sender, module LIMIT ?"
)
# Without numbers behind the question marks, of which Python 3.12.0 to 3.12.3 warns.
_AFTER: Final = (
    "WHERE (sender, module) > ("
    "CASE ? WHEN 'text' THEN CAST(? AS TEXT) ELSE ? END, "
    "CASE ? WHEN 'text' THEN CAST(? AS TEXT) ELSE ? END)"
)
_FIRST_PAGE: Final = _PAGE.format(after="")
_NEXT_PAGE: Final = _PAGE.format(after=_AFTER)
_COUNT: Final = "SELECT count(*) FROM states"

_ALL_TEXT: Final = ("text", "text", "text", "integer")

Row: TypeAlias = tuple[Any, Any, Any, Any, bytes | None]
"""Texts and BLOBs are both bytes; what is which stands at the end, where not all is usual."""

Value: TypeAlias = bytes | int | float
Place: TypeAlias = tuple[str, Value, str, Value]
"""Kind and value of a sender, kind and value of a module."""


Example: TypeAlias = tuple[Place, str]
"""Where a row is, and what is wrong there."""

_KEY: Final = "whose key no call can have written"
_STATE: Final = "whose state is no text"
_EMPTY: Final = "whose state is empty, so that no function answers to it"
_SINCE: Final = (
    "whose since is from before 2009, when Lamson came, or is to come, or no time (a clock stood "
    "wrong: prune passes over it)"
)
_IS_NO_TIME: Final = (
    f"typeof(since) <> 'integer' OR since NOT BETWEEN {OLDEST_MS} AND {{latest_ms}}"
)


def unreadable(
    reader: Reader, path: str, prefix: tuple[str, ...], progress: Callable[[int, int], None]
) -> Iterator[Finding]:
    """Find rows that no call can reach, or that hold no state.

    Args:
        reader: of the store.
        path: of the database.
        prefix: what has to stand before a command that writes to the database.
        progress: is called with how many rows have been read and there were in the beginning; it
            may raise to end it.

    Raises:
        StorageError: the file cannot be read.
    """
    (total,) = reader.read(partial(first_row, sql=_COUNT))
    counts: Counter[str] = Counter()
    examples: dict[str, list[Example]] = {}
    place: Place | None = None
    done = 0
    while True:
        progress(done, total)
        read, place, found = reader.read(partial(_page, after=place))
        for defect, where, what in found:
            counts[defect] += 1
            if counts[defect] <= _EXAMPLES:
                examples.setdefault(defect, []).append((where, what))
        done += read
        if read < _PAGE_ROWS:
            break
    progress(done, max(done, total))
    for defect, count in counts.items():
        yield _finding(defect, count, examples[defect], path, prefix)


def _page(
    connection: sqlite3.Connection, after: Place | None
) -> tuple[int, Place | None, list[tuple[str, Place, str]]]:
    latest_ms = _latest_ms()
    found: list[tuple[str, Place, str]] = []
    sql = _FIRST_PAGE
    parameters: list[object] = [_PAGE_ROWS]
    if after is not None:
        sender_kind, sender, module_kind, module = after
        sql = _NEXT_PAGE
        parameters = [sender_kind, sender, sender, module_kind, module, module, _PAGE_ROWS]
    factory = connection.text_factory
    connection.text_factory = bytes  # the driver stops at a text that is no UTF-8
    try:
        rows = all_rows(connection, sql, parameters)
    finally:
        connection.text_factory = factory
    for row in rows:
        sender, module, state, since, kinds = row
        is_plain = (
            kinds is None
            and sender.isascii()
            and module.isascii()
            and state.isascii()
            and state
            and OLDEST_MS <= since <= latest_ms
        )
        if not is_plain:
            found.extend(_judged(row, latest_ms))
    return len(rows), _place(rows[-1]) if rows else after, found


def _latest_ms() -> int:
    return time.time_ns() // 1_000_000 + _FUTURE_MS


def _kinds(row: Row) -> tuple[str, ...]:
    return _ALL_TEXT if row[4] is None else tuple(row[4].decode().split())


def _place(row: Row) -> Place:
    kinds = _kinds(row)
    return kinds[0], row[0], kinds[1], row[1]


def _judged(row: Row, latest_ms: int) -> Iterator[tuple[str, Place, str]]:
    kinds, place = _kinds(row), _place(row)
    sender, module, state, since, _ = row
    for column, kind, value in (("sender", kinds[0], sender), ("module", kinds[1], module)):
        if kind == "text":
            if not _is_utf8(value):
                yield _KEY, place, f"its {column} is no UTF-8"
        elif kind != "blob":
            yield _KEY, place, f"its {column} is of the kind {kind}"
        elif not (isinstance(value, bytes) and is_literal(value)):
            yield _KEY, place, f"its {column} is a BLOB, but no literal as it is written"
    if kinds[2] != "text":
        yield _STATE, place, f"it is of the kind {kinds[2]}"
    elif not state:
        yield _EMPTY, place, ""
    elif not _is_utf8(state):
        yield _STATE, place, f"it is no UTF-8: {state!r:.80}"
    if kinds[3] != "integer":
        yield _SINCE, place, f"it is of the kind {kinds[3]}"
    elif not OLDEST_MS <= since <= latest_ms:
        yield _SINCE, place, f"it is {since}"


def _is_utf8(value: Value) -> bool:
    try:
        return isinstance(value, bytes) and value.decode() is not None
    except UnicodeDecodeError:
        return False


def _finding(
    defect: str, count: int, examples: list[Example], path: str, prefix: tuple[str, ...]
) -> Finding:
    listed = "; ".join(
        f"module {_printed(*place[2:])}, sender {_printed(*place[:2])}" + f" ({what})" * bool(what)
        for place, what in examples
    )
    rows = "1 row" if count == 1 else f"{count:,} rows"
    if defect == _SINCE:
        done = "count from now on"
        where = _IS_NO_TIME.format(latest_ms=_latest_ms())
        deed = f"UPDATE states SET since = strftime('%s') * 1000 WHERE {where}"
    else:
        which = "" if count <= _EXAMPLES else f" for the first {_EXAMPLES} of them"
        done = f"forget them{which}"
        deed = f"DELETE FROM states WHERE {' OR '.join(_is_at(each) for each, _ in examples)}"
    return Finding(
        "rows",
        f"{rows} {defect}: {shown(listed)}",
        f"{done}: {command(*prefix, 'sqlite3', path, deed)}",
        path,
    )


def _is_at(place: Place) -> str:
    """Return the SQL by which a row is found again."""
    sender_kind, sender, module_kind, module = place
    return f"({_is('sender', sender_kind, sender)} AND {_is('module', module_kind, module)})"


def _is(column: str, kind: str, value: Value) -> str:
    if not isinstance(value, bytes) or len(value) <= _LONGEST_BYTES:
        return f"{column} = {_sql(kind, value)}"
    # A shell takes no word of 128 KiB, and no terminal a line of 10 MB.
    as_bytes = f"CAST({column} AS BLOB)"
    return (
        f"typeof({column}) = '{kind}' AND length({as_bytes}) = {len(value)}"
        f" AND substr({as_bytes}, 1, {_END_BYTES}) = x'{value[:_END_BYTES].hex()}'"
        f" AND substr({as_bytes}, -{_END_BYTES}) = x'{value[-_END_BYTES:].hex()}'"
    )


def _printed(kind: str, value: Value) -> str:
    if isinstance(value, bytes) and len(value) > _LONGEST_BYTES:
        return f"{_printed(kind, value[:_END_BYTES])} and {len(value) - _END_BYTES:,} bytes more"
    if kind == "text" and isinstance(value, bytes):
        text = value.decode(errors="surrogateescape")
        return repr(text) if _is_utf8(value) else repr(value)
    return f"BLOB {value!r}" if kind == "blob" else repr(value)


def _sql(kind: str, value: Value) -> str:
    if not isinstance(value, bytes):
        return repr(value)
    text = value.decode("ascii", errors="replace")
    if kind == "text" and text.isascii() and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return f"CAST(x'{value.hex()}' AS TEXT)" if kind == "text" else f"x'{value.hex()}'"
