"""Looks for rows that no call can reach, or that no call can read.

The rows are read in the order of their key, some thousand at a time. Nothing is kept open between
two pages, so that the log does not grow by it, and no more than one page is in memory.
"""

import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, TypeAlias

from ...command_line import command
from ...keys.literals import is_literal
from ...keys.rows import OLDEST_MS
from ..engine.queries import all_rows, first_row
from ._look import Finding, Target, shown

_PAGE_ROWS: Final = 2000
_EXAMPLES: Final = 3

# A longer key is named by its ends and its length.
_LONGEST_BYTES: Final = 500
_END_BYTES: Final = 60

# Clocks of one host are set back by an operator, or by a moment where they had run ahead.
_FUTURE_MS: Final = 60_000

_COUNT: Final = "SELECT count(*) FROM states"
_PAGE: Final = "SELECT sender, module, state, since FROM states {} ORDER BY sender, module LIMIT ?"

Value: TypeAlias = bytearray | bytes | int | float
"""A value of a column: the bytes of a text as bytearray, a BLOB as bytes."""

Row: TypeAlias = tuple[Value, Value, Value, Value]
"""Sender, module, state and since."""

Place: TypeAlias = tuple[Value, Value]
"""Sender and module of a row."""

_KINDS: Final = {bytearray: "text", bytes: "blob", int: "integer", float: "real"}
"""What SQLite's typeof() says."""

_KEY: Final = "whose key no call can have written"
_STATE: Final = "whose state is no text"
_EMPTY: Final = "whose state is empty, so that no function answers to it"
_SINCE: Final = (
    "whose since is from before 2009, when Lamson came, or is to come, or no time (a clock stood "
    "wrong: prune passes over it)"
)


def unreadable(target: Target) -> Iterator[Finding]:
    """Find rows that no call can reach, or that hold no state.

    Raises:
        StorageError: the file cannot be read.
    """
    reader = target.reader
    (total,) = reader.read(partial(first_row, sql=_COUNT))
    counts: Counter[str] = Counter()
    examples: defaultdict[str, list[tuple[Place, str]]] = defaultdict(list)
    after: Place | None = None
    done, is_last = 0, False
    while not is_last:
        target.tell("rows", done, total)
        rows = reader.read(partial(_page, after=after))
        latest_ms = _latest_ms()
        for row in rows:
            if _is_ordinary(row, latest_ms):
                continue
            for defect, what in _defects(row, latest_ms):
                counts[defect] += 1
                if counts[defect] <= _EXAMPLES:
                    examples[defect].append((row[:2], what))
        done += len(rows)
        is_last = len(rows) < _PAGE_ROWS
        after = rows[-1][:2] if rows else None
    target.tell("rows", done, max(done, total))
    for defect, count in counts.items():
        yield _finding(target, defect, count, examples[defect])


def _page(connection: sqlite3.Connection, after: Place | None) -> list[Row]:
    where = ""
    if after:
        # Behind a plus, CAST has no affinity, by which numbers would be compared as texts
        # (https://www.sqlite.org/datatype3.html section 3).
        marks = ("+CAST(? AS TEXT)" if isinstance(value, bytearray) else "?" for value in after)
        where = f"WHERE (sender, module) > ({', '.join(marks)})"
    factory = connection.text_factory
    connection.text_factory = bytearray  # the driver stops at a text that is no UTF-8
    try:
        return all_rows(connection, _PAGE.format(where), (*(after or ()), _PAGE_ROWS))
    finally:
        connection.text_factory = factory


def _latest_ms() -> int:
    return time.time_ns() // 1_000_000 + _FUTURE_MS


def _is_ordinary(row: tuple[Any, ...], latest_ms: int) -> bool:
    """Whether a row is sound at first sight, as nearly all are."""
    sender, module, state, since = row
    return (
        type(sender) is type(module) is type(state) is bytearray
        and sender.isascii()
        and module.isascii()
        and state.isascii()
        and bool(state)
        and type(since) is int
        and OLDEST_MS <= since <= latest_ms
    )


