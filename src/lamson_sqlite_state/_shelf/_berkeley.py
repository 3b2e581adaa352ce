"""Reads hash tables of Berkeley DB 4.1 to 6: dbm.ndbm on Debian, and bsddb of Python 2.

The file is pages of one size. Page 0 describes the table; pages of the hash types hold pairs of
items; what is too big for them lies on chains of overflow pages. All hash pages are read
in the order of the file, whichever bucket they belong to: so no chain of buckets can be broken
or run in circles.
"""

import struct
from collections.abc import Iterator
from typing import Final

from ..errors import NotAShelf
from ._record import LONGEST_BYTES, Record, Refused, printable, too_long
from ._source import Source, damaged

__all__ = ["Berkeley", "is_berkeley"]

_HASH_MAGIC: Final = 0x061561
_OTHER_MAGICS: Final = {0x053162: "B-tree", 0x042253: "queue", 0x074582: "heap"}
_VERSIONS: Final = (8, 9, 10)
_META_BYTES: Final = 512

# Magic, version, page size, encryption, page type, flags, last page, and the number of records.
_META: Final = "12x3I3B5xI52xI"
_META_TYPE: Final = 8
_CHECKSUMS: Final = 1

# Previous page, next page, number of items, where they begin (on overflow pages, how many bytes
# there are), page type; the page's own number stands before.
_PAGE: Final = "8x3I2HxB"
_INVALID, _HASH_UNSORTED, _OVERFLOW, _HASH = 0, 2, 7, 13
_PAGE_HEAD_BYTES: Final = 26
_CHECKED_PAGE_HEAD_BYTES: Final = 32

_ON_PAGE, _DUPLICATES, _OFF_PAGE, _OFF_PAGE_DUPLICATES = 1, 2, 3, 4
_OFF_PAGE_ITEM: Final = "4x2I"  # the first page of its chain, and its length in bytes


def _byte_order(start: bytes) -> str | None:
    for order in "<>":
        if len(start) >= 16:
            magic = struct.unpack_from(order + "I", start, 12)[0]
            if magic == _HASH_MAGIC or magic in _OTHER_MAGICS:
                return order
    return None


def is_berkeley(start: bytes) -> bool:
    """Whether a file with this start says that Berkeley DB wrote it."""
    return _byte_order(start) is not None


