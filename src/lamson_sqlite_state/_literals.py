"""Which BLOBs are keys: the literals that `_keys` makes of what is no plain text."""

import ast
import warnings
from typing import Final

from ._keys import column_value

__all__ = ["is_literal", "key_of_literal"]


# A key is as long as its sender made it, and to parse one takes a hundred times its memory.
_LONGEST_PARSED: Final = 1_000_000


def key_of_literal(text: str, *, is_trusted: bool = False) -> object:
    """Return the key that a text is the literal of. Nothing in it is executed.

    Args:
        text: the literal.
        is_trusted: whether a store has kept it, so that one with many parts may be parsed, however
            long it is.

    Raises:
        ValueError: it is none, or that of something that is no key.
    """
    if len(text) > _LONGEST_PARSED and not (is_trusted and text.startswith("(")):
        return _long_text(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a backslash too many
            body = ast.parse(text, mode="eval").body
        key = _value(body, text)
        column_value(key)
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from error
    return key


def is_literal(column: bytes) -> bool:
    """Whether a BLOB is what `column_value` makes of some key, so that a call can reach its row."""
    try:
        return column_value(key_of_literal(column.decode("ascii"), is_trusted=True)) == column
    except ValueError:  # or UnicodeDecodeError, which is one
        return False


def _long_text(text: str) -> str | bytes:
    """Do as `key_of_literal` for what `ascii` and `repr` make of a text or of bytes, unparsed."""
    is_bytes = text.startswith("b")
    body = text[1 + is_bytes : -1].encode("ascii", "backslashreplace")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        key = body.decode("unicode_escape")
    found = key.encode("latin-1") if is_bytes else key
    if text not in (ascii(found), repr(found)):
        raise ValueError("of a literal as long, only a text or bytes are read")
    return found


def _value(node: ast.expr, text: str) -> object:
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, text) for item in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    # What has a sign, two parts, or is called inf or nan: of these float and complex read what
    # they print, which Python's grammar would round (-0+1j) or not know (inf).
    is_in_first_line = node.end_lineno == 1  # where the offsets, of bytes, are those of the text
    part = text.encode()[node.col_offset : node.end_col_offset].decode() if is_in_first_line else ""
    for kind in (int, float, complex):
        try:
            return kind(part)
        except ValueError:
            continue
    raise ValueError(part)