def _defects(row: Row, latest_ms: int) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a row: the defect, and how the value is."""
    sender, module, state, since = row
    for column, value in (("sender", sender), ("module", module)):
        if isinstance(value, bytearray):
            if not _is_utf8(value):
                yield _KEY, f"its {column} is no UTF-8"
        elif not isinstance(value, bytes):
            yield _KEY, f"its {column} is of the kind {_KINDS[type(value)]}"
        elif not is_literal(value):
            yield _KEY, f"its {column} is a BLOB, but no literal as it is written"
    if not isinstance(state, bytearray):
        yield _STATE, f"it is of the kind {_KINDS[type(state)]}"
    elif not state:
        yield _EMPTY, ""
    elif not _is_utf8(state):
        yield _STATE, f"it is no UTF-8: {bytes(state)!r:.80}"
    if not isinstance(since, int):
        yield _SINCE, f"it is of the kind {_KINDS[type(since)]}"
    elif not OLDEST_MS <= since <= latest_ms:
        yield _SINCE, f"it is {since}"


def _is_utf8(text: bytearray) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _finding(target: Target, defect: str, count: int, examples: list[tuple[Place, str]]) -> Finding:
    listed = "; ".join(
        f"module {_printed(module)}, sender {_printed(sender)}" + f" ({what})" * bool(what)
        for (sender, module), what in examples
    )
    rows = "1 row" if count == 1 else f"{count:,} rows"
    if defect == _SINCE:
        done = "count from now on"
        deed = (
            "UPDATE states SET since = strftime('%s') * 1000 WHERE typeof(since) <> 'integer' OR "
            f"since NOT BETWEEN {OLDEST_MS} AND {_latest_ms()}"
        )
    else:
        done = "forget them" + f" for the first {_EXAMPLES} of them" * (count > _EXAMPLES)
        where = " OR ".join(
            f"({_is('sender', sender)} AND {_is('module', module)})"
            for (sender, module), _ in examples
        )
        deed = f"DELETE FROM states WHERE {where}"
    # Other programs that write take turns with the workers if they take the file lock, too. Where
    # there is no lock, flock(1) would make one that perhaps belongs to nobody but its user.
    lock = target.paths.lock
    prefix = ("flock", lock) if os.path.isfile(lock) else ()
    return Finding(
        "rows",
        f"{rows} {defect}: {shown(listed)}",
        f"{done}: {command(*prefix, 'sqlite3', target.path, deed)}",
        target.path,
    )


def _is(column: str, value: Value) -> str:
    """Return the SQL that finds a value again."""
    if not isinstance(value, (bytearray, bytes)) or len(value) <= _LONGEST_BYTES:
        return f"{column} = {_sql(value)}"
    # A shell takes no word of 128 KiB, and no terminal a line of 10 MB.
    as_bytes = f"CAST({column} AS BLOB)"
    return (
        f"typeof({column}) = '{_KINDS[type(value)]}' AND length({as_bytes}) = {len(value)}"
        f" AND substr({as_bytes}, 1, {_END_BYTES}) = x'{value[:_END_BYTES].hex()}'"
        f" AND substr({as_bytes}, -{_END_BYTES}) = x'{value[-_END_BYTES:].hex()}'"
    )


def _sql(value: Value) -> str:
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if not isinstance(value, bytearray):
        return repr(value).replace("inf", "9e999")
    if value.isascii() and (text := value.decode()).isprintable():
        return "'" + text.replace("'", "''") + "'"
    return f"CAST(x'{value.hex()}' AS TEXT)"


def _printed(value: Value) -> str:
    if isinstance(value, (bytearray, bytes)) and len(value) > _LONGEST_BYTES:
        return f"{_printed(value[:_END_BYTES])} and {len(value) - _END_BYTES:,} bytes more"
    if isinstance(value, bytearray):
        return repr(value.decode() if _is_utf8(value) else bytes(value))
    return f"BLOB {value!r}" if isinstance(value, bytes) else repr(value)
