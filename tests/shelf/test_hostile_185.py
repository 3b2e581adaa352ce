"""Tables of Berkeley DB 1.85 made to mislead."""

import struct
from pathlib import Path
from typing import Final

import pytest

from lamson_sqlite_state.errors import NotAShelf
from lamson_sqlite_state.shelf import Entry, Refused, Shelf
from lamson_sqlite_state.shelf._berkeley185 import _Parts
from tests.helpers.shelf_files import SHELVES, read

BYTES: Final = 512
KEY: Final = b"['m', 'ann']"
VALUE: Final = b"X\7\0\0\0POSTING."
ENTRY: Final = Entry("m", "ann", "POSTING")

OVERFLOW: Final = 1 << 11  # plus the number of a page behind the first two buckets
NEXT, PART, END_OF_KEY, BOTH = 0, 1, 2, 3


def table(*pages: bytes, records: int = 1, last_bucket: int = 0, order: int = 1234) -> bytes:
    """Return a table: the header, the pages of the first two buckets, then overflow pages."""
    header = struct.pack(
        ">4i24xi12x2i4x32i", 0x061561, 2, order, BYTES, last_bucket, records, 1, *(0,) * 32
    )
    return b"".join(each.ljust(BYTES, b"\0") for each in (header, *pages))


def page(*numbers: int, tail: bytes = b"", free: int = 9) -> bytes:
    """Return a page of these numbers, with ``tail`` at its end."""
    head = struct.pack(f"<{len(numbers) + 3}H", len(numbers), *numbers, free, BYTES - len(tail))
    return head.ljust(BYTES - len(tail), b"\0") + tail


