"""Which files a path means, and what is said where there is no shelf, or none to be read."""

import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.errors import NotAShelf
from lamson_sqlite_state.shelf import Entry, Refused, Shelf
from tests.helpers.children import in_child
from tests.helpers.shelf_files import SHELVES, become_ordinary, in_order, read, snapshot, write_dumb

ONE = {b"[b'mod', 'ann@example.com']": pickle.dumps("POSTING")}
ONE_ENTRY = [Entry("mod", "ann@example.com", "POSTING")]


def nothing(path: Path) -> None:
    pass


def directory(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def empty_file(path: Path) -> None:
    path.touch()


def short_text(path: Path) -> None:
    path.write_text("No database.\n")


def old_ndbm(path: Path) -> None:
    Path(f"{path}.pag").write_bytes(bytes(1024))
    Path(f"{path}.dir").write_bytes(b"")


def store_of_this_package(path: Path) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")


def view_that_never_ends(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE VIEW Dict AS WITH RECURSIVE r(key) AS (SELECT 1 UNION ALL SELECT 1 FROM r)"
            " SELECT key, key AS value FROM r"
        )


def virtual_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIRTUAL TABLE Dict USING fts5(key, value)")


def computed_columns(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE Dict (x, key AS (zeroblob(x)), value AS (zeroblob(x)))")


@pytest.mark.parametrize(
    "made",
    [
        *[nothing, directory, fifo, empty_file, short_text, old_ndbm, store_of_this_package],
        *[view_that_never_ends, virtual_table, computed_columns],
    ],
)
def test_what_is_no_shelf_is_refused_in_one_line_and_left_alone(
    made: Callable[[Path], None], tmp_path: Path
) -> None:
    made(tmp_path / "states")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(NotAShelf) as caught:
        Shelf(tmp_path / "states")
    assert str(caught.value).startswith(str(tmp_path / "states"))
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before


def test_the_error_comes_through_pickle_whole() -> None:
    error = pickle.loads(pickle.dumps(NotAShelf("wet", "dry it", "/run/states")))
    assert (type(error), str(error)) == (NotAShelf, "/run/states: wet: dry it")


@pytest.mark.parametrize("name", ["nul\0", "x" * 5000, "file/below"])
def test_a_path_that_is_none_is_an_error_of_ours(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        Shelf(f"{tmp_path}/{name}")


def test_a_file_that_may_not_be_read_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    shutil.copy(SHELVES / "gnu", tmp_path / "states")
    (tmp_path / "states").chmod(0)

    def scene() -> None:
        become_ordinary(tmp_path)
        with pytest.raises(StorageError, match="give this user permission to read it") as caught:
            Shelf(tmp_path / "states")
        assert not isinstance(caught.value, NotAShelf)
        assert caught.value.path == str(tmp_path / "states")

    in_child(scene)


def test_a_directory_that_may_not_be_entered_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    shutil.copy(SHELVES / "gnu", tmp_path / "run" / "states")
    (tmp_path / "run").chmod(0)

    def scene() -> None:
        become_ordinary(tmp_path)
        with pytest.raises(StorageError, match="give this user permission to read it"):
            Shelf(tmp_path / "run" / "states")

    in_child(scene)
    (tmp_path / "run").chmod(0o700)


class TestOneNameSeveralFiles:
    def test_a_store_of_this_package_beside_the_shelf_is_not_the_shelf(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both were given the path run/states. The store's log is no reason to copy the store."""
        monkeypatch.delattr("shutil.copyfile")
        with SQLiteStorage(tmp_path / "states") as store:
            store.set("m", "ann", "A1")
            write_dumb(str(tmp_path / "states"), ONE)
            store.close()  # which moves the log into the file
            store.set("m", "ann", "A2")
            before = snapshot(tmp_path)
            assert read(tmp_path / "states") == ONE_ENTRY
            assert snapshot(tmp_path) == before

    def test_a_directory_of_that_name_is_not_the_shelf(self, tmp_path: Path) -> None:
        write_dumb(str(tmp_path / "states"), ONE)
        (tmp_path / "states").mkdir()
        assert read(tmp_path / "states") == ONE_ENTRY

    def test_two_shelves_are_told_apart_by_whoever_asks(self, tmp_path: Path) -> None:
        write_dumb(str(tmp_path / "states"), ONE)
        shutil.copy(SHELVES / "gnu", tmp_path / "states")
        shutil.copy(SHELVES / "berkeley.db", tmp_path / "states.db")
        with pytest.raises(NotAShelf, match="several shelves") as caught:
            Shelf(tmp_path / "states")
        for name in ("states", "states.db", "states.dir"):
            assert f"{tmp_path}/{name}" in caught.value.remedy
        assert read(tmp_path / "states.dir") == ONE_ENTRY
        assert len(read(tmp_path / "states.db")) == 600

    @pytest.mark.parametrize("end", [".dat", ".dir", ".db", ".bak"])
    def test_a_shelf_may_be_called_as_files_of_others_are(self, end: str, tmp_path: Path) -> None:
        shutil.copy(SHELVES / "gnu", tmp_path / f"states{end}")
        assert len(read(tmp_path / f"states{end}")) == 600

    def test_a_path_may_be_relative_and_hold_any_character(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_dumb(str(tmp_path / "states"), ONE)
        shutil.copy(SHELVES / "sqlite", tmp_path / "st?tes #1%")
        monkeypatch.chdir(tmp_path)
        assert read("states") == ONE_ENTRY
        assert len(read("st?tes #1%")) == 60


def new_dict(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
    return connection


class TestSqlite:
    def test_what_is_in_the_log_only_is_read_and_nothing_is_written(self, tmp_path: Path) -> None:
        """Of a server that is still there, or was killed."""
        with closing(new_dict(tmp_path / "states")) as connection:
            connection.execute("INSERT INTO Dict VALUES (?, ?)", *ONE.items())
            before = snapshot(tmp_path)
            with Shelf(tmp_path / "states") as shelf:
                assert in_order(shelf) == ONE_ENTRY
                assert shelf.files == (f"{tmp_path}/states", f"{tmp_path}/states-wal")
            assert snapshot(tmp_path) == before

    def test_the_copies_are_gone_when_the_shelf_is_closed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        with closing(new_dict(tmp_path / "states")):
            with Shelf(tmp_path / "states"):
                assert len(os.listdir(tmp_path / "tmp")) == 1
            assert os.listdir(tmp_path / "tmp") == []

    def test_a_transaction_that_a_crash_cut_short_does_not_count(self, tmp_path: Path) -> None:
        """What it had written already is undone by the journal, which must be read with it."""
        rows = [(f"[b'mod', '{i}']".encode(), pickle.dumps("X" * 500)) for i in range(200)]
        with closing(sqlite3.connect(tmp_path / "live", isolation_level=None)) as connection:
            connection.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
            connection.executemany("INSERT INTO Dict VALUES (?, ?)", rows)
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("BEGIN")
            connection.execute("UPDATE Dict SET value = ?", (pickle.dumps("Y" * 500),))
            for name in ("live", "live-journal"):
                shutil.copy(tmp_path / name, tmp_path / name.replace("live", "states"))
            connection.execute("ROLLBACK")
        assert b"Y" * 500 in (tmp_path / "states").read_bytes()
        assert {each.state for each in read(tmp_path / "states") if isinstance(each, Entry)} == {
            "X" * 500
        }

    def test_a_shelf_that_is_written_to_meanwhile_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with closing(new_dict(tmp_path / "states")) as connection:
            copyfile = shutil.copyfile

            def copy_and_write(source: str, copy: str) -> None:
                copyfile(source, copy)
                connection.execute("REPLACE INTO Dict VALUES (?, ?)", *ONE.items())

            monkeypatch.setattr("shutil.copyfile", copy_and_write)
            with pytest.raises(StorageError, match="stop the mail server"):
                Shelf(tmp_path / "states")

    def test_a_log_that_is_deleted_meanwhile_is_a_write_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = new_dict(tmp_path / "states")
        copyfile = shutil.copyfile

        def copy_and_close(source: str, copy: str) -> None:
            connection.close()
            copyfile(source, copy)

        monkeypatch.setattr("shutil.copyfile", copy_and_close)
        with pytest.raises(StorageError, match="stop the mail server"):
            Shelf(tmp_path / "states")

    def test_no_room_for_the_copies_is_an_error_with_the_remedy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        with closing(new_dict(tmp_path / "states")):
            with pytest.raises(StorageError, match="set TMPDIR") as caught:
                Shelf(tmp_path / "states")
            assert not isinstance(caught.value, NotAShelf)

    def test_a_log_that_may_not_be_read_is_an_error(self, tmp_path: Path) -> None:
        with closing(new_dict(tmp_path / "states")):
            (tmp_path / "states").chmod(0o644)
            (tmp_path / "states-wal").chmod(0)

            def scene() -> None:
                become_ordinary(tmp_path)
                with pytest.raises(StorageError, match="give this user permission"):
                    Shelf(tmp_path / "states")

            in_child(scene)

    def test_what_is_too_long_or_no_bytes_is_refused(self, tmp_path: Path) -> None:
        with closing(new_dict(tmp_path / "states")) as connection:
            connection.executemany(
                "INSERT INTO Dict VALUES (?, ?)",
                [*ONE.items(), (b"k", bytes(1 << 21)), (bytes(1 << 21), b"v"), (b"text", "v")],
            )
            connection.execute("INSERT INTO Dict VALUES ('text', x'00')")
        assert read(tmp_path / "states") == [
            *ONE_ENTRY,
            Refused("(a key)", "it is not kept as bytes"),
            Refused("(a key)", "its key has 2097152 bytes, more than the 1048576 that are read"),
            Refused("k", "its value has 2097152 bytes, more than the 1048576 that are read"),
            Refused("text", "it is not kept as bytes"),
        ]

    def test_a_damaged_file_is_damaged_with_its_journal_too(self, tmp_path: Path) -> None:
        (tmp_path / "states").write_bytes(b"SQLite format 3\0" + bytes(4096))
        (tmp_path / "states-journal").write_bytes(b"?" * 100)
        with pytest.raises(NotAShelf, match="damaged"):
            Shelf(tmp_path / "states")

    def test_what_ends_in_the_middle_is_damaged(self, tmp_path: Path) -> None:
        content = (SHELVES / "sqlite").read_bytes()
        for length in (50, 600, len(content) // 2):
            (tmp_path / "states").write_bytes(content[:length])
            with pytest.raises(NotAShelf, match="damaged"):
                read(tmp_path / "states")


def test_a_closed_shelf_says_so_and_closes_twice(tmp_path: Path) -> None:
    write_dumb(str(tmp_path / "dumb"), ONE)
    for path in (SHELVES / "gnu", SHELVES / "sqlite", tmp_path / "dumb", SHELVES / "berkeley.db"):
        shelf = Shelf(path)
        shelf.close()
        shelf.close()
        with pytest.raises(ValueError, match="closed"):
            list(shelf)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    shutil.copy(SHELVES / "gnu", tmp_path / "gnu")
    with Shelf(tmp_path / "gnu") as shelf:
        entries = iter(shelf)
        next(entries)
        os.truncate(tmp_path / "gnu", 4096)
        with pytest.raises(NotAShelf, match="become shorter"):
            list(entries)


def test_a_failing_disk_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.pread", pread)
    with pytest.raises(StorageError, match="Input/output error: look at"):
        Shelf(SHELVES / "gnu")
