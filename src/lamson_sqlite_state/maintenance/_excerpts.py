"""Reads rows for a screen: only the beginning and the end of a very long key or state.

A sender is as long as a mail's From header made it, which may be 10 MB. No screen has room for
that. To fetch, check and lay out a few such senders takes minutes and gigabytes.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ..keys.rows import Row, format_key, format_state, key_of_column, row_of
from ..sqlite.bulk.scan import Columns

LONGEST_BYTES: Final = 4096
"""A key or a state of so many bytes at most is read whole."""

# Together, both ends are never longer than that, because a character has at most 4 bytes.
_BEGIN_CHARACTERS: Final = LONGEST_BYTES // 8
_END_BYTES: Final = LONGEST_BYTES // 2

# The bytes of UTF-8 with which no character begins.
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))


class Excerpt(NamedTuple):
    """A key or a state as it is shown: whole, or its beginning and its end.

    Attributes:
        begin: the whole text, or its beginning.
        end: the end of the text, or "" where `begin` is the whole text.
        left_out_bytes: how many bytes stand between both.
    """

    begin: str
    end: str = ""
    left_out_bytes: int = 0


class RowExcerpt(NamedTuple):
    """A pair and its state, for a screen.

    Attributes:
        module: the pair's.
        sender: the pair's.
        state: the pair's.
        since: when the pair entered this state, in milliseconds of Unix time.
    """

    module: Excerpt
    sender: Excerpt
    state: Excerpt
    since: int

    @classmethod
    def of(cls, row: Row) -> "RowExcerpt":
        """Return a row that was read whole, in this form."""
        module, sender = Excerpt(format_key(row.module)), Excerpt(format_key(row.sender))
        return cls(module, sender, Excerpt(format_state(row.state)), row.since)


class CountExcerpt(NamedTuple):
    """A `StateCount` for a screen: of a long module or state, it has only both ends."""

    module: Excerpt
    state: Excerpt
    pairs: int
    oldest_ms: int
    newest_ms: int


def _columns(cut: Sequence[str], whole: Sequence[str] = ()) -> Columns:
    sql: list[str] = []
    names: list[str] = []
    for name in cut:
        # The bytes are measured and cut, because `length` and `substr` of a TEXT stop at a NUL.
        as_bytes = f"CAST({name} AS BLOB)"
        is_short = f"length({as_bytes}) <= {LONGEST_BYTES}"
        begin = f"CASE WHEN {is_short} THEN {name} ELSE substr({name}, 1, {_BEGIN_CHARACTERS}) END"
        end = f"CASE WHEN {is_short} THEN x'' ELSE substr({as_bytes}, -{_END_BYTES}) END"
        sql += f"{begin} AS {name}", end, f"length({as_bytes})"
        names += name, f"{name}_end", f"{name}_size"
    return Columns(", ".join((*sql, *whole)), (*names, *whole))


EXCERPTS: Final = _columns(("sender", "module", "state"), ("since",))
"""The columns of rows. In ORDER BY, `sender` is the excerpt, and `states.sender` the whole key."""

COUNTED: Final = _columns(("module", "state"))
"""The columns that rows are counted by."""


def excerpt_of(raw: tuple[Any, ...], path: str) -> RowExcerpt:
    """Return a row that was read as `EXCERPTS`.

    Raises:
        NotAStateFile: no store has written the row. Of a long key, only the type is checked.
    """
    since = raw[9]
    row_of(("", "", "", since), path)
    return RowExcerpt(
        _of_key(path, *raw[3:6]), _of_key(path, *raw[:3]), _of_state(path, *raw[6:9]), since
    )


def count_excerpt_of(raw: tuple[Any, ...], path: str) -> CountExcerpt:
    """Return a count by `COUNTED`: ``(*columns, pairs, oldest, newest)``.

    Raises:
        NotAStateFile: as `excerpt_of`.
    """
    for since in raw[7:]:
        row_of(("", "", "", since), path)
    return CountExcerpt(_of_key(path, *raw[:3]), _of_state(path, *raw[3:6]), *raw[6:])


def _of_key(path: str, value: str | bytes, end: bytes, size_bytes: int) -> Excerpt:
    if end:
        return _cut(value, end, size_bytes)
    return Excerpt(format_key(key_of_column(value, path)))


def _of_state(path: str, value: str, end: bytes, size_bytes: int) -> Excerpt:
    row_of(("", "", value, 0), path)
    return _cut(value, end, size_bytes) if end else Excerpt(format_state(value))


def _cut(begin: str | bytes, end: bytes, size_bytes: int) -> Excerpt:
    begin_bytes = begin.encode() if isinstance(begin, str) else begin
    whole = end.lstrip(_CONTINUATIONS)  # without the rest of a character that the cut goes through
    left_out = size_bytes - len(begin_bytes) - len(whole)
    return Excerpt(_escaped(begin_bytes), _escaped(whole), left_out)


def _escaped(text: bytes) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text.decode(errors="backslashreplace")
    )
