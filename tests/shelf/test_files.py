"""A shelf is read whole, whatever dbm wrote it, and nothing is ever written beside it."""

import dbm.dumb
import importlib
import os
import pickle
import re
import struct
from pathlib import Path

import pytest

from lamson_sqlite_state.errors import NotAShelf
from lamson_sqlite_state.shelf import Entry, Refused, Shelf
from tests.helpers.children import in_child
from tests.helpers.shelf_files import (
    EVERY_SHELF,
    SHELVES,
    Made,
    as_entries,
    become_ordinary,
    copied,
    in_order,
    read,
    snapshot,
    swapped_gdbm,
    write_dumb,
)
from tests.shelf.files.contents import entries, key_of

every_shelf = pytest.mark.parametrize("made", EVERY_SHELF, ids=[made.name for made in EVERY_SHELF])

ONE = {b"[b'mod', 'ann@example.com']": pickle.dumps("POSTING")}
ONE_ENTRY = [Entry("mod", "ann@example.com", "POSTING")]


def records(count: int) -> dict[bytes, bytes]:
    return {
        key_of(module, sender).encode(): pickle.dumps(state)
        for module, sender, state in entries(count)
    }


@every_shelf
class TestEveryFormat:
    def test_every_entry_is_read_once_and_what_was_deleted_is_not(
        self, made: Made, tmp_path: Path
    ) -> None:
        with Shelf(copied(made, tmp_path)) as shelf:
            assert shelf.kind == made.kind
            assert in_order(shelf) == as_entries(made.holds)

    def test_it_is_read_from_the_beginning_each_time(self, made: Made, tmp_path: Path) -> None:
        with Shelf(copied(made, tmp_path)) as shelf:
            assert list(shelf) == list(shelf)

    def test_its_count_is_about_right(self, made: Made, tmp_path: Path) -> None:
        with Shelf(copied(made, tmp_path)) as shelf:
            assert shelf.count in (made.holds, made.holds + 1)  # Berkeley DB's may be one too many

    def test_each_of_its_files_stands_for_all(self, made: Made, tmp_path: Path) -> None:
        path = copied(made, tmp_path)
        for name in made.files:
            assert read(tmp_path / name) == read(path)

    def test_nothing_is_written_or_created(self, made: Made, tmp_path: Path) -> None:
        path = copied(made, tmp_path)
        before = snapshot(tmp_path)
        assert len(read(path)) == made.holds
        assert snapshot(tmp_path) == before

    def test_a_directory_without_write_permission_is_enough(
        self, made: Made, tmp_path: Path
    ) -> None:
        directory = tmp_path / "run"
        directory.mkdir()
        path = copied(made, directory)
        directory.chmod(0o555)

        def scene() -> int:
            become_ordinary(tmp_path)
            with pytest.raises(PermissionError):
                (directory / "new").touch()
            return len(read(path))

        before = snapshot(directory)
        assert in_child(scene) == made.holds
        assert snapshot(directory) == before
        directory.chmod(0o755)

    def test_its_files_are_named(self, made: Made, tmp_path: Path) -> None:
        with Shelf(copied(made, tmp_path)) as shelf:
            assert shelf.files == (str(tmp_path / made.files[0]),)


class TestGnu:
    @pytest.mark.parametrize(
        ("name", "offset", "head_bytes"),
        [("gnu", "q", 112), ("gnu-32", "i", 60), ("gnu-32-large-files", "q", 84)],
    )
    def test_the_other_byte_order_is_read_too(
        self, name: str, offset: str, head_bytes: int, tmp_path: Path
    ) -> None:
        """Made from a real file, for want of a machine."""
        swapped = swapped_gdbm((SHELVES / name).read_bytes(), offset, head_bytes)
        (tmp_path / "swapped").write_bytes(swapped)
        assert read(tmp_path / "swapped") == read(SHELVES / name)

    @pytest.mark.parametrize("name", ["gnu", "gnu-32", "gnu-32-large-files"])
    def test_the_oldest_number_tells_no_width_and_the_header_does(
        self, name: str, tmp_path: Path
    ) -> None:
        content = bytearray((SHELVES / name).read_bytes())
        content[0] = 0xCE
        (tmp_path / "old").write_bytes(content)
        assert read(tmp_path / "old") == read(SHELVES / name)

    def test_a_dir_file_that_is_the_pag_file_once_more_is_no_second_shelf(
        self, tmp_path: Path
    ) -> None:
        """As versions before 1.9 made it: two names of one file."""
        copied(next(made for made in EVERY_SHELF if made.name == "compat"), tmp_path)
        (tmp_path / "compat.dir").unlink()
        os.link(tmp_path / "compat.pag", tmp_path / "compat.dir")
        for name in ("compat", "compat.dir", "compat.pag"):
            assert len(read(tmp_path / name)) == 150

    def test_a_key_that_is_too_long_is_not_read(self, tmp_path: Path) -> None:
        content = (SHELVES / "gnu").read_bytes() + bytes(2 << 20)
        key = key_of("app.handlers.admin", "user1@example.com").encode()
        for found in re.finditer(re.escape(key), content):  # in use, and left over
            element = struct.pack("<q2i", found.start(), len(key), 17)
            longer = struct.pack("<q2i", found.start(), (1 << 20) + 1, 17)
            content = content.replace(element, longer)
        (tmp_path / "long").write_bytes(content)
        refused = [each for each in read(tmp_path / "long") if isinstance(each, Refused)]
        assert [each.reason for each in refused] == [
            "its key has 1048577 bytes, more than the 1048576 that are read"
        ]


