"""What is wrong with a row in a file, in the words of an error."""

import json
from typing import Final

from ..errors import Code, StorageError

REQUIRED_FIELDS: Final = frozenset({"module", "sender", "state"})

LATEST_MS: Final = 253_402_300_799_999
"""The last time that a row may have: the end of the year 9999."""


class BadRow(StorageError):
    """A file to be imported has something in it that is no row. The problem names the line.

    What stood before it was imported, and nothing behind it was.
    """

    code: Code = "bad-row"


def bad_row(line: int, error: Exception, name: str) -> BadRow:
    """Return what to raise ``from`` an error that came of reading a row.

    Args:
        line: its number, from 1.
        error: what is wrong with it.
        name: of the file.
    """
    reason = str(error)
    if isinstance(error, UnicodeDecodeError):
        reason = "it is no UTF-8"
    elif isinstance(error, json.JSONDecodeError):
        reason = f"it is no JSON ({error.msg}, column {error.colno})"
    elif isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    remedy = "correct it, and import again (what stands before it is imported)"
    return BadRow(f"line {line}: {reason}", remedy, name)
