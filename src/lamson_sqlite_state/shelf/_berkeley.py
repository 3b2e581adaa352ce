"""Reads hash tables of Berkeley DB 4.1 to 6: dbm.ndbm on Debian, and bsddb of Python 2.

The file consists of pages of one size. Page 0 describes the table. Hash pages have the items of
records, a key and a value in turn. A big item lies on a chain of overflow pages. All hash pages are
read in the order of the file, whichever bucket they belong to, so that a chain of a bucket's pages
that is broken or runs in circles does no harm.
"""

import struct
from collections.abc import Iterator
from typing import Final

from ..errors import NotAShelf
from ._file import Source, byte_order, is_page_size
from ._key import refused, too_long
from ._record import LONGEST_BYTES, UNREAD_KEY, Reader, Record

_HASH: Final = "hash"
_MAGICS: Final = {0x061561: _HASH, 0x053162: "B-tree", 0x042253: "queue", 0x074582: "heap"}
_VERSIONS: Final = (8, 9, 10)
_META_BYTES: Final = 512

# Magic, version, page size, encryption, page type, flags, last page, and the number of records.
_MAGIC_AT: Final = 12
_META: Final = "12x3I3B5xI52xI"
_META_TYPE: Final = 8
_CHECKSUMS: Final = 1

# Own number, previous page, next page, number of items, offset of the items (on overflow pages, the
# number of bytes), page type.
_PAGE: Final = "8x3I2HxB"
_HASH_UNSORTED_PAGE, _OVERFLOW_PAGE, _HASH_PAGE = 2, 7, 13
_PAGE_HEAD_BYTES: Final = 26
_CHECKED_PAGE_HEAD_BYTES: Final = 32

_ON_PAGE, _DUPLICATES, _OFF_PAGE, _OFF_PAGE_DUPLICATES = 1, 2, 3, 4
_OFF_PAGE_ITEM: Final = "4x2I"  # the first page of the chain, and the length of the item in bytes


class Berkeley(Reader):
    """The records of one hash table, in the order of its pages.

    No more pages are read than the file has, once as hash pages and once as overflow pages, so no
    file can keep the reader busy for longer than its size justifies.

    Raises:
        NotAShelf: the table is of another kind or version, encrypted, or damaged.
    """

    kind = "Berkeley DB hash"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        start = source.start(_META_BYTES)
        order = byte_order(start, _MAGIC_AT, _MAGICS)
        if order is None or len(start) < _META_BYTES:
            raise source.damaged("it ends within its first page")
        fields = struct.unpack_from(order + _META, start)
        magic, version, self._page_bytes, encrypted, kind, flags, last_page, self._says = fields
        refusal = _reason_and_remedy(_MAGICS[magic], version, encrypted)
        if refusal is not None:
            raise NotAShelf(*refusal, source.path)
        if kind != _META_TYPE or not is_page_size(self._page_bytes, 512):
            raise source.damaged("its first page contradicts itself")
        self._pages = last_page + 1
        if not source.holds(0, self._pages * self._page_bytes):
            raise source.damaged("it is shorter than it says")
        self._page_head = struct.Struct(order + _PAGE)
        self._off_page_item = struct.Struct(order + _OFF_PAGE_ITEM)
        self._order = order
        self._items_start = _CHECKED_PAGE_HEAD_BYTES if flags & _CHECKSUMS else _PAGE_HEAD_BYTES

    @staticmethod
    def wrote(start: bytes) -> bool:
        """Whether a file begins as those of Berkeley DB do."""
        return byte_order(start, _MAGIC_AT, _MAGICS) is not None

    def count(self) -> int | None:
        """Return the number on the first page; see `Reader`."""
        # Each record has two offsets of two bytes, and two items of at least one.
        return self._says if self._says <= self._source.size // 6 else None

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        self._overflow_pages_left = self._pages
        for number in range(1, self._pages):
            page = self._source.read(number * self._page_bytes, self._page_bytes)
            own, _, _, items, _, kind = self._page_head.unpack_from(page)
            if kind not in (_HASH_PAGE, _HASH_UNSORTED_PAGE):
                continue
            if own != number or items % 2 or self._items_start + 2 * items > self._page_bytes:
                raise self._source.damaged(f"page {number} contradicts itself")
            yield from self._page_records(page, items)

    def _page_records(self, page: bytes, items: int) -> Iterator[Record]:
        # The items lie from the end of the page downwards, so each item ends at the start of the
        # item before it.
        starts = struct.unpack_from(f"{self._order}{items}H", page, self._items_start)
        ends = (self._page_bytes, *starts)
        lowest = self._items_start + 2 * items
        for start, end in zip(starts, ends, strict=False):
            if not lowest <= start < end:
                raise self._source.damaged("an item does not lie on its page")
        for index in range(0, items, 2):
            key = page[starts[index] : ends[index]]
            value = page[starts[index + 1] : ends[index + 1]]
            if key[0] == value[0] == _ON_PAGE:
                yield key[1:], value[1:]
            else:
                yield self._record(key, value)

    def _record(self, key: bytes, value: bytes) -> Record:
        key_bytes, value_bytes = self._length(key), self._length(value)
        shown = self._item(key) if key_bytes <= LONGEST_BYTES else UNREAD_KEY
        if max(key_bytes, value_bytes) > LONGEST_BYTES:
            return too_long(shown, key_bytes, value_bytes)
        if value[0] in (_DUPLICATES, _OFF_PAGE_DUPLICATES):
            return refused(shown, "it has several values, and a shelf has one")
        return shown, self._item(value)

    def _length(self, item: bytes) -> int:
        if item[0] != _OFF_PAGE:
            return len(item) - 1
        if len(item) != self._off_page_item.size:
            raise self._source.damaged("an item does not lie on its page")
        length: int = self._off_page_item.unpack(item)[1]
        return length

    def _item(self, item: bytes) -> bytes:
        if item[0] == _ON_PAGE:
            return item[1:]
        if item[0] == _OFF_PAGE:
            return self._chain(*self._off_page_item.unpack(item))
        raise self._source.damaged("an item is of no known kind")

    def _chain(self, number: int, length: int) -> bytes:
        parts = []
        while length > 0:
            self._overflow_pages_left -= 1
            if not 0 < number < self._pages or self._overflow_pages_left < 0:
                raise self._source.damaged("a chain of pages is broken")
            page = self._source.read(number * self._page_bytes, self._page_bytes)
            own, _, following, _, here, kind = self._page_head.unpack_from(page)
            if (
                own != number
                or kind != _OVERFLOW_PAGE
                or not 0 < here <= min(length, self._page_bytes - self._items_start)
            ):
                raise self._source.damaged("a chain of pages is broken")
            parts.append(page[self._items_start : self._items_start + here])
            length -= here
            number = following
        return b"".join(parts)


def _reason_and_remedy(access_method: str, version: int, encrypted: int) -> tuple[str, str] | None:
    """Return why a table of Berkeley DB cannot be read, and the remedy; None if it can be read."""
    what = f"this is a Berkeley DB {access_method}"
    if access_method != _HASH:
        return f"{what}, which shelve does not write", "give another path"
    if version not in _VERSIONS:
        remedy = "upgrade a copy of it (db_upgrade FILE)"
        return f"{what} of version {version}, and only 8 to 10 are read", remedy
    if encrypted:
        remedy = "dump it with its password (db_dump -P), and load it again (db_load)"
        return f"{what} that is encrypted", remedy
    return None