class TestBerkeley:
    @pytest.mark.parametrize(("version", "kind"), [(8, 2), (9, 13), (10, 13)])
    def test_other_versions_differ_in_numbers_only(
        self, version: int, kind: int, tmp_path: Path
    ) -> None:
        """Made from a file of version 9: before it, pages were not sorted and of another type."""
        content = bytearray((SHELVES / "berkeley.db").read_bytes())
        (page_bytes,) = struct.unpack_from("<I", content, 20)
        content[16] = version
        for page in range(page_bytes, len(content), page_bytes):
            if content[page + 25] == 13:
                content[page + 25] = kind
        (tmp_path / "old.db").write_bytes(content)
        assert read(tmp_path / "old") == as_entries(600)

    def test_a_key_with_several_values_is_refused(self) -> None:
        found = read(SHELVES / "berkeley-duplicates.db")
        assert len(found) == 8
        assert {each.reason for each in found if isinstance(each, Refused)} == {
            "it has several values, and a shelf has one"
        }

    @pytest.mark.parametrize(
        ("start", "told"),
        [
            (struct.pack("<12xII", 0x061561, 7), "version 7.*db_upgrade"),
            (struct.pack(">12xII", 0x061561, 5), "version 5.*db_upgrade"),
            (struct.pack("<12xII4xB", 0x061561, 9, 1), "encrypted.*db_dump -P"),
            (struct.pack(">II", 0x061561, 1), "Berkeley DB 1 has version 1"),
            (struct.pack("<12xI", 0x042253), "queue"),
        ],
    )
    def test_another_kind_is_refused_with_the_way_out(
        self, start: bytes, told: str, tmp_path: Path
    ) -> None:
        (tmp_path / "other.db").write_bytes(start.ljust(4096, b"\0"))
        with pytest.raises(NotAShelf, match=told):
            Shelf(tmp_path / "other")

    def test_a_tree_is_refused(self) -> None:
        with pytest.raises(NotAShelf, match="B-tree"):
            Shelf(SHELVES / "berkeley-btree.db")


