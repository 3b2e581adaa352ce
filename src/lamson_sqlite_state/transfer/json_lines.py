"""Reads and writes rows as JSON Lines, which lose nothing: one object a line.

Files are read and written block by block, because they may be far larger than memory.
"""

import functools
import json
import operator
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring
from typing import IO, Any, Final

from ..keys.columns import checked_state, column_value
from ..keys.rows import RawRow, Row, parse_key
from ._row_error import LATEST_MS, REQUIRED_FIELDS, BadRow, bad_row, bad_since

_BLOCK_BYTES: Final = 256 * 1024

# No row is as long as this. A file without line ends, which is no JSON Lines, may be.
_LONGEST_LINE_BYTES: Final = 64 * 1024 * 1024

_FIELDS: Final = REQUIRED_FIELDS | {"since"}
_raw: Final = operator.itemgetter("sender", "module", "state", "since")


def as_object(row: Row) -> dict[str, object]:
    """Return a row as an object for JSON."""
    return row._replace(module=json_key(row.module), sender=json_key(row.sender))._asdict()


def write_json_lines(rows: Iterable[Row]) -> Iterator[str]:
    """Yield each row as an object on a line of its own, with a line end."""
    for module, sender, state, since in rows:
        # Put together by hand, because json.dumps takes six times as long.
        module_text = _word_text(module) if type(module) is str else _json_text(module)
        if type(sender) is str and sender.isascii():
            sender_text = encode_basestring(sender)
        else:
            sender_text = _json_text(sender)
        yield (
            f'{{"module": {module_text}, "sender": {sender_text},'
            f' "state": {_state_text(state)}, "since": {since}}}\n'
        )


def read_json_lines(file: IO[bytes], name: str) -> Iterator[list[RawRow]]:
    """Yield the rows of a file of JSON Lines, some at a time. A row without ``since`` is from now.

    Args:
        file: open for reading.
        name: the name of the file, for errors.

    Raises:
        BadRow: a line is no row. The rows before it have been yielded.
        OSError: the file cannot be read.
    """
    now_ms = time.time_ns() // 1_000_000
    number = 0
    for lines in _blocks(file, name):
        filled = [line for line in lines if line and not line.isspace()]
        try:
            # Parsing many lines at once takes half the time of parsing one by one.
            found = json.loads(b"[" + b",".join(filled) + b"]")
            if len(found) != len(filled):
                raise ValueError
            yield [_raw_row(each, now_ms) for each in found]
        except (ValueError, TypeError, RecursionError):
            for row in _one_by_one(lines, number, name, now_ms):
                yield [row]
        number += len(lines)


def printable_json(text: str) -> str:
    """Return JSON with the same meaning, without characters that a terminal obeys or misrepresents.

    All characters that cannot be printed, but for line ends, are escaped. Among them are DEL, the
    control characters of C1, and those that change the direction of writing.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def json_key(key: object) -> object:
    """Return a key as a value for JSON: a text, or an object with the key's Python literal."""
    value = column_value(key)
    return value if isinstance(value, str) else {"literal": value.decode("ascii")}


def _json_text(key: object) -> str:
    return json.dumps(json_key(key), ensure_ascii=False)


# Modules and states are few, so they are cached. Senders are too many. Keys that are no text cannot
# be cached, because a cache takes 1 and True for one key.
_word_text: Final = functools.lru_cache(maxsize=4096)(_json_text)
_state_text: Final = functools.lru_cache(maxsize=4096)(encode_basestring)


def _blocks(file: IO[bytes], name: str) -> Iterator[list[bytes]]:
    rest = b""
    # On a pipe, read() waits until a whole block is there, and lets no Ctrl-C through. read1() does
    # not wait.
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    while block := read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST_LINE_BYTES:
            raise BadRow(
                "it has lines of more than 64 MiB, so it is no JSON Lines",
                "give another file",
                name,
            )
        if lines:
            yield lines
    if rest:
        yield [rest]


def _one_by_one(lines: list[bytes], before: int, name: str, now_ms: int) -> Iterator[RawRow]:
    # Finds the line that is no row. The lines before it are rows.
    for number, line in enumerate(lines, before + 1):
        if line and not line.isspace():
            try:
                yield _raw_row(json.loads(line), now_ms)
            except (ValueError, TypeError, RecursionError) as error:
                raise bad_row(number, error, name) from error


def _raw_row(found: Any, now_ms: int) -> RawRow:
    if type(found) is not dict or not found.keys() <= _FIELDS:
        raise ValueError(_wrong_fields(found))
    try:
        sender, module, state, since = _raw(found)
    except KeyError as error:
        if not found.keys() >= REQUIRED_FIELDS:
            raise ValueError(_wrong_fields(found)) from error
        sender, module, state, since = _raw({"since": now_ms, **found})
    if type(since) is not int or not 0 <= since <= LATEST_MS:
        raise bad_since(since)
    if not (type(sender) is type(module) is type(state) is str and state.isascii()):
        state = checked_state(state)
        module, sender = _key_of_json(module, "module"), _key_of_json(sender, "sender")
        return sender, module, state, since
    if not (module.isascii() and sender.isascii()):
        module, sender = column_value(module), column_value(sender)
    # Modules and states are few. Interned, because each row would otherwise keep a copy of its own.
    return sender, sys.intern(module) if type(module) is str else module, sys.intern(state), since


def _wrong_fields(found: object) -> str:
    if not isinstance(found, dict):
        return f"a row is an object, not {type(found).__name__}"
    missing, extra = sorted(REQUIRED_FIELDS - found.keys()), sorted(found.keys() - _FIELDS)
    return f"it has no {missing[0]!r}" if missing else f"a row has no {extra[0]!r:.40}"


def _key_of_json(value: object, name: str) -> str | bytes:
    if isinstance(value, str):
        return column_value(value)
    if isinstance(value, dict) and value.keys() == {"literal"} and type(value["literal"]) is str:
        key, is_literal = parse_key(value["literal"])
        if is_literal:
            return column_value(key)
    raise ValueError(f'{name!r} is a text, or {{"literal": ...}} with a Python literal')
