"""Reads the one thing a shelf of states holds in its values, a pickled text, and executes nothing.

Python's own unpickler calls whatever a pickle names. This reads only the operations that every
protocol needs for a single string, and there is no other it could carry out.
https://docs.python.org/3/library/pickletools.html describes them.
"""

import ast
import itertools
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Final

from ._patterns import BYTES
from ._record import Unreadable, printable

__all__ = ["state"]

_NEWEST_PROTOCOL: Final = 5
_PYTHON_2_LITERAL: Final = re.compile(BYTES.encode())

# Operations that say nothing about the value, and how many bytes follow each.
_PROTO, _FRAME, _STOP = 0x80, 0x95, ord(".")
_REMEMBERED: Final = {0x94: 0, ord("q"): 1, ord("r"): 4}  # MEMOIZE, BINPUT, LONG_BINPUT
_PUT: Final = ord("p")  # its number is a line

# Texts that say how long they are: UTF-8 since Python 3, in Python 2 whatever its str held.
_SIZED: Final = {
    0x8C: struct.Struct("<B"),  # SHORT_BINUNICODE
    ord("X"): struct.Struct("<I"),  # BINUNICODE
    0x8D: struct.Struct("<Q"),  # BINUNICODE8
    ord("U"): struct.Struct("<B"),  # SHORT_BINSTRING
    ord("T"): struct.Struct("<i"),  # BINSTRING
}

_OPERATIONS_LOOKED_AT: Final = 1000
_NOT_WHOLE: Final = "its value is cut short or no pickle"
_NOT_UTF_8: Final = "its value is a text that is not UTF-8, or holds lone surrogates"

# What a pickle without classes is, by its first operation that tells.
_KINDS: Final = {
    **dict.fromkeys(["NONE"], "None"),
    **dict.fromkeys(["NEWTRUE", "NEWFALSE"], "bool"),
    **dict.fromkeys(["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"], "int"),
    **dict.fromkeys(["FLOAT", "BINFLOAT"], "float"),
    **dict.fromkeys(["BINBYTES", "SHORT_BINBYTES", "BINBYTES8"], "bytes"),
    **dict.fromkeys(["BYTEARRAY8"], "bytearray"),
    **dict.fromkeys(["EMPTY_DICT", "DICT"], "dict"),
    **dict.fromkeys(["EMPTY_LIST", "LIST"], "list"),
    **dict.fromkeys(["EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"], "tuple"),
    **dict.fromkeys(["EMPTY_SET", "FROZENSET"], "set"),
}
_UNKNOWN: Final = ""
_CONTAINERS: Final = frozenset({"dict", "list", "set"})


def state(pickled: bytes) -> str:
    """Return the text that a value holds.

    What follows the pickle's end is ignored, as ``pickle.loads`` ignores it.

    Raises:
        Unreadable: it holds anything else, is cut short, or cannot be kept as UTF-8.
    """
    text: str | None = None
    at = 0
    try:
        while True:
            operation = pickled[at]
            at += 1
            if operation == _STOP:
                break
            if operation in _SIZED and text is None:
                text, at = _sized(pickled, at, _SIZED[operation])
            elif operation in _LINES and text is None:
                line, at = _line(pickled, at)
                text = _LINES[operation](line)
            elif operation in _REMEMBERED and text is not None:
                at += _REMEMBERED[operation]
            elif operation == _PUT and text is not None:
                _, at = _line(pickled, at)
            elif operation == _PROTO:
                if pickled[at] > _NEWEST_PROTOCOL:
                    raise Unreadable(f"its value is a pickle of protocol {pickled[at]}")
                at += 1
            elif operation == _FRAME:
                if int.from_bytes(pickled[at : at + 8], "little") > len(pickled) - at - 8:
                    raise Unreadable(_NOT_WHOLE)
                at += 8
            else:
                raise Unreadable(_what_else(pickled))
        if text is None:
            raise Unreadable(_NOT_WHOLE)
        text.encode()
    except IndexError as error:
        raise Unreadable(_NOT_WHOLE) from error
    except UnicodeError as error:
        raise Unreadable(_NOT_UTF_8) from error
    return text


def _sized(pickled: bytes, at: int, size: struct.Struct) -> tuple[str, int]:
    start = at + size.size
    if start > len(pickled):
        raise Unreadable(_NOT_WHOLE)
    (length,) = size.unpack_from(pickled, at)
    if not 0 <= length <= len(pickled) - start:
        raise Unreadable(_NOT_WHOLE)
    return pickled[start : start + length].decode(), start + length


def _line(pickled: bytes, at: int) -> tuple[bytes, int]:
    end = pickled.find(b"\n", at)
    if end < 0:
        raise Unreadable(_NOT_WHOLE)
    return pickled[at:end], end + 1


def _from_raw_escapes(line: bytes) -> str:
    return line.decode("raw-unicode-escape")


def _from_literal(line: bytes) -> str:
    if not _PYTHON_2_LITERAL.fullmatch(line):
        raise Unreadable(_NOT_WHOLE)
    literal: bytes = ast.literal_eval(f"b{line.decode()}")
    return literal.decode()


_LINES: Final[dict[int, Callable[[bytes], str]]] = {
    ord("V"): _from_raw_escapes,  # UNICODE
    ord("S"): _from_literal,  # STRING: as Python 2's repr wrote it
}


def _what_else(pickled: bytes) -> str:
    # Only names operations and their arguments, as pickletools does in its listings.
    kind, texts = _UNKNOWN, list[str]()
    try:
        operations = pickletools.genops(pickled)
        for opcode, argument, _ in itertools.islice(operations, _OPERATIONS_LOOKED_AT):
            if opcode.name in ("GLOBAL", "INST"):
                return _class_of(str(argument).replace(" ", "."))
            if opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                return _class_of(".".join(texts[-2:]))
            if isinstance(argument, str):
                texts.append(argument)
            found = _KINDS.get(opcode.name)
            if found is not None and kind not in _CONTAINERS:
                kind = found
    except Exception:  # noqa: BLE001 - whatever bytes that are no pickle make of pickletools
        if kind == _UNKNOWN:
            return _NOT_WHOLE
    if kind == _UNKNOWN:
        return "its value is a pickle of more than a text"
    return f"its value is a pickled {kind}, not a text"


def _class_of(name: str) -> str:
    shown = printable(name.encode(errors="backslashreplace"))
    return f"its value is a pickle that names {shown}, not a text"
