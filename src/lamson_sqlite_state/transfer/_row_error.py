"""The error for a line of an imported file that is no row, and the limits of all formats."""

import json
from typing import Final

from ..errors import Code, StorageError

REQUIRED_FIELDS: Final = frozenset({"module", "sender", "state"})

LATEST_MS: Final = 253_402_300_799_999
"""The latest time that a row may have: the end of the year 9999 (Unix time in ms)."""


class BadRow(StorageError):
    """A line of a file to be imported is no row. The problem names the line.

    The rows before the line were imported; the rows behind it were not.
    """

    code: Code = "bad-row"


def bad_row(line: int, error: Exception, name: str) -> BadRow:
    """Return the error to raise ``from`` an error met in reading a row.

    Args:
        line: the number of the line, from 1.
        error: the error met.
        name: the name of the file.
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


def bad_since(value: object) -> ValueError:
    """Return the error to raise where the time of a row is none."""
    return ValueError(f"'since' is a number of milliseconds of Unix time, not {value!r:.40}")
