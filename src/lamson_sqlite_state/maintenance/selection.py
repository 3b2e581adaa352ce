"""Selects rows by the conditions that an operator gives: module, sender, state, age."""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ..keys.columns import checked_state, column_value
from ..keys.rows import OLDEST_MS
from ..sqlite.bulk.scan import EVERYTHING, Where

_WILDCARDS: Final = frozenset("*?[")


class Exact(NamedTuple):
    """Exactly this key, even if it is no text or contains a wildcard."""

    key: object


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows for which all given conditions hold.

    Args:
        module: `Exact` a key, or a pattern, in which ``*`` stands for any text, ``?`` for any
            character and ``[a-z]`` for one of these characters
            (https://www.sqlite.org/lang_expr.html#glob); upper and lower case differ. A text
            without any of these is exactly that text. A pattern is compared with the literal, in
            ASCII, of a key that is no plain text. A key with a NUL matches only ``*`` alone,
            because SQLite's patterns end at a NUL.
        sender: likewise.
        state: exactly this state; None for any.
        entered_before_ms: entered the state before this moment (Unix time in ms).
        entered_after_ms: entered the state at this moment or later (Unix time in ms).

    Raises:
        TypeError: a key is of a type that no store keeps, or the state is no text. The function
            that is given the selection raises this and the next one.
        ValueError: the state holds lone surrogates.
    """

    module: str | Exact = "*"
    sender: str | Exact = "*"
    state: str | None = None
    entered_before_ms: int | None = None
    entered_after_ms: int | None = None

    @property
    def where(self) -> Where:
        """The same condition in SQL."""
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
        """Of these rows, those that are old by a true time; all, if no age is asked for."""
        if self.entered_before_ms is None:
            return self
        return replace(self, entered_after_ms=max(self.entered_after_ms or 0, OLDEST_MS))

    @property
    def with_false_ages(self) -> "Selection":
        """Of these rows, those whose time is from a clock that stood wrong: before 2009."""
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
    if "\0" in wanted:  # the comparison below leaves out all keys with a NUL
        return where.and_("0")
    # GLOB matches no BLOB, and a key that is no plain text is a BLOB of its literal. There, Python
    # has escaped what no charset could decode, so the pattern is escaped too.
    pattern = wanted.encode(errors="backslashreplace").decode()
    matches = f"CAST({column} AS TEXT) GLOB ? AND instr({column}, char(0)) = 0"
    return where.and_(matches, pattern)
