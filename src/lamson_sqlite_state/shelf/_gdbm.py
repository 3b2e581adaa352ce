"""Reads shelves of GNU dbm, written on any machine.

A header tells where the directory lies, which has pointers to buckets. The elements of a bucket
tell where keys lie, each with its value behind it. The manual at
https://www.gnu.org.ua/software/gdbm/ does not describe the file: these are the structures of gdbm
1.23, in its builds for 64 and 32 bits.
"""

import struct
from collections.abc import Iterator
from typing import Final

from ._file import Source, byte_order
from ._key import too_long
from ._record import LONGEST_BYTES, Reader, Record

_MAGICS: Final = (0x13579ACD, 0x13579ACE, 0x13579ACF, 0x13579AD0, 0x13579AD1)
# The forms in which machines write their numbers: the type of a file offset, and the number of
# bytes of a bucket before its elements (a count, six free areas, bits, a count). The magic number
# does not tell the form, but the header fits only one. With the last two magic numbers, eight more
# numbers stand behind the header (numsync), which reading does not need.
_FORMS: Final = (
    ("q", 8 + 6 * 16 + 8),
    ("q", 4 + 6 * 12 + 8),  # unpadded: 32-bit machines with large files
    ("i", 4 + 6 * 8 + 8),
)

_HEADER_BYTES: Final = 40
_EMPTY: Final = -1  # the hash value of an element that holds nothing
_POINTERS_AT_ONCE: Final = 8192


class Gdbm(Reader):
    """The records of one file of GNU dbm, in the order of their hash values.

    No more bytes of buckets or of records are read than the file has, so no file can keep the
    reader busy for longer than its size justifies.

    Raises:
        NotAShelf: its header is damaged.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        # The ending of GNU dbm's compatibility layer for ndbm.
        self.kind = "dbm.ndbm" if source.path.endswith(".pag") else "dbm.gnu"
        start = source.start(_HEADER_BYTES)
        order = byte_order(start, 0, _MAGICS)
        if order is None or len(start) < _HEADER_BYTES:
            raise source.damaged("it ends within its header")
        for offset, bucket_head_bytes in _FORMS:
            if self._fits(start, order, offset, bucket_head_bytes):
                return
        raise source.damaged("its header contradicts itself")

    @staticmethod
    def wrote(start: bytes) -> bool:
        """Whether a file begins as those of GNU dbm do."""
        return byte_order(start, 0, _MAGICS) is not None

    def _fits(self, start: bytes, order: str, offset: str, bucket_head_bytes: int) -> bool:
        # Magic; block size; directory's offset, bytes and bits; bucket's bytes and elements; end.
        header = struct.unpack_from(f"{order}2i{offset}4i{offset}", start)
        _, _, self._directory, directory_bytes, self._bits, self._bucket_bytes, elements, _ = header
        self._pointer = struct.Struct(order + offset)
        self._bucket_head = struct.Struct(f"{order}{bucket_head_bytes - 8}x2i")
        # Hash value, start of the key, offset of the key, its length, the length of its value.
        self._element = struct.Struct(f"{order}i4s{offset}2i")
        self._elements = elements
        return (
            0 <= self._bits < 31
            and directory_bytes == self._pointer.size << self._bits
            and self._source.holds(self._directory, directory_bytes)
            and elements == (self._bucket_bytes - self._bucket_head.size) // self._element.size > 0
        )

    def count(self) -> int:
        """Return how many records there are by the counts of the buckets; see `Reader`."""
        counts = (self._bucket_head.unpack_from(bucket)[1] for bucket in self._buckets())
        return sum(min(max(0, count), self._elements) for count in counts)

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        unread = self._source.size
        elements_end = self._bucket_head.size + self._elements * self._element.size
        for bucket in self._buckets():
            elements = memoryview(bucket)[self._bucket_head.size : elements_end]
            for element in self._element.iter_unpack(elements):
                if element[0] == _EMPTY:
                    continue
                key_bytes, value_bytes = element[-2:]
                if key_bytes < 0 or value_bytes < 0:
                    raise self._source.damaged("a length is negative")
                unread -= key_bytes + value_bytes
                if unread < 0:
                    raise self._source.damaged("its records overlap")
                yield self._record(*element[1:])

    def _record(self, key_start: bytes, offset: int, key_bytes: int, value_bytes: int) -> Record:
        if max(key_bytes, value_bytes) > LONGEST_BYTES:
            shown = self._source.read(offset, min(key_bytes, 1024))
            return too_long(shown, key_bytes, value_bytes)
        both = self._source.read(offset, key_bytes + value_bytes)
        if not both.startswith(key_start[:key_bytes]):
            raise self._source.damaged("a pointer leads to another key than it says")
        return both[:key_bytes], both[key_bytes:]

    def _buckets(self) -> Iterator[bytes]:
        # A bucket that uses fewer bits of the hash value than the directory has several pointers,
        # in a row.
        unread = self._source.size
        index = 0
        for pointer in self._pointers():
            if index > 0:
                index -= 1
                continue
            unread -= self._bucket_bytes
            if unread < 0:
                raise self._source.damaged("its buckets overlap")
            bucket = self._source.read(pointer, self._bucket_bytes)
            bits = self._bucket_head.unpack_from(bucket)[0]
            if not 0 <= bits <= self._bits:
                raise self._source.damaged("a bucket does not fit its directory")
            yield bucket
            index = (1 << (self._bits - bits)) - 1

    def _pointers(self) -> Iterator[int]:
        width = self._pointer.size
        end = self._directory + (width << self._bits)
        for offset in range(self._directory, end, width * _POINTERS_AT_ONCE):
            length = min(width * _POINTERS_AT_ONCE, end - offset)
            for (pointer,) in self._pointer.iter_unpack(self._source.read(offset, length)):
                yield pointer
