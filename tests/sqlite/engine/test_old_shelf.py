"""A store is not begun over a shelf: its states would be forgotten, and nobody would be told."""

import os
import pickle
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import NotAStateFile, SQLiteStorage, StorageError, cli
from lamson_sqlite_state.maintenance import ExistingStorage, NoStore, check
from lamson_sqlite_state.sqlite.engine import old_shelf
from lamson_sqlite_state.transfer import import_rows, import_shelve
from tests.helpers.bulk import fill, raw_rows
from tests.helpers.checking import NEEDS_LINUX
from tests.helpers.shelf_files import EVERY_SHELF, SHELVES, Made, copied, write_dumb
from tests.helpers.state_files import every_call

ANN = {b"['m', 'ann']": pickle.dumps("CONFIRMING")}

BESIDE = [made for made in EVERY_SHELF if made.files[0] != made.name]
ITSELF = [made for made in EVERY_SHELF if made.files[0] == made.name]

every_one_beside = pytest.mark.parametrize("made", BESIDE, ids=lambda made: made.name)
every_one_itself = pytest.mark.parametrize("made", ITSELF, ids=lambda made: made.name)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Of a store and a shelf, with what a shell must not take to pieces."""
    directory = tmp_path / "run it's"
    directory.mkdir()
    return str(directory / "states")


def put(made: Made, path: str) -> None:
    """Copy a shelf to where ShelveStorage would have made it."""
    for name in made.files:
        shutil.copy(SHELVES / name, path + name.removeprefix(made.name))


def command_in(message: str) -> list[str]:
    """Return the arguments of the command that an error or a finding names."""
    found = re.search(r"lamson-state (--store .* --create)\b", message)
    assert found is not None, message
    return shlex.split(found[1])


class TestAShelfBeside:
    @every_one_beside
    def test_is_refused_by_every_call_and_taken_over_by_the_command_it_names(
        self, made: Made, path: str
    ) -> None:
        put(made, path)
        before = sorted(os.listdir(os.path.dirname(path)))
        with SQLiteStorage(path) as store:
            for call in every_call(store):
                with pytest.raises(StorageError, match=r"import-shelve") as caught:
                    call()
                assert caught.value.path == path
            assert sorted(os.listdir(os.path.dirname(path))) == before, "nothing was made"
            assert cli.main(command_in(str(caught.value))) in (0, 1)  # some of it is refused
            assert raw_rows(path)
            for call in every_call(store):
                call()

    def test_of_the_dbm_that_every_python_has(self, path: str) -> None:
        write_dumb(path, ANN)
        with SQLiteStorage(path) as store:
            with pytest.raises(StorageError, match=r"^\S.*states: states\.dat beside it") as caught:
                store.get("m", "ann")
            assert cli.main(command_in(str(caught.value))) == 0
            assert store.get("m", "ann") == "CONFIRMING"

    def test_whose_index_was_just_being_renamed(self, path: str) -> None:
        write_dumb(path, ANN)
        os.rename(f"{path}.dir", f"{path}.bak")
        with SQLiteStorage(path) as store, pytest.raises(StorageError, match="import-shelve"):
            store.get("m", "ann")

    def test_is_refused_where_an_empty_file_is_to_become_the_store(self, path: str) -> None:
        write_dumb(path, ANN)
        Path(path).touch()
        with SQLiteStorage(path) as store, pytest.raises(StorageError, match="import-shelve"):
            store.set("m", "ann", "A1")
        assert os.path.getsize(path) == 0

    def test_is_no_matter_once_there_is_a_store(self, path: str) -> None:
        fill(path, [])
        write_dumb(path, ANN)
        with SQLiteStorage(path) as store:
            for call in every_call(store):
                call()

    def test_is_refused_anew_where_the_store_is_deleted(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            write_dumb(path, ANN)
            store.set("m", "ann", "A2")
            os.unlink(path)
            with pytest.raises(StorageError, match="import-shelve"):
                store.set("m", "ann", "A3")

    def test_is_taken_over_from_python(self, path: str) -> None:
        write_dumb(path, ANN)
        with SQLiteStorage(path) as store:
            with pytest.raises(StorageError, match="import-shelve"):
                store.get("m", "ann")
            import_shelve(store, path)
            assert store.get("m", "ann") == "CONFIRMING"

    def test_is_not_begun_over_by_another_import(self, path: str, tmp_path: Path) -> None:
        write_dumb(path, ANN)
        rows = tmp_path / "rows.jsonl"
        rows.write_text('{"module": "m", "sender": "bob", "state": "B1"}\n')
        with (
            SQLiteStorage(path) as store,
            rows.open("rb") as file,
            pytest.raises(StorageError, match="import-shelve"),
        ):
            import_rows(store, file)
        assert not os.path.exists(path)

    def test_is_named_where_no_store_is_to_be_made(self, path: str) -> None:
        write_dumb(path, ANN)
        with ExistingStorage(path) as store, pytest.raises(NoStore, match="no such file") as caught:
            store.get("m", "ann")
        with pytest.raises(NoStore, match="no such file") as checked:
            check(path)
        for error in (caught, checked):
            assert command_in(str(error.value))[-1] == "--create"
        assert cli.main(command_in(str(caught.value))) == 0

    def test_that_was_taken_over_is_none_to_check(self, path: str) -> None:
        write_dumb(path, ANN)
        assert cli.main(["--store", path, "import-shelve", path, "--create"]) == 0
        assert check(path) == []


class TestAFileOfThatName:
    @pytest.mark.parametrize("end", [".dat", ".dir", ".pag", ".bak"])
    def test_alone_is_no_shelf(self, end: str, path: str) -> None:
        Path(path + end).touch()
        with SQLiteStorage(path) as store:
            assert store.get("m", "ann") == "START"
        assert check(path) == []

    @pytest.mark.parametrize("content", [b"", b"x", b"some other database", b"\0" * 10_000])
    def test_that_another_program_wrote_is_no_shelf(self, content: bytes, path: str) -> None:
        Path(f"{path}.db").write_bytes(content)
        with SQLiteStorage(path) as store:
            assert store.get("m", "ann") == "START"
        assert check(path) == []

    def test_that_is_an_sqlite_database_is_no_shelf_and_keeps_its_locks(self, path: str) -> None:
        """Closing any descriptor of it would drop those of the application's connection."""
        with closing(sqlite3.connect(f"{path}.db", isolation_level=None)) as mine:
            mine.execute("CREATE TABLE mine (x)")
            mine.execute("BEGIN IMMEDIATE")
            with SQLiteStorage(path) as store:
                assert store.get("m", "ann") == "START"
            code = (
                "import sqlite3, sys\n"
                "sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
            )
            ended = subprocess.run(
                [sys.executable, "-c", code, f"{path}.db"], capture_output=True, check=False
            )
            assert b"database is locked" in ended.stderr

    def test_that_a_mail_servers_table_is_in_is_no_shelf(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """postmap writes a Berkeley DB of this name, whose keys are no pairs."""
        put(next(made for made in BESIDE if made.name == "berkeley"), path)
        monkeypatch.setattr(old_shelf, "_LOOKED_AT", 0)  # as if no entry were the state of a pair
        with SQLiteStorage(path) as store:
            assert store.get("m", "ann") == "START"

    def test_that_holds_no_pair_is_no_shelf(self, path: str) -> None:
        with closing(sqlite3.connect(f"{path}.db")) as table:
            table.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
            table.execute("INSERT INTO Dict VALUES (x'616e6e', x'626f62')")
            table.commit()
        with SQLiteStorage(path) as store:
            assert store.get("m", "ann") == "START"


class TestAShelfInTheStoresPlace:
    @every_one_itself
    def test_is_refused_by_every_call_and_taken_over_by_the_command_it_names(
        self, made: Made, path: str
    ) -> None:
        put(made, path)
        content = Path(path).read_bytes()
        for kind in (SQLiteStorage, ExistingStorage):
            with kind(path) as store:
                for call in every_call(store):
                    with pytest.raises(NotAStateFile, match=re.escape(made.kind)) as caught:
                        call()
        assert Path(path).read_bytes() == content
        command = command_in(str(caught.value))
        assert cli.main(command) in (0, 1)
        assert raw_rows(command[1])
        with SQLiteStorage(command[1]) as store:
            store.get("m", "ann")

    @every_one_itself
    def test_is_found_by_check(self, made: Made, path: str) -> None:
        put(made, path)
        (finding,) = (found for found in check(path) if found.subject != "permissions")
        assert finding.subject == "shelf"
        assert made.kind in finding.problem
        assert command_in(finding.remedy) == command_in(
            f"lamson-state {shlex.join(old_shelf.take_over(f'{path}.sqlite', path)[1:])}"
        )

    def test_with_a_name_of_its_own_is_found_too(self, tmp_path: Path) -> None:
        path = copied(next(made for made in BESIDE if made.name == "berkeley"), tmp_path)
        with SQLiteStorage(f"{path}.db") as store, pytest.raises(NotAStateFile, match="Berkeley"):
            store.get("m", "ann")


def test_what_reads_shelves_is_not_imported_where_there_is_none(tmp_path: Path) -> None:
    code = """
import sys
from lamson_sqlite_state import SQLiteStorage
with SQLiteStorage(sys.argv[1]) as store:
    store.set("m", "ann", "A1")
found = [name for name in sys.modules if name == "shlex" or "._shelf" in name]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "states"], check=True)


@NEEDS_LINUX
def test_a_shelf_that_this_process_has_open_is_not_opened(path: str) -> None:
    put(next(made for made in BESIDE if made.name == "berkeley"), path)
    with open(f"{path}.db", "rb"), SQLiteStorage(path) as store:
        assert store.get("m", "ann") == "START"
