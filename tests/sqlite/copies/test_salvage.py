"""What sqlite3's shell saves of a store, damaged or not, is a store again."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import NotAStateFile, SQLiteStorage, cli
from lamson_sqlite_state.maintenance import check, restore, rows
from lamson_sqlite_state.sqlite.engine import schema
from lamson_sqlite_state.transfer import OnConflict, import_copy
from tests.helpers.checking import carry_out, make_store, only
from tests.helpers.state_files import every_call
from tests.sqlite.check.test_database import execute, overwrite_a_page, put_keys_out_of_order

NEEDS_SHELL = pytest.mark.skipif(not shutil.which("sqlite3"), reason="needs the sqlite3 shell")
PAGE = (Path(__file__).parents[3] / "docs" / "lamson-state.md").read_text()


def test_remedy_of_damage_is_the_same_in_the_error_in_check_and_in_the_docs(path: str) -> None:
    make_store(path, **{f"sender{number}": "POSTING" for number in range(500)})
    content = bytearray(Path(path).read_bytes())
    overwrite_a_page(content)
    Path(path).write_bytes(content)
    with SQLiteStorage(path) as store, pytest.raises(NotAStateFile, match="damaged") as caught:
        list(rows(store))
    remedy = schema.salvage(path)
    assert str(caught.value).endswith(f" {remedy}")
    assert only(path).remedy.endswith(f" {remedy}")
    assert schema.salvage("run/states") in PAGE


@NEEDS_SHELL
@pytest.mark.parametrize(
    ("mishap", "least"), [(overwrite_a_page, 100), (put_keys_out_of_order, 500)]
)
def test_damage_is_mended_by_its_remedy_as_far_as_can_be(
    mishap: Callable[[bytearray], None], least: int, path: str
) -> None:
    """And what it makes is a store."""
    make_store(path, **{f"sender{number}": "POSTING" for number in range(500)})
    content = bytearray(Path(path).read_bytes())
    mishap(content)
    Path(path).write_bytes(content)
    ended = subprocess.run(schema.salvage(path), shell=True, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert only(path).remedy.endswith(schema.salvage(path))
    with SQLiteStorage(f"{path}.salvaged") as store:
        count = sum(row.state == "POSTING" for row in rows(store))
    assert least <= count < 500 + (mishap is put_keys_out_of_order)
    assert check(f"{path}.salvaged") == []


@pytest.fixture
def dumped(path: str) -> str:
    """What `sqlite3 states .dump | sqlite3 dumped` makes of a store."""
    make_store(path, ann="POSTING", bob="ERROR")
    os.unlink(f"{path}.lock")
    os.unlink(f"{path}.versions")
    with (
        closing(sqlite3.connect(path)) as store,
        closing(sqlite3.connect(f"{path}.dumped")) as connection,
    ):
        connection.executescript("\n".join(store.iterdump()))
    os.chmod(f"{path}.dumped", 0o600)
    return f"{path}.dumped"


class TestADump:
    @NEEDS_SHELL
    def test_is_told_and_marked_by_the_command_that_is_named(self, dumped: str) -> None:
        before = Path(dumped).read_bytes()
        with SQLiteStorage(dumped) as store:
            for call in every_call(store):
                with pytest.raises(
                    NotAStateFile, match="application_id and user_version"
                ) as caught:
                    call()
            assert Path(dumped).read_bytes() == before
            command = str(caught.value).rpartition("mark it with ")[2]
            assert "application_id = 1280529235" in command
            assert "user_version = 1" in command
            assert only(dumped).remedy == f"mark it: {command}"
            carry_out(command)
            assert {row.sender: row.state for row in rows(store)} == {
                "ann": "POSTING",
                "bob": "ERROR",
            }
        assert check(dumped) == []

    def test_is_checked_to_the_last_row(self, dumped: str) -> None:
        execute(dumped, "INSERT INTO states VALUES ('m', 'cid', x'00', 1795537403497)")
        marks, row = check(dumped)
        assert (marks.subject, row.subject) == ("schema", "rows")

    @pytest.mark.parametrize("mode", ["DELETE", "WAL"])
    def test_is_told_by_check_in_either_mode(self, mode: str, dumped: str) -> None:
        execute(dumped, f"PRAGMA journal_mode = {mode}")
        assert schema.mark(dumped) in only(dumped).remedy

    def test_is_restored(self, dumped: str, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("app", "cid", "A1")
            assert restore(store, dumped).pairs == 2
            assert {row.sender for row in rows(store)} == {"ann", "bob"}

    @pytest.mark.parametrize(("choice", "state"), [("keep", "A1"), ("replace", "POSTING")])
    def test_is_imported(self, dumped: str, path: str, choice: OnConflict, state: str) -> None:
        with SQLiteStorage(path) as store:
            (module,) = {row.module for row in rows(store)}
            store.set(module, "cid", "A1")
            store.set(module, "ann", "A1")
        assert cli.main(["--store", path, "import", dumped, "--on-conflict", choice]) == 0
        with SQLiteStorage(path) as store:
            found = {row.sender: row.state for row in rows(store)}
        assert found == {"ann": state, "bob": "ERROR", "cid": "A1"}

    def test_is_imported_into_a_new_store(self, dumped: str, tmp_path: Path) -> None:
        new = str(tmp_path / "new")
        assert cli.main(["--store", new, "import", dumped, "--create"]) == 0
        with SQLiteStorage(new) as store, SQLiteStorage(f"{new}.2") as other:
            assert import_copy(other, new).written == 2
            assert list(rows(store)) == list(rows(other))

    def test_that_is_the_store_itself_is_not_imported(self, path: str) -> None:
        make_store(path, ann="POSTING")
        assert cli.main(["--store", path, "import", path]) != 0

    @pytest.mark.parametrize(
        "change",
        [
            "CREATE TABLE mine (x)",
            "CREATE TRIGGER mine AFTER DELETE ON states BEGIN SELECT 1; END",
            "ALTER TABLE states ADD COLUMN mine",
            "PRAGMA application_id = 7",
            "PRAGMA user_version = 2",
        ],
    )
    def test_with_anything_of_its_own_is_another_applications(
        self, change: str, dumped: str, path: str
    ) -> None:
        execute(dumped, change)
        with SQLiteStorage(dumped) as store, pytest.raises(NotAStateFile, match="another applica"):
            store.get("m", "ann")
        with (
            SQLiteStorage(path) as live,
            pytest.raises(NotAStateFile, match="another applica"),
        ):
            restore(live, dumped)

    def test_with_statistics_of_sqlites_is_one(self, dumped: str) -> None:
        execute(dumped, "ANALYZE")
        with SQLiteStorage(dumped) as store, pytest.raises(NotAStateFile, match="application_id"):
            store.get("m", "ann")
