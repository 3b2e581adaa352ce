"""What is wrong with a row in a file, in the words of an error."""

import json
from typing import Final

from .errors import StorageError

__all__ = ["LATEST_MS", "REQUIRED_FIELDS", "BadRow", "reason"]

REQUIRED_FIELDS: Final = frozenset({"module", "sender", "state"})

LATEST_MS: Final = 253_402_300_799_999
"""The last time that a row may have: the end of the year 9999."""


class BadRow(StorageError):
    """A file to be imported has something in it that is no row. The message names the line.

    What stood before it may have been imported, and nothing behind it was.
    """


def reason(error: Exception) -> str:
    """Return what an error from reading a row says, as a clause."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON ({error.msg}, column {error.colno})"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)
