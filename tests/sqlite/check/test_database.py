"""What `check` finds of the database as a whole, and of the files beside it."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.check import Finding, _integrity, check
from lamson_sqlite_state.sqlite.engine import open_checks, schema
from lamson_sqlite_state.sqlite.engine.driver_errors import Busy
from lamson_sqlite_state.sqlite.process import new_files
from tests.helpers.actors import Actor
from tests.helpers.checking import NEEDS_LINUX, carry_out, make_store, only, stages, states_of_files
from tests.helpers.state_files import let_readers_notice, states
from tests.sqlite.engine.test_bad_files import (
    database_of_another_application,
    directory,
    fifo,
    long_text,
    one_byte,
    short_text,
    wal_database_of_another_application,
)


def execute(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "made",
    [
        directory,
        fifo,
        one_byte,
        short_text,
        long_text,
        database_of_another_application,
        wal_database_of_another_application,
    ],
)
def test_what_is_no_store_is_a_finding_and_left_alone(
    made: Callable[[str], None], path: str
) -> None:
    os.mkdir(os.path.dirname(path))
    made(path)
    os.chmod(path, 0o700)
    before = states_of_files(path)
    finding = only(path)
    assert (finding.subject, finding.path) == ("integrity", path)
    assert "give " in finding.remedy
    assert states_of_files(path) == before


def overwrite_a_page(content: bytearray) -> None:
    content[3 * 4096 : 4 * 4096] = os.urandom(4096)


def put_keys_out_of_order(content: bytearray) -> None:
    content[:] = content.replace(b"sender250", b"xender250")


@pytest.mark.parametrize("mishap", [overwrite_a_page, put_keys_out_of_order])
def test_damage_is_found_and_the_remedy_saves_what_can_be_read(
    mishap: Callable[[bytearray], None], path: str
) -> None:
    make_store(path, **{f"sender{number}": "POSTING" for number in range(500)})
    content = bytearray(Path(path).read_bytes())
    mishap(content)
    Path(path).write_bytes(content)
    finding = only(path)
    assert finding.subject == "integrity"
    assert "the database is damaged" in finding.problem
    if mishap is put_keys_out_of_order:
        assert "SQLite finds" in finding.problem
    assert "rows" not in stages(path)  # rows out of order could be read for ever
    assert finding.remedy.endswith(f"read: {schema.salvage(path)}")


def test_damage_of_a_copy_that_nobody_has_opened_is_found(path: str) -> None:
    make_store(path, **{f"sender{number}": "POSTING" for number in range(500)})
    execute(path, "PRAGMA journal_mode = DELETE")
    content = bytearray(Path(path).read_bytes())
    content[100:108] = bytes(8)  # the header of the root page, of the table sqlite_master
    Path(path).write_bytes(content)
    assert "the database is damaged" in only(path).problem
    assert not os.path.exists(f"{path}-wal")


def test_damage_of_the_schema_itself_is_found(path: str) -> None:
    make_store(path)
    execute(path, "PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = 'CREATE nonsense'")
    finding = only(path)
    assert finding.subject == "integrity"
    assert "damaged" in finding.problem


def test_a_newer_schema_is_found(path: str) -> None:
    make_store(path)
    execute(path, f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    finding = only(path)
    assert finding.subject == "schema"
    assert "a newer version of lamson-sqlite-state has written it" in finding.problem
    assert finding.remedy == "update the package"


def test_a_trigger_is_found_and_dropped_by_the_remedy(path: str) -> None:
    make_store(path)
    execute(path, 'CREATE TRIGGER "odd \' name" AFTER UPDATE ON states BEGIN SELECT 1; END')
    finding = only(path)
    assert finding.subject == "schema"
    assert "there is a trigger odd ' name: " in finding.problem
    carry_out(finding.remedy)
    assert check(path) == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX by_state ON states (state)",
        "CREATE VIEW pending AS SELECT * FROM states",
        "CREATE TABLE invoices (number)",
    ],
)
def test_what_others_have_added_without_harm_is_none(statement: str, path: str) -> None:
    make_store(path)
    execute(path, statement)
    assert check(path) == []


def test_what_sqlite_keeps_for_itself_is_none(path: str) -> None:
    make_store(path)
    execute(path, "ANALYZE")
    assert check(path) == []


DROP = "DROP TABLE states"


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        (("ALTER TABLE states ADD COLUMN note",), "not null,note,"),
        (("ALTER TABLE states RENAME COLUMN since TO at",), "at integer"),
        ((DROP, schema.TABLE.replace(" WITHOUT ROWID", "")), "(sender,module)), in"),
        ((DROP, schema.TABLE.replace("(sender, module)", "(sender)")), "key(sender))"),
        ((DROP, schema.TABLE.replace("sender,", "sender COLLATE NOCASE,")), "nocase"),
        ((DROP,), "there is none"),
        ((DROP, "CREATE VIEW states AS SELECT 1"), "there is none"),
    ],
)
def test_a_table_otherwise_than_it_was_made_is_found(
    statements: tuple[str, ...], what: str, path: str
) -> None:
    make_store(path)
    execute(path, *statements)
    finding = only(path)
    assert finding.subject == "schema"
    assert what in finding.problem
    assert "rows" not in stages(path)


def test_a_table_that_was_only_written_down_otherwise_is_none(path: str) -> None:
    make_store(path)
    sql = schema.TABLE.replace("states", '"states"').replace(", ", ",\n  ").replace("( ", "(")
    execute(path, "DROP TABLE states", sql)
    assert check(path) == []


def test_another_encoding_is_found(path: str) -> None:
    os.mkdir(os.path.dirname(path))
    execute(
        path,
        "PRAGMA encoding = 'UTF-16le'",
        schema.TABLE,
        f"PRAGMA application_id = {schema.APPLICATION_ID}",
        f"PRAGMA user_version = {schema.SCHEMA_VERSION}",
        "PRAGMA journal_mode = WAL",
        "INSERT INTO states VALUES ('m', 'ann', 'A1', 5)",
    )
    os.chmod(path, 0o600)
    assert "UTF-16le" in only(path).problem
    assert "rows" not in stages(path)


@NEEDS_LINUX
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_side_file_deleted_under_a_process_is_found_and_mended_by_its_next_call(
    suffix: str, path: str, first: Actor
) -> None:
    first.set("m", "ann", "A1")
    os.unlink(path + suffix)
    finding = only(path)
    assert (finding.subject, finding.path) == ("side files", path)
    assert f"states{suffix} was deleted under a process" in finding.problem
    assert f"process {first.pid} (" in finding.problem
    assert "do not end those processes" in finding.remedy
    let_readers_notice(first)
    assert first.get("m", "ann") == "A1"
    assert check(path) == []
    first.kill()
    assert states(path) == {"ann": "A1"}


@NEEDS_LINUX
def test_a_database_replaced_under_a_process_is_found_and_mended_by_its_next_call(
    path: str, first: Actor
) -> None:
    first.set("m", "ann", "A1")
    make_store(f"{path}.backup", ann="B1")
    os.rename(f"{path}.backup", path)
    finding = only(path)
    assert finding.subject == "side files"
    assert "the file was replaced under a process" in finding.problem
    assert f"process {first.pid} (" in finding.problem
    let_readers_notice(first)
    assert first.get("m", "ann") == "B1"
    assert check(path) == []


def test_what_only_looks_like_a_mishap_for_a_moment_is_none(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a process opens or closes the database, one of the side files may be missing."""
    make_store(path)
    refuse, asked = open_checks.refuse_unsafe, []

    def refuse_at_first(*arguments: Any, **options: Any) -> bool:
        asked.append(arguments)
        if len(asked) < 3:
            raise Busy("somebody comes and goes")
        return refuse(*arguments, **options)

    monkeypatch.setattr(open_checks, "refuse_unsafe", refuse_at_first)
    assert check(path) == []


