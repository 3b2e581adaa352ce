"""Reads what GNU dbm wrote, on whatever machine.

A header names a directory of pointers to buckets; a bucket names where its keys lie, each with
its value behind it. The manual at https://www.gnu.org.ua/software/gdbm/ says nothing of the file:
these are the structures of gdbm 1.23, as its builds for 64 and 32 bits write them.
"""

import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

from ._record import LONGEST_BYTES, Record, Refused, printable, too_long
from ._source import Source, damaged

__all__ = ["Gdbm", "is_gdbm"]


class _Form(NamedTuple):
    """How a machine laid out its numbers: file offsets of 4 or 8 bytes, padded or not."""

    offset: str
    bucket_head_bytes: int  # before the elements: a count, six free areas, bits, count

    @property
    def header(self) -> str:
        # magic, block size, directory, its bytes, its bits, bucket's bytes, elements, end
        return f"2i{self.offset}4i{self.offset}"

    @property
    def element(self) -> str:
        # hash, start of the key, where the key lies, its bytes, its value's bytes
        return f"i4s{self.offset}2i"


_NARROW: Final = _Form("i", 4 + 6 * 8 + 8)
_WIDE: Final = _Form("q", 8 + 6 * 16 + 8)
_WIDE_UNPADDED: Final = _Form("q", 4 + 6 * 12 + 8)  # 32-bit machines with large files

# The oldest number was used for offsets of both widths; which, its header tells. The last two
# have eight more numbers behind the header (numsync), which reading needs not.
_FORMS: Final = {
    0x13579ACE: (_WIDE, _WIDE_UNPADDED, _NARROW),
    0x13579ACD: (_NARROW,),
    0x13579ACF: (_WIDE, _WIDE_UNPADDED),
    0x13579AD0: (_NARROW,),
    0x13579AD1: (_WIDE, _WIDE_UNPADDED),
}

_HEADER_BYTES: Final = 40
_EMPTY: Final = -1  # the hash value of an element that holds nothing
_POINTERS_AT_ONCE: Final = 8192


def _byte_order(start: bytes) -> str | None:
    for order in "<>":
        if len(start) >= 4 and struct.unpack_from(order + "I", start)[0] in _FORMS:
            return order
    return None


def is_gdbm(start: bytes) -> bool:
    """Whether a file with this start says that GNU dbm wrote it."""
    return _byte_order(start) is not None


class Gdbm:
    """The records of one file of GNU dbm, in the order of their hash values.

    Every bucket and every byte is read at most once, so no file can keep the reader busy for
    longer than its size justifies.

    Args:
        source: the file; closed with the reader.
        kind: what to call it; ``dbm.ndbm`` where its compatibility layer wrote it.

    Raises:
        NotAShelf: its header is damaged.
    """

    def __init__(self, source: Source, kind: str = "dbm.gnu") -> None:
        self.kind = kind
        self.files = (source.path,)
        self._source = source
        start = source.start(_HEADER_BYTES)
        order = _byte_order(start)
        if order is None or len(start) < _HEADER_BYTES:
            raise damaged("it ends within its header", source.path)
        for form in _FORMS[struct.unpack_from(order + "I", start)[0]]:
            if self._fits(start, order, form):
                return
        raise damaged("its header contradicts itself", source.path)

    def _fits(self, start: bytes, order: str, form: _Form) -> bool:
        header = struct.unpack_from(order + form.header, start)
        _, _, self._directory, directory_bytes, self._bits, self._bucket_bytes, elements, _ = header
        self._pointer = struct.Struct(order + form.offset)
        self._bucket_head = struct.Struct(f"{order}{form.bucket_head_bytes - 8}x2i")
        self._element = struct.Struct(order + form.element)
        self._elements = elements
        return (
            0 <= self._bits < 31
            and directory_bytes == self._pointer.size << self._bits
            and self._source.holds(self._directory, directory_bytes)
            and elements == (self._bucket_bytes - self._bucket_head.size) // self._element.size > 0
        )

    @cached_property
    def count(self) -> int:
        """How many records the buckets say they hold; reads the buckets, not the records.

        Raises:
            NotAShelf: the directory is damaged.
        """
        counts = (self._bucket_head.unpack_from(bucket)[1] for bucket in self._buckets())
        return sum(min(max(0, count), self._elements) for count in counts)

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        unread = self._source.size
        elements_end = self._bucket_head.size + self._elements * self._element.size
        for bucket in self._buckets():
            elements = memoryview(bucket)[self._bucket_head.size : elements_end]
            for hashed, key_start, offset, key_bytes, value_bytes in self._element.iter_unpack(
                elements
            ):
                if hashed == _EMPTY:
                    continue
                if key_bytes < 0 or value_bytes < 0:
                    raise damaged("a length is negative", self._source.path)
                unread -= key_bytes + value_bytes
                if unread < 0:
                    raise damaged("its records overlap", self._source.path)
                yield self._record(key_start, offset, key_bytes, value_bytes)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _record(self, key_start: bytes, offset: int, key_bytes: int, value_bytes: int) -> Record:
        if key_bytes > LONGEST_BYTES or value_bytes > LONGEST_BYTES:
            shown = printable(self._source.read(offset, min(key_bytes, 1024)))
            if key_bytes > LONGEST_BYTES:
                return Refused(shown, too_long("key", key_bytes))
            return Refused(shown, too_long("value", value_bytes))
        both = self._source.read(offset, key_bytes + value_bytes)
        if not both.startswith(key_start[:key_bytes]):
            raise damaged("a pointer leads to another key than it says", self._source.path)
        return both[:key_bytes], both[key_bytes:]

    def _buckets(self) -> Iterator[bytes]:
        # A bucket that tells its keys apart by fewer bits than the directory has stands in it
        # several times in a row.
        unread = self._source.size
        index = 0
        for pointer in self._pointers():
            if index > 0:
                index -= 1
                continue
            unread -= self._bucket_bytes
            if unread < 0:
                raise damaged("its buckets overlap", self._source.path)
            bucket = self._source.read(pointer, self._bucket_bytes)
            bits = self._bucket_head.unpack_from(bucket)[0]
            if not 0 <= bits <= self._bits:
                raise damaged("a bucket does not fit its directory", self._source.path)
            yield bucket
            index = (1 << (self._bits - bits)) - 1

    def _pointers(self) -> Iterator[int]:
        width = self._pointer.size
        end = self._directory + (width << self._bits)
        for offset in range(self._directory, end, width * _POINTERS_AT_ONCE):
            length = min(width * _POINTERS_AT_ONCE, end - offset)
            for (pointer,) in self._pointer.iter_unpack(self._source.read(offset, length)):
                yield pointer