class Berkeley:
    """The records of one hash table, in the order of its pages.

    Every page is read at most once, so no file can keep the reader busy for longer than its
    size justifies.

    Args:
        source: the file; closed with the reader.

    Raises:
        NotAShelf: it is of another kind or version, encrypted, or damaged.
    """

    kind: Final = "Berkeley DB hash"

    def __init__(self, source: Source) -> None:
        self.files = (source.path,)
        self._source = source
        start = source.start(_META_BYTES)
        order = _byte_order(start)
        if order is None or len(start) < _META_BYTES:
            raise damaged("it ends within its first page", source.path)
        fields = struct.unpack_from(order + _META, start)
        magic, version, self._page_bytes, encrypted, kind, flags, last_page, records = fields
        self._refuse_other_kinds(magic, version, encrypted)
        if (
            kind != _META_TYPE
            or not 512 <= self._page_bytes <= 65536
            or self._page_bytes & (self._page_bytes - 1)
        ):
            raise damaged("its first page contradicts itself", source.path)
        self._pages = last_page + 1
        if not source.holds(0, self._pages * self._page_bytes):
            raise damaged("it is shorter than it says", source.path)
        self._page_head = struct.Struct(order + _PAGE)
        self._off_page_item = struct.Struct(order + _OFF_PAGE_ITEM)
        self._order = order
        self._items_start = _CHECKED_PAGE_HEAD_BYTES if flags & _CHECKSUMS else _PAGE_HEAD_BYTES
        # Each record has two offsets of two bytes, and two items of at least one.
        self.count: Final = records if records <= source.size // 6 else None

    def _refuse_other_kinds(self, magic: int, version: int, encrypted: int) -> None:
        path = self._source.path
        if magic in _OTHER_MAGICS:
            raise NotAShelf(
                f"this is a Berkeley DB {_OTHER_MAGICS[magic]}, which shelve does not write",
                "give another path",
                path,
            )
        if version not in _VERSIONS:
            raise NotAShelf(
                f"this hash table of Berkeley DB has version {version}, and only 8 to 10 are read",
                "upgrade a copy of it (db_upgrade FILE)",
                path,
            )
        if encrypted:
            raise NotAShelf(
                "this is encrypted",
                "dump it with its password (db_dump -P), and load it again (db_load)",
                path,
            )

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        self._overflow_pages_left = self._pages
        for number in range(1, self._pages):
            page = self._source.read(number * self._page_bytes, self._page_bytes)
            own, _, _, items, _, kind = self._page_head.unpack_from(page)
            if kind not in (_HASH, _HASH_UNSORTED):
                continue
            if own != number or items % 2 or self._items_start + 2 * items > self._page_bytes:
                raise damaged(f"page {number} contradicts itself", self._source.path)
            yield from self._pairs(page, items)

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _pairs(self, page: bytes, items: int) -> Iterator[Record]:
        # The items lie from the end of the page downwards, so each ends where the one before
        # it begins.
        starts = struct.unpack_from(f"{self._order}{items}H", page, self._items_start)
        ends = (self._page_bytes, *starts)
        lowest = self._items_start + 2 * items
        for start, end in zip(starts, ends, strict=False):
            if not lowest <= start < end:
                raise damaged("an item does not lie on its page", self._source.path)
        for index in range(0, items, 2):
            key = page[starts[index] : ends[index]]
            value = page[starts[index + 1] : ends[index + 1]]
            if key[0] == value[0] == _ON_PAGE:
                yield key[1:], value[1:]
            else:
                yield self._record(key, value)

    def _record(self, key: bytes, value: bytes) -> Record:
        key_bytes, value_bytes = self._length(key), self._length(value)
        if key_bytes is not None and key_bytes > LONGEST_BYTES:
            return Refused("(a key)", too_long("key", key_bytes))
        key_read = self._item(key)
        if key_read is None:
            raise damaged("a key is of a kind that keys do not have", self._source.path)
        if value_bytes is not None and value_bytes > LONGEST_BYTES:
            return Refused(printable(key_read), too_long("value", value_bytes))
        value_read = self._item(value)
        if value_read is not None:
            return key_read, value_read
        if value[0] in (_DUPLICATES, _OFF_PAGE_DUPLICATES):
            return Refused(printable(key_read), "it has several values, and a shelf has one")
        raise damaged("a value is of no known kind", self._source.path)

    def _length(self, item: bytes) -> int | None:
        if item[0] != _OFF_PAGE:
            return None
        if len(item) != self._off_page_item.size:
            raise damaged("an item does not lie on its page", self._source.path)
        length: int = self._off_page_item.unpack(item)[1]
        return length

    def _item(self, item: bytes) -> bytes | None:
        if item[0] == _ON_PAGE:
            return item[1:]
        if item[0] == _OFF_PAGE:
            return self._chain(*self._off_page_item.unpack(item))
        return None

    def _chain(self, number: int, length: int) -> bytes:
        parts = []
        while length > 0:
            self._overflow_pages_left -= 1
            if not 0 < number < self._pages or self._overflow_pages_left < 0:
                raise damaged("a chain of pages is broken", self._source.path)
            page = self._source.read(number * self._page_bytes, self._page_bytes)
            own, _, following, _, here, kind = self._page_head.unpack_from(page)
            if (
                own != number
                or kind != _OVERFLOW
                or not 0 < here <= min(length, self._page_bytes - self._items_start)
            ):
                raise damaged("a chain of pages is broken", self._source.path)
            parts.append(page[self._items_start : self._items_start + here])
            length -= here
            number = following
        return b"".join(parts)
