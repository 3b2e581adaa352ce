"""One form of a row everywhere: as Python has it, as people read and type it, as JSON has it.

A key that is plain text is shown as it is. Any other is shown as a Python literal: ``None``,
``b'raw'``, and in quotes a text that would be taken for a literal (``'None'``), cannot be printed,
or begins or ends with a space. What is shown is also what is accepted.
"""

import re
from typing import Final, NamedTuple, TypeAlias

from ..errors import NotAStateFile
from .columns import column_value
from .literals import key_of_column_bytes, key_of_literal

RawRow: TypeAlias = tuple[str | bytes, str | bytes, str, int]
"""``(sender, module, state, since)`` as they stand in their columns."""

OLDEST_MS: Final = 1_230_768_000_000
"""The beginning of 2009 (Unix time in ms), when Lamson came: an earlier time comes from a clock
that stood wrong, as that of a machine does that boots without one, in 1970."""

# How a literal may begin. Nearly no address does, and no name of a module.
_MAY_BE_LITERAL: Final = re.compile(
    r"""
    \s* (?: ['"(\d+\-.] | (?: [bu] | b?r | rb ) ['"] | (?: None|True|False|infj?|nanj? ) \s*\Z )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# What spreadsheets take for a formula where a cell begins with it, full-width letters included.
_FORMULA: Final = "=+-@\uff1d\uff0b\uff0d\uff20"

# And where a cell may begin to one that goes by another separator than the comma. (In a literal,
# these stand within quotes.)
_FORMULA_BEHIND_SEPARATOR: Final = re.compile(rf"([;|][\s'\"]*)([{re.escape(_FORMULA)}])")

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
        raise _unreadable(f"no store has written a row of it ({raw!r:.80})", path)
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
    raise _unreadable(f"it holds a key that no store has written ({value!r:.80})", path)


def _unreadable(problem: str, path: str) -> NotAStateFile:
    remedy = "lamson-state check lists them"
    return NotAStateFile(problem, remedy, path, code="unreadable-row")


def parse_key(text: str) -> tuple[object, bool]:
    """Return the key that a person means, and whether he gave it as a literal."""
    if is_plain_address(text):
        return text, False
    return _literal(text) or (text, False)


def format_key(key: object, *, is_for_spreadsheets: bool = False) -> str:
    """Return a key as people read it, and as `parse_key` takes it.

    Args:
        key: of a type that a store keeps.
        is_for_spreadsheets: whether text that these take for a formula is to stand in quotes, and
            with an escape where it would begin a cell even so.
    """
    if type(key) is not str:
        value = column_value(key)
        if isinstance(value, bytes):
            literal = value.decode("ascii")
            return _without_formulas(literal) if is_for_spreadsheets else literal
        key = value
    if is_plain_address(key):
        return key
    is_plain = bool(key) and key.isprintable() and key[0] != " " != key[-1] and not _literal(key)
    if not is_for_spreadsheets:
        return key if is_plain else repr(key)
    is_plain = is_plain and key[0] not in _FORMULA and not _FORMULA_BEHIND_SEPARATOR.search(key)
    return key if is_plain else _without_formulas(repr(key))


def format_state(state: str, *, is_for_spreadsheets: bool = False) -> str:
    """Return a state as people read it: in quotes where it cannot be printed as it is.

    Args:
        state: the state.
        is_for_spreadsheets: as of `format_key`.
    """
    is_plain = state and state.isprintable() and state[0] not in f"'\" {_FORMULA}"
    if is_for_spreadsheets and is_plain:
        is_plain = not _FORMULA_BEHIND_SEPARATOR.search(state)
    if is_plain:
        return state
    return _without_formulas(repr(state)) if is_for_spreadsheets else repr(state)


def parse_state(text: str) -> str:
    """Return the state that `format_state` has shown so."""
    if text[:1] in ("'", '"'):
        found = _literal(text)
        if found and isinstance(found[0], str):
            return found[0]
    return text


def _without_formulas(literal: str) -> str:
    def escaped(found: re.Match[str]) -> str:
        code = ord(found[2])
        return found[1] + (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")

    return _FORMULA_BEHIND_SEPARATOR.sub(escaped, literal)


def _literal(text: str) -> tuple[object, bool] | None:
    if not _MAY_BE_LITERAL.match(text):
        return None
    try:
        return key_of_literal(text.strip()), True
    except ValueError:
        return None
