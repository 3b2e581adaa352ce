"""Which rows a person means."""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ..keys.columns import checked_state, column_value
from ..keys.rows import OLDEST_MS
from ..sqlite.bulk.scan import EVERYTHING, Where

_WILDCARDS: Final = frozenset("*?[")


class Exact(NamedTuple):
    """Exactly this key, also where it is no text or has a wildcard in it."""

    key: object


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows for which all that is given holds.

    Args:
        module: a pattern in which ``*`` stands for any text, ``?`` for any character and ``[a-z]``
            for one of these (https://www.sqlite.org/lang_expr.html#glob); upper and lower
            case differ. What is no plain text is compared as its literal, in ASCII. A text without
            any of these is exactly that text. A key with a NUL in it matches no pattern but ``*``
            alone, as SQLite's patterns end there. Or `Exact` a key.
        sender: likewise.
        state: exactly this one; None for any.
        entered_before_ms: entered its state before this moment (Unix time in ms).
        entered_after_ms: entered its state at this moment or later.

    Raises:
        TypeError: a key is of a type that no store keeps, or the state no text. Raised by who is
            given the selection, as is ValueError: the state holds lone surrogates.
    """

    module: str | Exact = "*"
    sender: str | Exact = "*"
    state: str | None = None
    entered_before_ms: int | None = None
    entered_after_ms: int | None = None

    @property
    def where(self) -> Where:
        """The condition, in SQL."""
        where = _matches(_matches(EVERYTHING, "sender", self.sender), "module", self.module)
        if self.state is not None:
            where = where.and_("state = ?", checked_state(self.state))
        if self.entered_before_ms is not None:
            where = where.and_("since < ?", self.entered_before_ms)
        if self.entered_after_ms is not None:
            where = where.and_("since >= ?", self.entered_after_ms)
        return where

    @property
    def with_true_ages(self) -> "Selection":
        """The rows of these whose age is asked for and can be true."""
        if self.entered_before_ms is None:
            return self
        return replace(self, entered_after_ms=max(self.entered_after_ms or 0, OLDEST_MS))

    @property
    def with_false_ages(self) -> "Selection":
        """The other rows of these: whose age a clock that stood wrong has made."""
        latest_ms = min(self.entered_before_ms or 0, OLDEST_MS)
        return replace(self, entered_before_ms=latest_ms)


EVERY_ROW: Final = Selection()


def _matches(where: Where, column: str, wanted: str | Exact) -> Where:
    if not isinstance(wanted, Exact) and not _WILDCARDS & set(wanted):
        wanted = Exact(wanted)
    if isinstance(wanted, Exact):
        where = where.and_(f"{column} = ?", column_value(wanted.key))
        return replace(where, is_point_lookup=True) if column == "sender" else where
    if wanted == "*":
        return where
    if "\0" in wanted:  # in no key that is compared below
        return where.and_("0")
    # A key that is no text is a BLOB of its literal, and GLOB matches no BLOB.
    # In it, a text that no charset could decode stands as Python escapes it.
    pattern = wanted.encode(errors="backslashreplace").decode()
    matches = f"CAST({column} AS TEXT) GLOB ? AND instr({column}, char(0)) = 0"
    return where.and_(matches, pattern)
