"""Reads hash tables of Berkeley DB 1.85: dbm.ndbm on BSD and macOS.

A header tells where each bucket's first page is. A page begins with a row of two-byte numbers:
how many follow, then two for each pair, then how much is free and where. The pairs lie from the
page's end downwards. The second number of a pair is where its value begins, or one of the first
four, which say that the first leads to another page, or that the pair is too big for one.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..errors import NotAShelf
from ._record import LONGEST_BYTES, Record, Refused, printable, too_long
from ._source import Source, damaged

__all__ = ["Berkeley185", "is_berkeley_185"]

_MAGIC: Final = b"\0\6\x15\x61"
_VERSION: Final = 2
# Version, the pages' byte order, page size, last bucket, records, header's pages, spares: always
# big-endian, whatever the pages are.
_HEADER: Final = struct.Struct(">4x3i24xi12x2i4x32i")
_ORDERS: Final = {1234: "<", 4321: ">"}

_NEXT_PAGE, _PART_OF_KEY, _END_OF_KEY, _KEY_AND_VALUE = 0, 1, 2, 3
"""In the place of a value's offset. On the later pages of a pair that is too big, the third means
that the value goes on, the last that it ends."""


class _Page(NamedTuple):
    content: bytes
    numbers: tuple[int, ...]  # of the pairs, and of the free space

    @property
    def following(self) -> int:
        return self.numbers[-4]


def is_berkeley_185(start: bytes) -> bool:
    """Whether a file with this start says that Berkeley DB 1.85 wrote it."""
    return start.startswith(_MAGIC)


class Berkeley185:
    """The records of one hash table, in the order of its buckets.

    No more pages are read than the file has, so no file can keep the reader busy for longer
    than its size justifies.

    Args:
        source: the file; closed with the reader.

    Raises:
        NotAShelf: it is of another version, or damaged.
    """

    kind: Final = "Berkeley DB 1.85 hash"

    def __init__(self, source: Source) -> None:
        self.files = (source.path,)
        self._source = source
        if source.size < _HEADER.size:
            raise damaged("it ends within its header", source.path)
        fields = _HEADER.unpack(source.start(_HEADER.size))
        version, order, self._page_bytes, last, records, header_pages, *spares = fields
        if version != _VERSION:
            raise NotAShelf(
                f"this hash table of Berkeley DB 1 has version {version}, and only {_VERSION} is "
                "read",
                "give another path",
                source.path,
            )
        self._pages = -(-source.size // self._page_bytes) if self._page_bytes > 0 else 0
        if (
            order not in _ORDERS
            or not 64 <= self._page_bytes <= 65536
            or self._page_bytes & (self._page_bytes - 1)
            or not 0 <= last < 2 * self._pages
            or header_pages < 1
        ):
            raise damaged("its header contradicts itself", source.path)
        self._order = _ORDERS[order]
        self._last_bucket = last
        self._header_pages: int = header_pages
        self._spares: tuple[int, ...] = (0, *spares)
        self._end = min(self._page_bytes, 65535)  # as far as two bytes can point
        self._says = records
        self.count: Final = records if 0 <= records <= source.size // 4 else None

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        self._pages_left = self._pages
        read = 0
        for bucket in range(self._last_bucket + 1):
            page = self._page(self._page_of_bucket(bucket))
            while page is not None and len(page.numbers) > 2:
                if page.numbers[1] in (_PART_OF_KEY, _END_OF_KEY, _KEY_AND_VALUE):
                    record, page = self._big_pair(page)
                    read += 1
                    yield record
                else:
                    for record in self._pairs(page):
                        read += 1
                        yield record
                    ends = page.numbers[-3] != _NEXT_PAGE
                    page = None if ends else self._overflow_page(page)

        if read < self._says:  # as a page behind the end may be empty, or cut off
            raise damaged(f"{self._says} records are said to be in it, {read} are", self.files[0])

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    def _damaged(self) -> NotAShelf:
        return damaged("a page contradicts itself", self._source.path)

    def _pairs(self, page: _Page) -> Iterator[Record]:
        end = self._end
        pairs = page.numbers[: -4 if page.numbers[-3] == _NEXT_PAGE else -2]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not 2 + 2 * len(page.numbers) <= value <= key <= end:
                raise self._damaged()
            yield page.content[key:end], page.content[value:key]
            end = value

    def _big_pair(self, page: _Page) -> tuple[Record, _Page | None]:
        key, value = _Parts(), _Parts()
        key.add(self._rest(page))
        while page.numbers[1] == _PART_OF_KEY:
            page = self._rest_of(page)
            key.add(self._rest(page))
        goes_on = page.numbers[1] == _END_OF_KEY
        if page.numbers[1] == _KEY_AND_VALUE:
            start, free = page.numbers[-3], page.numbers[-2]
            if not 2 + 2 * len(page.numbers) <= start <= page.numbers[0]:
                raise self._damaged()
            value.add(page.content[start : page.numbers[0]])
            goes_on = free == 0  # the writer leaves a byte where the value ends here
        elif not goes_on:
            raise self._damaged()
        while goes_on:
            page = self._rest_of(page)
            value.add(self._rest(page))
            if page.numbers[1] not in (_END_OF_KEY, _KEY_AND_VALUE):
                raise self._damaged()
            goes_on = page.numbers[1] == _END_OF_KEY
        is_last = len(page.numbers) == 4
        return _record(key, value), None if is_last else self._overflow_page(page)

    def _rest_of(self, page: _Page) -> _Page:
        following = self._overflow_page(page) if len(page.numbers) > 4 else None
        if following is None:
            raise damaged("a chain of pages is broken", self._source.path)
        return following

    def _rest(self, page: _Page) -> bytes:
        if len(page.numbers) < 4 or page.numbers[0] < 2 + 2 * len(page.numbers):
            raise self._damaged()
        return page.content[page.numbers[0] : self._end]

    def _page_of_bucket(self, bucket: int) -> int:
        return bucket + self._header_pages + self._spares[bucket.bit_length()]

    def _overflow_page(self, page: _Page) -> _Page | None:
        # The upper bits say how many buckets there were, to a power of 2, when the page was
        # taken from behind them.
        doublings, number = page.following >> 11, page.following & 0x7FF
        return self._page(self._page_of_bucket((1 << doublings) - 1) + number)

    def _page(self, number: int) -> _Page | None:
        # Behind the file's end are pages that never needed to be written, being empty.
        offset = number * self._page_bytes
        if number >= self._header_pages and offset >= self._source.size:
            return None
        self._pages_left -= 1
        if number < self._header_pages or self._pages_left < 0:
            raise damaged("a chain of pages is broken", self._source.path)
        content = self._source.read(offset, self._end)
        (count,) = struct.unpack_from(self._order + "H", content)
        if count % 2 or 2 * count + 6 > self._page_bytes:
            raise self._damaged()
        return _Page(content, struct.unpack_from(f"{self._order}{count + 2}H", content, 2))


class _Parts:
    """A key or value from several pages; no more is kept than will be read."""

    def __init__(self) -> None:
        self.length = 0
        self._kept: list[bytes] = []

    def add(self, part: bytes) -> None:
        self.length += len(part)
        if self.length <= LONGEST_BYTES:
            self._kept.append(part)

    def joined(self) -> bytes:
        return b"".join(self._kept)


def _record(key: _Parts, value: _Parts) -> Record:
    if key.length > LONGEST_BYTES:
        return Refused(printable(key.joined()), too_long("key", key.length))
    if value.length > LONGEST_BYTES:
        return Refused(printable(key.joined()), too_long("value", value.length))
    return key.joined(), value.joined()