def test_what_newer_versions_of_sqlite_say_of_values_is_left_to_the_rows(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_store(path)
    messages = [("TEXT value in states.since",), ("NUMERIC value in states.state",)]
    monkeypatch.setattr(_integrity, "rows_unless_signalled", lambda *_: messages)
    assert check(path) == []
    messages.append(("wrong # of entries in index\n of another",))
    assert only(path).problem.endswith("finds a defect: wrong # of entries in index of another")


def test_a_journal_that_would_be_written_into_the_database_is_found_and_not_used(
    path: str,
) -> None:
    make_store(path)
    Path(f"{path}-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    before = states_of_files(path)
    finding = only(path)
    assert (finding.subject, finding.path) == ("side files", f"{path}-journal")
    assert states_of_files(path) == before
    os.rename(f"{path}-journal", f"{path}-journal.aside")
    assert check(path) == []


@pytest.mark.parametrize("content", [b"", bytes(512)])
def test_a_journal_that_is_done_with_is_none(content: bytes, path: str) -> None:
    make_store(path)
    Path(f"{path}-journal").write_bytes(content)
    assert check(path) == []


def check_there(store: SQLiteStorage) -> list[Finding]:
    return check(store.path)


@pytest.mark.parametrize("suffix", [".rescue", ".rescue-journal", ".versions.new"])
class TestLeftovers:
    def test_where_nobody_uses_the_store_are_found_and_removed(
        self, suffix: str, path: str
    ) -> None:
        make_store(path)
        Path(path + suffix).touch(mode=0o600)
        finding = only(path)
        assert (finding.subject, finding.path) == ("side files", path + suffix)
        carry_out(f": {finding.remedy}")
        assert check(path) == []

    def test_of_just_now_may_be_at_work_where_somebody_uses_it(
        self, suffix: str, path: str, first: Actor
    ) -> None:
        first.get("m", "ann")
        Path(path + suffix).touch(mode=0o600)
        assert check(path) == []
        assert first.call(check_there) == []
        os.utime(path + suffix, (0, 0))
        assert only(path).path == path + suffix


def test_an_unfinished_copy_is_left_over_once_nobody_can_be_at_it(path: str) -> None:
    make_store(path)
    copy = new_files.unfinished_name(os.path.join(os.path.dirname(path), "nightly"))
    for name in (copy, f"{path}.unfinished"):  # the second name is not one that this package makes
        Path(name).touch(mode=0o600)
    assert check(path) == []
    for name in (copy, f"{path}.unfinished"):
        os.utime(name, (0, 0))
    finding = only(path)
    assert (finding.subject, finding.path) == ("side files", copy)
    carry_out(finding.remedy)
    assert check(path) == []


@pytest.mark.parametrize("content", [b"", bytes(32 * 1024), bytes(8)])
def test_counters_that_are_spoilt_are_found_and_made_anew(content: bytes, path: str) -> None:
    make_store(path)
    Path(f"{path}.versions").write_bytes(content)
    finding = only(path)
    assert (finding.subject, finding.path) == ("versions", f"{path}.versions")
    carry_out(finding.remedy)
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A2")
    assert check(path) == []
