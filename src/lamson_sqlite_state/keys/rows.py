"""The one form of a row: for Python, and for the people who read and type its keys.

A key that is plain text is shown unchanged. Any other key is shown as a Python literal: ``None``,
``b'raw'``. A text stands in quotes if it would be taken for a literal (``'None'``), cannot be
printed, or begins or ends with a space. A key is accepted in the form in which it is shown.
"""

import re
from typing import Final, NamedTuple, TypeAlias

from ..errors import NotAStateFile
from .columns import column_value
from .literals import key_of_column_bytes, key_of_literal

RawRow: TypeAlias = tuple[str | bytes, str | bytes, str, int]
"""``(sender, module, state, since)``, the values of the columns in the order of the key."""

OLDEST_MS: Final = 1_230_768_000_000
"""The beginning of 2009 (Unix time in ms), the year of Lamson's first release. An earlier time
comes from a wrong clock: a machine without a battery for its clock boots in 1970."""

# How a literal may begin. Hardly an address begins so, and no name of a module.
_MAY_BE_LITERAL: Final = re.compile(
    r"""
    \s* (?: ['"(\d+\-.] | (?: [bu] | b?r | rb ) ['"] | (?: None|True|False|infj?|nanj? ) \s*\Z )
    """,
    re.IGNORECASE | re.VERBOSE,
)

# A spreadsheet takes a cell for a formula if it begins with one of these, or with the full-width
# form of one.
_FORMULA: Final = "=+-@\uff1d\uff0b\uff0d\uff20"

# A spreadsheet with another separator than the comma may see a cell begin here. (In a literal,
# these characters stand within quotes.)
_FORMULA_BEHIND_SEPARATOR: Final = re.compile(rf"([;|][\s'\"]*)([{re.escape(_FORMULA)}])")

is_plain_address: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*@[A-Za-z0-9_.-]+\Z").match
"""Whether a text is certainly no literal, and so is shown unchanged: nearly every address."""


class Row(NamedTuple):
    """A pair and its state.

    Attributes:
        module: the module, as it was given to the store.
        sender: the sender, as it was given to the store.
        state: the state of the pair.
        since: when the pair entered this state, in milliseconds of Unix time.
    """

    module: object
    sender: object
    state: str
    since: int

    @property
    def raw(self) -> RawRow:
        """The values of the row's columns.

        Raises:
            TypeError: a key is of a type that no store keeps.
        """
        return column_value(self.sender), column_value(self.module), self.state, self.since


def row_of(raw: RawRow, path: str) -> Row:
    """Return the row with these column values.

    Raises:
        NotAStateFile: no store has written such a row.
    """
    sender, module, state, since = raw
    if type(since) is not int or type(state) is not str:
        raise _unreadable(f"it holds a row that no store has written ({raw!r:.80})", path)
    if type(sender) is type(module) is str:
        return Row(module, sender, state, since)
    return Row(key_of_column(module, path), key_of_column(sender, path), state, since)


def key_of_column(value: object, path: str) -> object:
    """Return the key whose column value this is.

    Args:
        value: the value, as SQLite returns it.
        path: the database, for the error.

    Raises:
        NotAStateFile: no store has written such a value.
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
    """Return the key that a person has typed, and whether it was typed as a literal."""
    if is_plain_address(text):
        return text, False
    return _literal(text) or (text, False)


def format_key(key: object, *, is_for_spreadsheets: bool = False) -> str:
    """Return a key as people read it, and as `parse_key` accepts it.

    Args:
        key: a key of a type that a store keeps.
        is_for_spreadsheets: whether to put text that a spreadsheet takes for a formula in quotes,
            with an escape where it would begin a cell all the same.
    """
    text = key if type(key) is str else column_value(key)
    if isinstance(text, bytes):
        literal = text.decode("ascii")
        return _without_formulas(literal) if is_for_spreadsheets else literal
    if is_plain_address(text):
        return text
    is_plain = text.isprintable() and text[:1] != " " != text[-1:] and not _literal(text)
    return _plain_or_literal(text, is_plain, is_for_spreadsheets)


def format_state(state: str, *, is_for_spreadsheets: bool = False) -> str:
    """Return a state as people read it: in quotes where it cannot be shown unchanged.

    Args:
        state: the state.
        is_for_spreadsheets: as of `format_key`.
    """
    is_plain = state.isprintable() and not state.startswith((*"'\" ", *_FORMULA))
    return _plain_or_literal(state, is_plain, is_for_spreadsheets)


def parse_state(text: str) -> str:
    """Return the state that `format_state` shows as this text."""
    if text[:1] in ("'", '"'):
        found = _literal(text)
        if found and isinstance(found[0], str):
            return found[0]
    return text


def _plain_or_literal(text: str, is_plain: bool, is_for_spreadsheets: bool) -> str:
    if not is_for_spreadsheets:
        return text if text and is_plain else repr(text)
    has_formula = text.startswith(tuple(_FORMULA)) or _FORMULA_BEHIND_SEPARATOR.search(text)
    return text if text and is_plain and not has_formula else _without_formulas(repr(text))


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
