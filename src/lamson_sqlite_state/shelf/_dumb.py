"""Reads shelves of dbm.dumb and of Python 2's dumbdbm: a file of values, and an index in text.

Each line of the index has a key and the place of its value. dbm.dumb itself is not used, because it
keeps the whole index in memory, and creates files where it finds none.
"""

import ast
import re
from collections.abc import Iterator
from typing import Final

from ._file import Source
from ._key import refused, too_long
from ._literals import STRING
from ._record import LONGEST_BYTES, Reader, Record, Refused, printable

# A key, then the offset and the length of its value. Python 2 wrote the repr of the key's bytes,
# and Python 3 the repr of its Latin-1 text, in which bytes that are no ASCII may stand unescaped.
_LINE: Final = re.compile(rb"(.+), \((\d{1,18})L?, (\d{1,18})L?\)\s*", re.DOTALL)
_PLAIN: Final = re.compile(rb"""'[^'\\\x00-\x1f]*+'|"[^"\\\x00-\x1f]*+\"""")
_KEY: Final = re.compile(STRING)

_LONGEST_LINE_BYTES: Final = 4 * LONGEST_BYTES + 64  # each byte of the key may be an escape
_CHUNK_BYTES: Final = 1 << 16


class Dumb(Reader):
    """The records of a pair of files, in the order of the index.

    A key may stand in the index twice, where two processes wrote to the shelf. Both records are
    read; the last one counts, as it does for dbm.dumb.

    Args:
        index: the ``.dir`` file, or the ``.bak`` one; closed with the reader.
        values: the ``.dat`` file; closed with the reader.
    """

    kind = "dbm.dumb"

    def __init__(self, index: Source, values: Source) -> None:
        super().__init__(index, values)
        self._values = values
        self._count = sum(1 for _ in self._lines())

    def count(self) -> int:
        """Return how many lines the index has; see `Reader`."""
        return self._count

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        # Values overlap only where several processes wrote at once, so there is a bound on what is
        # read.
        self._unread = 16 * (self._values.size + _CHUNK_BYTES)
        return map(self._record, self._lines())

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        for offset in range(0, self._source.size, _CHUNK_BYTES):
            length = min(_CHUNK_BYTES, self._source.size - offset)
            first, *others = self._source.read(offset, length).split(b"\n")
            rest += first
            if len(rest) > _LONGEST_LINE_BYTES:
                raise self._source.damaged("a line of its index has no end")
            if others:
                yield rest
                yield from others[:-1]
                rest = others[-1]
        if rest:
            yield rest

    def _record(self, line: bytes) -> Record:
        found = _LINE.fullmatch(line)
        key = _key(found[1]) if found else None
        if found is None or key is None:
            return Refused(printable(line), "its line of the index is damaged")
        offset, length = int(found[2]), int(found[3])
        if max(len(key), length) > LONGEST_BYTES:
            return too_long(key, len(key), length)
        if not self._values.holds(offset, length):
            return refused(key, f"its value lies outside of {self._values.path}")
        self._unread -= length
        if self._unread < 0:
            raise self._values.damaged("its values overlap")
        return key, self._values.read(offset, length)


def _key(literal: bytes) -> bytes | None:
    if _PLAIN.fullmatch(literal):
        return literal[1:-1]
    text = literal.decode("latin-1")
    if not _KEY.fullmatch(text):
        return None
    try:
        return str(ast.literal_eval(text)).encode("latin-1")
    except (ValueError, SyntaxError, MemoryError):
        return None
