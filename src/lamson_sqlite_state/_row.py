"""One form of a row everywhere: as Python has it, as people read and type it, as JSON has it.

A key that is plain text is shown as it is. Any other is shown as a Python literal: ``None``,
``b'raw'``, and in quotes a text that would be taken for a literal (``'None'``), cannot be printed,
or begins or ends with a space. What is shown is also what is accepted.
"""

import re
from typing import Final, NamedTuple, TypeAlias

from ._keys import column_value
from ._literals import key_of_column_bytes, key_of_literal
from .errors import NotAStateFile

__all__ = [
    "RawRow",
    "Row",
    "is_plain_address",
    "key_of_column",
    "key_of_text",
    "row_of",
    "shown_key",
    "shown_state",
    "state_of_text",
]

RawRow: TypeAlias = tuple[str | bytes, str | bytes, str, int]
"""``(sender, module, state, since)`` as they stand in their columns."""

# How a literal may begin. Nearly no address does, and no name of a module.
_MAY_BE_LITERAL: Final = re.compile(
    r"""
    \s* (?: ['"(\d+\-.] | (?: [bu] | b?r | rb ) ['"] | (?: None|True|False|infj?|nanj? ) \s*\Z )
    """,
    re.IGNORECASE | re.VERBOSE,
)

is_plain_address: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*@[A-Za-z0-9_.-]+\Z").match
"""Whether a text is no literal at first sight, and shown as it is: nearly every address."""


class Row(NamedTuple):
    """A pair and its state.

    Attributes:
        module: as it was given to the store.
        sender: likewise.
        state: the pair's.
        since: when it entered this state, in milliseconds of Unix time.
    """

    module: object
    sender: object
    state: str
    since: int

    @property
    def raw(self) -> RawRow:
        """The row as it stands in its columns.

        Raises:
            TypeError: a key is of a type that no store keeps.
        """
        return column_value(self.sender), column_value(self.module), self.state, self.since


def row_of(raw: RawRow, path: str) -> Row:
    """Return a row that was read.

    Raises:
        NotAStateFile: no store has written it.
    """
    sender, module, state, since = raw
    if type(since) is not int or type(state) is not str:
        raise NotAStateFile(
            f"no store has written a row of it ({raw!r:.80}): lamson-state check lists them",
            path,
        )
    if type(sender) is type(module) is str:
        return Row(module, sender, state, since)
    return Row(key_of_column(module, path), key_of_column(sender, path), state, since)


def key_of_column(value: object, path: str) -> object:
    """Return the key that stands in a column.

    Args:
        value: as SQLite has it.
        path: the database.

    Raises:
        NotAStateFile: no store has written it.
    """
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, bytes):
            return key_of_column_bytes(value)
    except ValueError:
        pass
    raise NotAStateFile(
        f"it holds a key that no store has written ({value!r:.80}): lamson-state check lists them",
        path,
    )


def key_of_text(text: str) -> tuple[object, bool]:
    """Return the key that a person means, and whether he gave it as a literal."""
    if is_plain_address(text):
        return text, False
    return _literal(text) or (text, False)


def shown_key(key: object, *, is_for_spreadsheets: bool = False) -> str:
    """Return a key as people read it, and as `key_of_text` takes it.

    Args:
        key: of a type that a store keeps.
        is_for_spreadsheets: whether text that these take for a formula is to stand in quotes.
    """
    if type(key) is not str:
        value = column_value(key)
        if isinstance(value, bytes):
            return value.decode("ascii")
        key = value
    if is_plain_address(key):
        return key
    is_plain = bool(key) and key.isprintable() and key[0] != " " != key[-1] and not _literal(key)
    if is_plain and is_for_spreadsheets:
        is_plain = key[0] not in "=+-@"
    return key if is_plain else repr(key)


def shown_state(state: str) -> str:
    """Return a state as people read it: in quotes where it cannot be printed as it is."""
    return state if state and state.isprintable() and state[0] not in "'\"=+-@ " else repr(state)


def state_of_text(text: str) -> str:
    """Return the state that `shown_state` has shown so."""
    if text[:1] in ("'", '"'):
        found = _literal(text)
        if found and isinstance(found[0], str):
            return found[0]
    return text


def _literal(text: str) -> tuple[object, bool] | None:
    if not _MAY_BE_LITERAL.match(text):
        return None
    try:
        return key_of_literal(text.strip()), True
    except ValueError:
        return None