def one(key: bytes = KEY, value: bytes = VALUE) -> bytes:
    """Return the page of one pair."""
    start = BYTES - len(key)
    return page(start, start - len(value), tail=value + key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "states.db"


class TestPlain:
    def test_a_pair_is_read(self, path: Path) -> None:
        path.write_bytes(table(one()))
        assert read(path) == [ENTRY]

    def test_an_empty_page_leads_to_the_next(self, path: Path) -> None:
        path.write_bytes(table(page(OVERFLOW + 1, NEXT), page(), one()))
        assert read(path) == [ENTRY]

    def test_what_lies_behind_the_end_is_empty(self, path: Path) -> None:
        path.write_bytes(table(one(), last_bucket=1))
        assert read(path) == [ENTRY]

    def test_but_not_if_records_are_missing(self, path: Path) -> None:
        path.write_bytes(table(one(), last_bucket=1, records=2))
        with Shelf(path) as shelf:
            entries = iter(shelf)
            assert next(entries) == ENTRY
            with pytest.raises(NotAShelf, match="2 records are said to be in it, 1 are"):
                next(entries)

    def test_a_count_that_cannot_be_is_none(self, path: Path) -> None:
        path.write_bytes(table(one(), records=2**31 - 1))
        with Shelf(path) as shelf:
            assert shelf.count is None


class TestCircles:
    def test_a_chain_that_runs_in_a_circle_is_damaged(self, path: Path) -> None:
        circle = page(OVERFLOW + 1, NEXT)
        path.write_bytes(table(circle, page(), circle))
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(path)

    @pytest.mark.parametrize("flag", [PART, END_OF_KEY])
    def test_a_big_pair_that_runs_in_a_circle_is_damaged(self, flag: int, path: Path) -> None:
        circle = page(400, flag, OVERFLOW + 1, NEXT)
        path.write_bytes(table(circle, page(), circle))
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(path)

    def test_more_buckets_than_pages_are_damaged(self, path: Path) -> None:
        path.write_bytes(table(one(), last_bucket=2**31 - 1))
        with pytest.raises(NotAShelf, match="its header contradicts itself"):
            Shelf(path)


class TestBigPairs:
    def test_keys_and_values_that_are_too_long_are_refused_and_the_next_are_read(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("_berkeley185", "_key"):
            monkeypatch.setattr(f"lamson_sqlite_state.shelf.{module}.LONGEST_BYTES", 600)
        key = page(BYTES - len(KEY), END_OF_KEY, OVERFLOW + 1, NEXT, tail=KEY)
        more = [page(14, END_OF_KEY, OVERFLOW + 2, NEXT), page(14, BOTH, OVERFLOW + 3, NEXT)]
        path.write_bytes(table(key, page(), *more, one()))
        found, refused = read(path)
        assert found == ENTRY
        assert isinstance(refused, Refused)
        assert (refused.key, refused.reason[:26]) == (KEY.decode(), "its value has 996 bytes, m")
        more = [page(14, PART, OVERFLOW + 2, NEXT), page(14, BOTH, OVERFLOW + 3, 14, free=1)]
        path.write_bytes(table(page(14, PART, OVERFLOW + 1, NEXT), page(), *more, page()))
        (refused,) = read(path)
        assert isinstance(refused, Refused)
        assert refused.reason.startswith("its key has 1494 bytes")

    def test_no_more_is_kept_than_could_be_read(self) -> None:
        parts = _Parts()
        for _ in range(3):
            parts.add(bytes(600_000))
        assert (parts.length, len(parts.joined())) == (1_800_000, 600_000)

    @pytest.mark.parametrize(
        "first",
        [
            page(4, PART, OVERFLOW + 1, NEXT),
            page(400, BOTH, OVERFLOW + 1, 500),
            page(400, BOTH, OVERFLOW + 1, 2),
            page(3, BOTH),
        ],
    )
    def test_a_page_that_cannot_be_is_damaged(self, first: bytes, path: Path) -> None:
        path.write_bytes(table(first, page(), page(400, BOTH, OVERFLOW + 2, 300)))
        with pytest.raises(NotAShelf, match="contradicts itself"):
            read(path)

    def test_a_page_that_names_no_other_leads_nowhere(self, path: Path) -> None:
        """Its first number is where a part of the key begins, not a page, which there would be."""
        goal = page(400, BOTH, OVERFLOW + 2, 300)
        path.write_bytes(table(page(16, PART), *[page()] * 15, goal))
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(path)

    def test_a_pair_that_goes_on_on_an_empty_page_is_damaged(self, path: Path) -> None:
        """What would say that key and value end there is where the free space is."""
        empty = struct.pack("<3H", 0, 14, BOTH)
        path.write_bytes(table(page(400, PART, OVERFLOW + 1, NEXT), page(), empty))
        with pytest.raises(NotAShelf, match="contradicts itself"):
            read(path)

    @pytest.mark.parametrize("flag", [PART, END_OF_KEY])
    def test_a_pair_that_goes_on_with_something_else_is_damaged(
        self, flag: int, path: Path
    ) -> None:
        path.write_bytes(table(page(400, flag, OVERFLOW + 1, NEXT), page(), one()))
        with pytest.raises(NotAShelf, match="contradicts itself"):
            read(path)

    def test_a_pair_that_goes_on_behind_the_end_is_damaged(self, path: Path) -> None:
        path.write_bytes(table(page(400, PART, OVERFLOW + 7, NEXT), page()))
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(path)


@pytest.mark.parametrize(
    "numbers", [(500, 501), (513, 500), (500, 6), (500, 490, 495, 480), (500, NEXT, 490, 480)]
)
def test_a_pair_that_is_not_on_its_page_is_damaged(numbers: tuple[int, ...], path: Path) -> None:
    path.write_bytes(table(page(*numbers)))
    with pytest.raises(NotAShelf, match="contradicts itself"):
        read(path)


@pytest.mark.parametrize("count", [3, 254, 65535])
def test_a_page_with_too_many_pairs_is_damaged(count: int, path: Path) -> None:
    path.write_bytes(table(struct.pack("<H", count) + bytes(510)))
    with pytest.raises(NotAShelf, match="contradicts itself"):
        read(path)


@pytest.mark.parametrize(
    ("at", "new"), [(8, 99), (12, 0), (12, -512), (12, 700), (12, 32), (40, -1), (60, 0)]
)
def test_a_header_that_contradicts_itself_is_damaged(at: int, new: int, path: Path) -> None:
    content = bytearray((SHELVES / "berkeley-185.db").read_bytes())
    struct.pack_into(">i", content, at, new)
    path.write_bytes(content)
    with pytest.raises(NotAShelf, match="its header contradicts itself"):
        Shelf(path)


def test_spares_that_lead_into_the_header_are_damaged(path: Path) -> None:
    content = bytearray((SHELVES / "berkeley-185.db").read_bytes())
    struct.pack_into(">i", content, 68 + 4, -100)
    path.write_bytes(content)
    with pytest.raises(NotAShelf, match="a chain of pages is broken"):
        read(path)


def test_a_file_that_ends_within_its_header_is_damaged(path: Path) -> None:
    path.write_bytes((SHELVES / "berkeley-185.db").read_bytes()[:195])
    with pytest.raises(NotAShelf, match="ends within its header"):
        Shelf(path)
