"""Which BLOBs are keys: the literals that `_keys` makes of what is no plain text."""

import ast
import warnings

from ._keys import column_value

__all__ = ["is_literal"]


def is_literal(column: bytes) -> bool:
    """Whether a BLOB is what `column_value` makes of some key, so that a call can reach its row.

    Nothing in it is executed.
    """
    try:
        text = column.decode("ascii")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a backslash too many
            body = ast.parse(text, mode="eval").body
        return column_value(_value(body, text)) == column
    except (UnicodeDecodeError, SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return False


def _value(node: ast.expr, text: str) -> object:
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, text) for item in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    # What has a sign, two parts, or is called inf or nan: of these float and complex read what
    # they print, which Python's grammar would round (-0+1j) or not know (inf).
    part = ast.get_source_segment(text, node) or ""
    for kind in (int, float, complex):
        try:
            return kind(part)
        except ValueError:
            continue
    raise ValueError(part)