class TestDumb:
    def test_what_this_pythons_wrote_is_read(self, tmp_path: Path) -> None:
        write_dumb(str(tmp_path / "dumb"), records(60))
        with Shelf(tmp_path / "dumb") as shelf:
            assert (shelf.kind, shelf.count) == ("dbm.dumb", 60)
            assert shelf.files == (str(tmp_path / "dumb.dir"), str(tmp_path / "dumb.dat"))
            assert in_order(shelf) == as_entries(60)
        for end in (".dir", ".dat"):
            assert read(f"{tmp_path}/dumb{end}") == as_entries(60)

    def test_nothing_is_written_or_created(self, tmp_path: Path) -> None:
        write_dumb(str(tmp_path / "dumb"), records(60))
        (tmp_path / "dumb.bak").unlink(missing_ok=True)
        before = snapshot(tmp_path)
        read(tmp_path / "dumb")
        assert snapshot(tmp_path) == before

    def test_deleted_and_moved_values_are_as_dumb_has_them(self, tmp_path: Path) -> None:
        path = str(tmp_path / "dumb")
        write_dumb(path, records(60))
        with dbm.dumb.open(path, "w") as database:
            del database[next(iter(database))]
            longer = next(iter(database))
            database[longer] = pickle.dumps("LONG" * 300)
            expected = {key: database[key] for key in database}
        states = sorted(pickle.loads(value) for value in expected.values())
        assert sorted(each.state for each in read(path) if isinstance(each, Entry)) == states

    def test_the_last_line_of_a_key_comes_last(self, tmp_path: Path) -> None:
        """Two processes that wrote at once, each with its own index in memory."""
        path = str(tmp_path / "dumb")
        write_dumb(path, records(60))
        with open(path + ".dir", "a") as index, open(path + ".dat", "ab") as values:
            for state in ("OLDER", "NEWER"):
                value = pickle.dumps(state)
                place = (values.tell(), values.write(value))
                index.write(f"{key_of('app.handlers.admin', 'user1@example.com')!r}, {place}\n")
        with dbm.dumb.open(path, "r") as database:
            key = key_of("app.handlers.admin", "user1@example.com").encode()
            assert pickle.loads(database[key]) == "NEWER"
        with Shelf(path) as shelf:
            found = list(shelf)
            assert shelf.count == len(found) == 62
        pair = ("app.handlers.admin", "user1@example.com")
        assert found[-2:] == [Entry(*pair, "OLDER", True), Entry(*pair, "NEWER", True)]

    def test_a_lost_index_is_replaced_by_the_one_before(self, tmp_path: Path) -> None:
        """dbm.dumb was killed after it had renamed the index, before it wrote the new one."""
        write_dumb(str(tmp_path / "dumb"), ONE)
        os.rename(tmp_path / "dumb.dir", tmp_path / "dumb.bak")
        for name in ("dumb", "dumb.bak", "dumb.dat"):
            assert read(tmp_path / name) == ONE_ENTRY

    def test_damaged_lines_are_refused_and_the_others_read(self, tmp_path: Path) -> None:
        path = str(tmp_path / "dumb")
        write_dumb(path, ONE)
        with open(path + ".dir", "ab") as index:
            index.write(
                b"'no place'\n\n12, (0, 1)\n'open, (0, 1)\n'\\q', (0, 1)\n'\\u20ac', (0, 1)\n"
            )
            index.write(b"'far', (512, 99999)\n'huge', (0, 99999999)\n'\\xe9', (0, 1)\n'cut', (0")
        found = read(path)
        assert [each for each in found if isinstance(each, Entry)] == ONE_ENTRY
        reasons = [each.reason for each in found if isinstance(each, Refused)]
        assert reasons.count("its line of the index is damaged") == 7
        assert f"its value lies outside of {path}.dat" in reasons
        assert "its value has 99999999 bytes, more than the 1048576 that are read" in reasons
        assert "its key is not UTF-8" in reasons

    def test_an_empty_shelf_is_one(self, tmp_path: Path) -> None:
        write_dumb(str(tmp_path / "dumb"), {})
        assert read(tmp_path / "dumb") == []

    def test_values_without_an_index_are_no_shelf(self, tmp_path: Path) -> None:
        (tmp_path / "dumb.dat").write_bytes(bytes(512))
        with pytest.raises(NotAShelf, match=r"dumb\.dir: there is no such file"):
            Shelf(tmp_path / "dumb")

    def test_an_index_without_values_is_no_shelf(self, tmp_path: Path) -> None:
        (tmp_path / "dumb.dir").write_bytes(b"'a', (0, 1)\n")
        with pytest.raises(NotAShelf, match=r"dumb\.dat: there is no such file"):
            Shelf(tmp_path / "dumb.dir")


class TestLiveModules:
    """Where the interpreter that runs the tests has the module, what it writes now is read."""

    @pytest.mark.parametrize("module", ["gnu", "ndbm", "sqlite3", "dumb"])
    def test_what_this_interpreters_dbm_writes_is_read(self, module: str, tmp_path: Path) -> None:
        # Debian's dbm.gnu is there without what it needs, and says so by a plain ImportError.
        library = pytest.importorskip(
            f"dbm.{module}", reason=f"no dbm.{module} in this Python", exc_type=ImportError
        )
        with library.open(str(tmp_path / "live"), "n") as database:
            for key, value in records(300).items():
                database[key] = value
        assert read(tmp_path / "live") == as_entries(300)

    def test_what_salmons_own_storage_wrote_is_read(self, tmp_path: Path) -> None:
        storage = importlib.import_module("salmon.routing").ShelveStorage(str(tmp_path / "states"))
        storage.set("app.handlers.admin", "ann@example.com", "POSTING")
        storage.set("app.handlers.admin", "'ann\" \\ \n é ☃ \udce4", "CONFIRMING")
        storage.set("app.handlers.admin", None, "BOUNCED")
        assert read(tmp_path / "states") == [
            Entry("app.handlers.admin", "'ann\" \\ \n é ☃ \udce4", "CONFIRMING"),
            Entry("app.handlers.admin", "ann@example.com", "POSTING"),
            Entry("app.handlers.admin", None, "BOUNCED"),
        ]
