"""Reads hash tables of Berkeley DB 1.85: dbm.ndbm on BSD and macOS.

The header tells where the first page of each bucket is. A page begins with numbers of two bytes:
their count, two numbers for each record, and the size and the offset of the free space. The records
lie from the end of the page downwards. The two numbers of a record are the offsets of its key and
of its value. In place of the value's offset, one of four flags may stand. Then the first number
leads to an overflow page, or the record is too big for one page.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import NotAShelf
from ._file import Source, is_page_size
from ._key import too_long
from ._record import LONGEST_BYTES, Reader, Record

_MAGIC: Final = b"\0\6\x15\x61"
_VERSION: Final = 2
# Version, byte order of the pages, page size, last bucket, number of records, pages of the header,
# spares. The header itself is always big-endian.
_HEADER: Final = struct.Struct(">4x3i24xi12x2i4x32i")
_ORDERS: Final = {1234: "<", 4321: ">"}

_NEXT_PAGE, _PART_OF_KEY, _END_OF_KEY, _KEY_AND_VALUE = 0, 1, 2, 3
"""The flags in place of a value's offset. On the later pages of a big record, the third means that
the value goes on, and the last that the value ends there."""


class _Page(NamedTuple):
    content: bytes
    numbers: tuple[int, ...]  # two for each record, and two for the free space
    numbers_end: int
    start: int  # offset of the first key
    flag: int  # the part of a big record on this page; else the offset of the first value


class _Parts:
    """A key or value from several pages; at most `LONGEST_BYTES` of it are kept."""

    def __init__(self) -> None:
        self.length = 0
        self._kept = bytearray()

    def add(self, part: bytes) -> None:
        self.length += len(part)
        if self.length <= LONGEST_BYTES:
            self._kept += part

    def joined(self) -> bytes:
        return bytes(self._kept)


class Berkeley185(Reader):
    """The records of one hash table, in the order of its buckets.

    No more pages are read than the file has, so no file can keep the reader busy for longer
    than its size justifies.

    Raises:
        NotAShelf: the table is of another version, or damaged.
    """

    kind = "Berkeley DB 1.85 hash"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if source.size < _HEADER.size:
            raise source.damaged("it ends within its header")
        fields = _HEADER.unpack(source.start(_HEADER.size))
        version, order, self._page_bytes, self._last_bucket, *rest = fields
        self._says, self._header_pages, *spares = rest
        self._pages_before: list[int] = [self._header_pages + each for each in (0, *spares)]
        if version != _VERSION:
            raise NotAShelf(
                f"this hash table of Berkeley DB 1 has version {version}, and only {_VERSION} is "
                "read",
                "give another path",
                source.path,
            )
        self._pages = -(-source.size // max(1, self._page_bytes))
        if (
            order not in _ORDERS
            or not is_page_size(self._page_bytes, 64)
            or not 0 <= self._last_bucket < 2 * self._pages
            or self._header_pages < 1
        ):
            raise source.damaged("its header contradicts itself")
        self._order = _ORDERS[order]
        self._end = min(self._page_bytes, 65535)  # as far as two bytes can point

    @staticmethod
    def wrote(start: bytes) -> bool:
        """Whether a file begins as those of Berkeley DB 1.85 do."""
        return start.startswith(_MAGIC)

    def count(self) -> int | None:
        """Return the header's number; see `Reader`. Each record has two numbers of two bytes."""
        return self._says if 0 <= self._says <= self._source.size // 4 else None

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        self._pages_left = self._pages
        read = 0
        for bucket in range(self._last_bucket + 1):
            for record in self._bucket(bucket):
                read += 1
                yield record
        if read < self._says:  # a page behind the end of the file is empty, or was cut off
            raise self._source.damaged(f"{self._says} records are said to be in it, {read} are")

    def _bucket(self, bucket: int) -> Iterator[Record]:
        page = self._page(self._page_of_bucket(bucket))
        while page is not None and len(page.numbers) > 2:
            if page.flag in (_PART_OF_KEY, _END_OF_KEY, _KEY_AND_VALUE):
                record, page = self._big_record(page)
                yield record
            else:
                yield from self._small_records(page)
                page = self._overflow_page(page) if page.numbers[-3] == _NEXT_PAGE else None

    def _contradiction(self) -> NotAShelf:
        return self._source.damaged("a page contradicts itself")

    def _small_records(self, page: _Page) -> Iterator[Record]:
        end = self._end
        starts = page.numbers[: -4 if page.numbers[-3] == _NEXT_PAGE else -2]
        for key, value in zip(starts[::2], starts[1::2], strict=True):
            if not page.numbers_end <= value <= key <= end:
                raise self._contradiction()
            yield page.content[key:end], page.content[value:key]
            end = value

    def _big_record(self, page: _Page) -> tuple[Record, _Page | None]:
        """Return a record that is too big for one page, and the page of the next record."""
        key, value = _Parts(), _Parts()
        page = self._big_key(page, key)
        page = self._big_value(page, value)
        following = self._overflow_page(page) if len(page.numbers) > 4 else None
        if max(key.length, value.length) > LONGEST_BYTES:
            return too_long(key.joined(), key.length, value.length), following
        return (key.joined(), value.joined()), following

    def _big_key(self, page: _Page, key: _Parts) -> _Page:
        """Read a key that begins on a page; return the page on which the key ends."""
        key.add(self._part(page))
        while page.flag == _PART_OF_KEY:
            page = self._following(page)
            key.add(self._part(page))
        return page

    def _big_value(self, page: _Page, value: _Parts) -> _Page:
        """Read the value of a key that ends on a page; return the page on which the value ends."""
        if page.flag == _KEY_AND_VALUE:
            start, free = page.numbers[-3:-1]
            if not page.numbers_end <= start <= page.start:
                raise self._contradiction()
            value.add(page.content[start : page.start])
            if free:  # the writer leaves a byte free if the value ends on this page
                return page
        elif page.flag != _END_OF_KEY:
            raise self._contradiction()
        while True:
            page = self._following(page)
            value.add(self._part(page))
            if page.flag == _KEY_AND_VALUE:
                return page
            if page.flag != _END_OF_KEY:
                raise self._contradiction()

    def _part(self, page: _Page) -> bytes:
        if len(page.numbers) < 4 or page.start < page.numbers_end:
            raise self._contradiction()
        return page.content[page.start : self._end]

    def _following(self, page: _Page) -> _Page:
        following = self._overflow_page(page) if len(page.numbers) > 4 else None
        if following is None:
            raise self._source.damaged("a chain of pages is broken")
        return following

    def _page_of_bucket(self, bucket: int) -> int:
        return bucket + self._pages_before[bucket.bit_length()]

    def _overflow_page(self, page: _Page) -> _Page | None:
        # The pages of the buckets of one doubling are followed by overflow pages. The upper bits
        # tell behind which doubling the page lies, and the lower bits which of the pages it is.
        doublings, number = page.numbers[-4] >> 11, page.numbers[-4] & 0x7FF
        return self._page(self._page_of_bucket((1 << doublings) - 1) + number)

    def _page(self, number: int) -> _Page | None:
        # Pages behind the end of the file are empty, so they were never written.
        offset = number * self._page_bytes
        if number >= self._header_pages and offset >= self._source.size:
            return None
        self._pages_left -= 1
        if number < self._header_pages or self._pages_left < 0:
            raise self._source.damaged("a chain of pages is broken")
        content = self._source.read(offset, self._end)
        (count,) = struct.unpack_from(self._order + "H", content)
        if count % 2 or 2 * count + 6 > self._page_bytes:
            raise self._contradiction()
        numbers = struct.unpack_from(f"{self._order}{count + 2}H", content, 2)
        return _Page(content, numbers, 2 * count + 6, *numbers[:2])
