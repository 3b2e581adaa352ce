"""Files made to mislead: each contradiction is found before it costs time or memory."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from lamson_sqlite_state.errors import NotAShelf
from lamson_sqlite_state.shelf import Refused, Shelf
from tests.helpers.shelf_files import SHELVES, read


def gnu_header(content: bytes | bytearray) -> tuple[Any, ...]:
    return struct.unpack_from("<2iq4iq", content)


class TestHostileGnu:
    def changed(self, tmp_path: Path, *changes: tuple[int, bytes]) -> Path:
        content = bytearray((SHELVES / "gnu").read_bytes())
        for at, new in changes:
            content[at : at + len(new)] = new
        (tmp_path / "gnu").write_bytes(content)
        return tmp_path / "gnu"

    def bucket(self) -> tuple[int, int]:
        """Return where the first pointer to a bucket stands, and where it leads."""
        content = (SHELVES / "gnu").read_bytes()
        directory = gnu_header(content)[2]
        return directory, struct.unpack_from("<q", content, directory)[0]

    def test_a_directory_full_of_one_bucket_is_damaged(self, tmp_path: Path) -> None:
        content = bytearray((SHELVES / "gnu").read_bytes())
        where, bucket = self.bucket()
        _, _, _, directory_bytes, bits, _, _, _ = gnu_header(content)
        struct.pack_into("<i", content, bucket + 104, bits)
        content[where : where + directory_bytes] = struct.pack("<q", bucket) * (1 << bits)
        (tmp_path / "gnu").write_bytes(content)
        with pytest.raises(NotAShelf, match="its buckets overlap"):
            Shelf(tmp_path / "gnu").count  # noqa: B018

    def test_records_that_all_lead_to_one_place_are_damaged(self, tmp_path: Path) -> None:
        content = bytearray((SHELVES / "gnu").read_bytes())
        _, bucket = self.bucket()
        for index in range(100):
            struct.pack_into("<i4sq2i", content, bucket + 112 + 24 * index, 1, b"", 0, 0, 20_000)
        (tmp_path / "gnu").write_bytes(content)
        with pytest.raises(NotAShelf, match="its records overlap"):
            read(tmp_path / "gnu")

    def test_a_directory_that_is_not_in_the_file_is_told_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "gnu").write_bytes((SHELVES / "gnu").read_bytes()[:4096])
        with pytest.raises(NotAShelf, match="its header contradicts itself"):
            Shelf(tmp_path / "gnu")

    @pytest.mark.parametrize("pointer", [1 << 62, -1])
    def test_a_pointer_that_leads_outside_is_damaged(self, pointer: int, tmp_path: Path) -> None:
        where, _ = self.bucket()
        with pytest.raises(NotAShelf, match="points outside"):
            read(self.changed(tmp_path, (where, struct.pack("<q", pointer))))

    @pytest.mark.parametrize("bits", [-1, 99])
    def test_a_bucket_with_more_bits_than_the_directory_is_damaged(
        self, bits: int, tmp_path: Path
    ) -> None:
        _, bucket = self.bucket()
        with pytest.raises(NotAShelf, match="does not fit its directory"):
            read(self.changed(tmp_path, (bucket + 104, struct.pack("<i", bits))))

    @pytest.mark.parametrize(
        ("element", "told"),
        [
            (struct.pack("<i4sq2i", 1, b"", 0, -1, 5), "a length is negative"),
            (struct.pack("<i4sq2i", 1, b"", 0, 5, -1), "a length is negative"),
            (struct.pack("<i4sq2i", 1, b"", 1 << 60, 5, 5), "points outside"),
            (struct.pack("<i4sq2i", 1, b"????", 0, 5, 5), "another key than it says"),
            (struct.pack("<i4sq2i", 1, b"", 0, 5, 2**31 - 1), "its records overlap"),
        ],
    )
    def test_a_record_that_cannot_be_is_damaged(
        self, element: bytes, told: str, tmp_path: Path
    ) -> None:
        _, bucket = self.bucket()
        with pytest.raises(NotAShelf, match=told):
            read(self.changed(tmp_path, (bucket + 112, element)))

    def test_a_value_that_is_too_long_is_not_read(self, tmp_path: Path) -> None:
        content = bytearray((SHELVES / "gnu").read_bytes())
        _, bucket = self.bucket()
        struct.pack_into("<i4sq2i", content, bucket + 112, 1, b"", 0, 4, (1 << 20) + 1)
        (tmp_path / "gnu").write_bytes(content + bytes(1 << 20))
        (refused,) = [each for each in read(tmp_path / "gnu") if isinstance(each, Refused)]
        assert refused.reason == "its value has 1048577 bytes, more than the 1048576 that are read"

    def test_a_file_that_ends_within_its_header_is_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "gnu").write_bytes((SHELVES / "gnu").read_bytes()[:39])
        with pytest.raises(NotAShelf, match="ends within its header"):
            Shelf(tmp_path / "gnu")

    @pytest.mark.parametrize("at", [8, 16, 20, 24, 28])
    @pytest.mark.parametrize("new", [0, -1, 2**31 - 1])
    def test_a_header_that_contradicts_itself_is_damaged(
        self, at: int, new: int, tmp_path: Path
    ) -> None:
        with pytest.raises(NotAShelf, match="damaged"):
            read(self.changed(tmp_path, (at, struct.pack("<i", new))))


KEY: Final = b"\1['m', 'ann']"


def off_page(page: int, length: int) -> bytes:
    """Return the item of something that lies on a chain of pages."""
    return struct.pack("<B3xII", 3, page, length)


def table(*items: bytes, overflow: Sequence[int] = ()) -> bytes:
    """Return a hash table with one page of items, and full overflow pages from page 2 on.

    Args:
        items: keys and values in turn.
        overflow: for each such page, which page follows it.
    """
    pages = [bytearray(512) for _ in range(2 + len(overflow))]
    struct.pack_into("<12x3I3B5xI52xI", pages[0], 0, 0x061561, 9, 512, 0, 8, 0, len(pages) - 1, 0)
    struct.pack_into("<8x3I2HxB", pages[1], 0, 1, 0, 0, len(items), 0, 13)
    end = 512
    for index, item in enumerate(items):
        end -= len(item)
        pages[1][end : end + len(item)] = item
        struct.pack_into("<H", pages[1], 26 + 2 * index, end)
    for number, following in enumerate(overflow, 2):
        struct.pack_into("<8x3I2HxB", pages[number], 0, number, 0, following, 1, 486, 7)
    return b"".join(pages)


class TestHostileBerkeley:
    PAGE: Final = 512

    def changed(self, tmp_path: Path, *changes: tuple[int, bytes]) -> Path:
        content = bytearray((SHELVES / "berkeley-small-pages.db").read_bytes())
        for at, new in changes:
            content[at : at + len(new)] = new
        (tmp_path / "states.db").write_bytes(content)
        return tmp_path / "states.db"

    def first(self, kind: int) -> int:
        """Return where the first page of a type begins that has more than one item."""
        content = (SHELVES / "berkeley-small-pages.db").read_bytes()
        for at in range(self.PAGE, len(content), self.PAGE):
            if content[at + 25] == kind and (kind == 7 or content[at + 20] > 2):
                return at
        raise AssertionError("there is none")

    @pytest.mark.parametrize(
        ("at", "new"),
        [(8, b"\7\7\7\7"), (22, b"\0\0"), (22, b"\xff\xff"), (25, b"\5"), (16, b"\xff" * 4)],
    )
    def test_a_broken_chain_is_damaged(self, at: int, new: bytes, tmp_path: Path) -> None:
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(self.changed(tmp_path, (self.first(7) + at, new)))

    @pytest.mark.parametrize(
        ("at", "new", "told"),
        [
            (8, b"\7\7\7\7", "contradicts itself"),
            (20, b"\3\0", "contradicts itself"),
            (20, b"\xfe\xff", "contradicts itself"),
            (26, b"\xff\xff", "does not lie on its page"),
            (26, b"\0\0", "does not lie on its page"),
            (28, b"\xff\1", "does not lie on its page"),
        ],
    )
    def test_a_page_that_cannot_be_is_damaged(
        self, at: int, new: bytes, told: str, tmp_path: Path
    ) -> None:
        with pytest.raises(NotAShelf, match=told):
            read(self.changed(tmp_path, (self.first(13) + at, new)))

    @pytest.mark.parametrize(
        ("item", "kind", "told"),
        [
            (0, 2, "of no known kind"),
            (1, 9, "of no known kind"),
            (1, 3, "does not lie on its page"),
        ],
    )
    def test_an_item_that_cannot_be_is_damaged(
        self, item: int, kind: int, told: str, tmp_path: Path
    ) -> None:
        page = self.first(13)
        content = (SHELVES / "berkeley-small-pages.db").read_bytes()
        (start,) = struct.unpack_from("<H", content, page + 26 + 2 * item)
        with pytest.raises(NotAShelf, match=told):
            read(self.changed(tmp_path, (page + start, bytes([kind]))))

    def test_a_chain_that_runs_in_a_circle_is_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "states.db").write_bytes(table(KEY, off_page(2, 486 * 200), overflow=[3, 2, 0]))
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(tmp_path / "states.db")

    def test_an_item_that_lies_in_the_page_s_own_numbers_is_damaged(self, tmp_path: Path) -> None:
        content = bytearray(table(KEY, b"\1" + b"X\7\0\0\0POSTING."))
        struct.pack_into("<H", content, 512 + 28, 29)
        (tmp_path / "states.db").write_bytes(content)
        with pytest.raises(NotAShelf, match="does not lie on its page"):
            read(tmp_path / "states.db")

    def test_chains_that_share_their_pages_are_damaged(self, tmp_path: Path) -> None:
        pair = (KEY, off_page(2, 486 * 3))
        (tmp_path / "states.db").write_bytes(table(*pair * 9, overflow=[3, 4, 0]))
        with pytest.raises(NotAShelf, match="a chain of pages is broken"):
            read(tmp_path / "states.db")

    def test_what_says_it_is_too_long_is_not_read(self, tmp_path: Path) -> None:
        long = off_page(2, (1 << 20) + 1)
        (tmp_path / "states.db").write_bytes(table(long, KEY, KEY, long, overflow=[0]))
        says = "has 1048577 bytes, more than the 1048576 that are read"
        assert read(tmp_path / "states.db") == [
            Refused("['m', 'ann']", f"its value {says}"),
            Refused("(a key)", f"its key {says}"),
        ]

    @pytest.mark.parametrize(
        ("at", "new"),
        [(20, b"\0\0\0\0"), (20, b"\1\2\0\0"), (25, b"\7"), (32, b"\xff\xff\xff\xff")],
    )
    def test_a_first_page_that_contradicts_itself_is_damaged(
        self, at: int, new: bytes, tmp_path: Path
    ) -> None:
        with pytest.raises(NotAShelf, match="damaged"):
            Shelf(self.changed(tmp_path, (at, new)))

    def test_a_count_that_cannot_be_is_none(self, tmp_path: Path) -> None:
        with Shelf(self.changed(tmp_path, (88, b"\xff\xff\xff\xff"))) as shelf:
            assert shelf.count is None
            assert len(list(shelf)) == 150


class TestHostileDumb:
    def test_values_that_all_lie_in_one_place_are_damaged(self, tmp_path: Path) -> None:
        with open(tmp_path / "dumb.dir", "w") as index:
            index.writelines(f"'{i}', (0, 100000)\n" for i in range(1000))
        (tmp_path / "dumb.dat").write_bytes(bytes(100_000))
        with pytest.raises(NotAShelf, match="its values overlap"):
            read(tmp_path / "dumb")

    def test_a_line_without_an_end_is_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "dumb.dat").touch()
        (tmp_path / "dumb.dir").write_bytes(b"'" * (5 << 20))
        with pytest.raises(NotAShelf, match="a line of its index has no end"):
            read(tmp_path / "dumb")

    def test_a_key_that_is_too_long_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "dumb.dat").touch()
        (tmp_path / "dumb.dir").write_bytes(b"'" + b"x" * (1 << 20) + b"y', (0, 0)\n")
        (refused,) = read(tmp_path / "dumb")
        assert refused == Refused(
            "x" * 60 + "...", "its key has 1048577 bytes, more than the 1048576 that are read"
        )
