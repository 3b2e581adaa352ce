"""Rows for a screen: of what is very long, only its beginning and its end are read.

A key is as long as a mail's From header made it, which may be 10 MB. No screen has room for that,
and to fetch, judge and lay out a few of them takes minutes and gigabytes.
"""

from typing import Any, Final, NamedTuple

from ..keys.rows import Row, format_key, format_state, key_of_column, row_of
from ..sqlite.bulk.scan import WHOLE, Columns

LONGEST_BYTES: Final = 4096
"""What is no longer is read whole."""

# Together they are never more than what is read whole, as no character has more than 4 bytes.
_BEGIN_CHARACTERS: Final = LONGEST_BYTES // 8
_END_BYTES: Final = LONGEST_BYTES // 2

# The bytes of UTF-8 with which no character begins.
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))


class Excerpt(NamedTuple):
    """A key or a state as it is shown: whole, or its beginning and its end.

    Attributes:
        begin: the beginning, or all.
        end: the end, or nothing.
        left_out_bytes: how many bytes stand between them.
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
        since: when it entered this state, in milliseconds of Unix time.
    """

    module: Excerpt
    sender: Excerpt
    state: Excerpt
    since: int

    @classmethod
    def of(cls, row: Row) -> "RowExcerpt":
        """Return that of a row that was read whole."""
        module, sender = Excerpt(format_key(row.module)), Excerpt(format_key(row.sender))
        return cls(module, sender, Excerpt(format_state(row.state)), row.since)


def _columns(name: str) -> tuple[str, str]:
    # As a BLOB, as `length` of a TEXT, and the end that `substr` gives of it, stop at a NUL.
    as_bytes = f"CAST({name} AS BLOB)"
    is_short = f"length({as_bytes}) <= {LONGEST_BYTES}"
    begin = f"CASE WHEN {is_short} THEN {name} ELSE substr({name}, 1, {_BEGIN_CHARACTERS}) END"
    end = f"CASE WHEN {is_short} THEN x'' ELSE substr({as_bytes}, -{_END_BYTES}) END"
    return f"{begin} AS {name}", f"{end}, length({as_bytes})"


_SENDER, _MODULE, _STATE = map(_columns, ("sender", "module", "state"))

EXCERPTS: Final = Columns(
    ", ".join((_SENDER[0], _MODULE[0], _STATE[0], "since", _SENDER[1], _MODULE[1], _STATE[1])),
    (*WHOLE.names, "sender_end", "sender_size", "module_end", "module_size", "state_end", "size"),
)
"""What to select. In ORDER BY, `sender` is the excerpt then, and `states.sender` the whole."""

COUNTED: Final = Columns(
    ", ".join((_MODULE[0], _STATE[0], _MODULE[1], _STATE[1])),
    ("module", "state", "module_end", "module_size", "state_end", "state_size"),
)
"""What rows are counted by."""


def excerpt_of(raw: tuple[Any, ...], path: str) -> RowExcerpt:
    """Return what was read as `EXCERPTS`.

    Raises:
        NotAStateFile: no store has written the row. Of a key that is long, only the type is seen.
    """
    sender, module, state, since, *ends = raw
    row_of(("", "", state, since), path)
    of_sender, of_module, of_state = zip(ends[::2], ends[1::2], strict=True)
    return RowExcerpt(
        _of_key(module, *of_module, path),
        _of_key(sender, *of_sender, path),
        _of_state(state, *of_state),
        since,
    )


def counted_of(raw: tuple[Any, ...], path: str) -> tuple[Excerpt, Excerpt]:
    """Return the module and the state that were read as `COUNTED`.

    Raises:
        NotAStateFile: as `excerpt_of`.
    """
    module, state, module_end, module_size, state_end, state_size = raw
    return _of_key(module, module_end, module_size, path), _of_state(state, state_end, state_size)


def _of_key(value: str | bytes, end: bytes, size_bytes: int, path: str) -> Excerpt:
    if not end:
        return Excerpt(format_key(key_of_column(value, path)))
    return _cut(value, end, size_bytes)


def _of_state(value: str, end: bytes, size_bytes: int) -> Excerpt:
    return _cut(value, end, size_bytes) if end else Excerpt(format_state(value))


def _cut(begin: str | bytes, end: bytes, size_bytes: int) -> Excerpt:
    begin_bytes = begin.encode() if isinstance(begin, str) else begin
    whole = end.lstrip(_CONTINUATIONS)  # of a letter that the excerpt begins within
    left_out = size_bytes - len(begin_bytes) - len(whole)
    return Excerpt(_escaped(begin_bytes), _escaped(whole), left_out)


def _escaped(text: bytes) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode()
        for each in text.decode(errors="backslashreplace")
    )
