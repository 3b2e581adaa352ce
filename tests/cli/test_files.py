"""The commands that move states: export, import, import-shelve, backup and restore."""

import errno
import json
import os
import shelve
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.copies import atomic_file
from tests.helpers.commands import Ended, run_in_process, started

Call = Callable[..., Ended]

KEYS = ["ann@example.com", None, b"raw", "None", "=1+1", "caf\xe9", "\udc80", 'quo"te', "a,b\n", ""]


@pytest.fixture
def lamson_state(path: str, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command, called for a store with pairs for each of `KEYS`."""
    with SQLiteStorage(path) as store:
        for number, key in enumerate(KEYS):
            store.set("app.odd", key, f"S{number}")
            store.set(key, "ann", f"T{number}")
    return lambda *arguments: run_in_process(capfd, "--store", path, *arguments)


def raw_rows(path: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM states ORDER BY sender, module").fetchall()


class TestExportAndImport:
    @pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows"])
    def test_all_comes_back_as_it_was(
        self,
        name: str,
        lamson_state: Call,
        path: str,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        file, copy = str(tmp_path / name), str(tmp_path / "copy")
        assert lamson_state("export", file).cells == [["exported", str(2 * len(KEYS))]]
        ended = run_in_process(capfd, "--store", copy, "import", file, "--create")
        assert ended.status == 0, ended
        assert raw_rows(copy) == raw_rows(path)

    def test_output_and_input_are_pipes(
        self, lamson_state: Call, path: str, tmp_path: Path
    ) -> None:
        exported = lamson_state("export")
        assert exported.status == 0
        assert lamson_state("export", "-").out == exported.out
        copy = str(tmp_path / "copy")
        SQLiteStorage(copy).get("m", "ann")
        with started("--store", copy, "import", "-") as process:
            out, err = process.communicate(exported.out.encode(errors="surrogateescape"))
        assert (process.returncode, err) == (0, b"")
        assert b"written\t20\n" in out

    def test_every_line_is_one_row(self, lamson_state: Call) -> None:
        lines = lamson_state("export", "--module", "app.odd").out.splitlines()
        rows = [json.loads(line) for line in lines]
        assert [set(row) for row in rows] == [{"module", "sender", "state", "since"}] * len(KEYS)
        assert {"literal": "None"} in [row["sender"] for row in rows]
        assert "None" in [row["sender"] for row in rows]

    def test_spreadsheet_is_given_no_formula(self, lamson_state: Call) -> None:
        table = lamson_state("export", "--format", "csv", "--sender", "=1+1").out
        assert table.splitlines()[1].startswith("app.odd,'=1+1',S4,")

    def test_file_is_not_overwritten_without_force(
        self, lamson_state: Call, tmp_path: Path
    ) -> None:
        file = tmp_path / "rows.jsonl"
        file.write_text("precious")
        ended = lamson_state("export", str(file))
        assert ended.status == 2
        assert str(file) in ended.err
        assert file.read_text() == "precious"
        assert lamson_state("export", str(file), "--force").status == 0
        assert file.read_text() != "precious"
        assert sorted(os.listdir(tmp_path)) == ["rows.jsonl", "run"]

    def test_nothing_matched_is_status_1(self, lamson_state: Call) -> None:
        assert lamson_state("export", "--state", "NONE")[:2] == (1, "")

    @pytest.mark.parametrize("target", ["", "new/"])
    def test_path_of_no_file_is_wrong_usage(
        self, target: str, lamson_state: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Made absolute, an empty path would be that of the current directory."""
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        ended = lamson_state("export", target)
        assert (ended.status, ended.err.count("\n")) == (2, 1)
        assert sorted(os.listdir(tmp_path)) == ["here", "run"]
        assert os.listdir() == []

    def test_what_a_killed_run_has_left_stands_in_nobodys_way(
        self, lamson_state: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In a container, each process may have the same number as the process before it."""
        file = str(tmp_path / "rows")
        used: list[str] = []

        def noted(unfinished: str, _target: str) -> None:
            used.append(unfinished)

        monkeypatch.setattr(atomic_file, "_take_name", noted)
        assert [lamson_state("export", file).status for _ in range(2)] == [0, 0]
        assert len(set(used)) == 2
        assert all(each.startswith(f"{file}.") for each in used)

    @pytest.mark.parametrize(
        ("choice", "state"), [([], "S0"), (["--on-conflict", "replace"], "NEW")]
    )
    def test_existing_rows_win_or_lose(
        self, choice: list[str], state: str, lamson_state: Call, tmp_path: Path
    ) -> None:
        file = tmp_path / "rows"
        file.write_text(
            '{"module": "app.odd", "sender": "ann@example.com", "state": "NEW", "since": 5}\n'
            '{"module": "app.odd", "sender": "new", "state": "NEW"}\n'
        )
        cells = dict(lamson_state("import", str(file), *choice).cells)
        assert cells["read"] == "2"
        assert cells["kept"] == ("0" if choice else "1")
        assert lamson_state("get", "app.odd", "ann@example.com").out == f"{state}\n"
        assert lamson_state("get", "app.odd", "new").out == "NEW\n"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ('{"module": "m", "sender": "s", "state": "A"}\nnot json\n', "line 2: it is no JSON"),
            ('{"module": "m", "sender": "s"}\n', "line 1: it has no 'state'"),
            ('{"module": "m", "sender": "s", "state": 1}\n', "line 1: a state must be a str"),
            ('{"module": "m", "sender": 1, "state": "A"}\n', "line 1: 'sender' is a text"),
            ('{"module": {"literal": "x()"}, "sender": "s", "state": "A"}\n', "line 1: 'module'"),
            ('{"module": "m", "sender": "s", "state": "A", "since": -1}\n', "line 1: 'since'"),
            ('{"module": "m", "sender": "s", "state": "A", "since": true}\n', "line 1: 'since'"),
            ('{"module": "m", "sender": "s", "state": "A", "more": 1}\n', "line 1: a row has no"),
            ("\n\n[1]\n", "line 3: a row is an object"),
            ("[" * 100_000, "line 1: "),
            (b"\xff\xfe\n", "line 1: "),
        ],
    )
    def test_line_that_is_no_row_is_named(
        self, content: str | bytes, said: str, lamson_state: Call, tmp_path: Path
    ) -> None:
        file = tmp_path / "rows"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        ended = lamson_state("import", str(file))
        assert ended.status == 2
        assert ended.err.startswith(f"lamson-state: {file}: {said}")
        assert ended.err.count("\n") == 1

    def test_first_line_that_is_no_row_makes_no_store(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "rows").write_text("no row\n")
        new = str(tmp_path / "new" / "states")
        ended = run_in_process(capfd, "--store", new, "import", str(tmp_path / "rows"), "--create")
        assert ended.status == 2
        assert os.listdir(tmp_path) == ["rows"]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("module,sender\nm,s\n", "line 1: the first line has to name"),
            ("", "line 1: the first line has to name"),
            ("module,sender,state\nm,s\n", "line 2: it has 2 cells"),
            ("module,sender,state,since\nm,s,A,soon\n", "line 2: 'since'"),
            ('module,sender,state\nm,s,A\nm,"s,A\n', "line 3: "),
            (b"module,sender,state\nm,s,A\nm,\xe9,A\n", "line 3: it is no UTF-8"),
            (b"module,sender,state\nm,s,A\n\xe9,s,A\n", "line 3: it is no UTF-8"),
            (b"module,sender,state\nm,s,A\nm,s,\xe9\n", "line 3: it is no UTF-8"),
        ],
    )
    def test_line_of_a_table_that_is_no_row_is_named(
        self, content: str | bytes, said: str, lamson_state: Call, tmp_path: Path
    ) -> None:
        file = tmp_path / "rows.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        ended = lamson_state("import", str(file))
        assert ended.status == 2
        assert ended.err.startswith(f"lamson-state: {file}: {said}")

    def test_missing_file_is_wrong_usage(self, lamson_state: Call, tmp_path: Path) -> None:
        ended = lamson_state("import", str(tmp_path / "none"))
        assert ended.status == 2
        assert ended.err == f"lamson-state: {tmp_path / 'none'}: No such file or directory\n"


class TestImportShelve:
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> str:
        """A shelf with entries of Salmon and of Lamson, and a pickle that must not be executed."""
        path = str(tmp_path / "shelf")
        with shelve.open(path) as states:
            states[repr([b"app.talk", "ann@example.com"])] = "POSTING"
            states[repr(["app.talk", "bob@example.com"])] = "ERROR"
            states[repr(["app.odd", "ann@example.com"])] = "OLD"
            states["nonsense"] = "POSTING"
            states[repr([b"app.talk", "eve@example.com"])] = sys.exit
        return path

    def test_states_are_taken_over_and_the_rest_is_refused(
        self, shelf: str, lamson_state: Call
    ) -> None:
        ended = lamson_state("import-shelve", shelf)
        assert ended.status == 1
        assert dict(ended.cells) == {"read": "3", "written": "2", "kept": "1", "refused": "2"}
        assert ended.err.count("refused ") == 2
        assert lamson_state("get", "app.talk", "ann@example.com").out == "POSTING\n"
        assert lamson_state("get", "app.talk", "bob@example.com").out == "ERROR\n"
        assert lamson_state("get", "app.odd", "ann@example.com").out == "S0\n"
        assert lamson_state("get", "app.talk", "eve@example.com").status == 1

    def test_shelf_may_win(self, shelf: str, lamson_state: Call) -> None:
        lamson_state("import-shelve", shelf, "--on-conflict", "replace")
        assert lamson_state("get", "app.odd", "ann@example.com").out == "OLD\n"

    @pytest.mark.parametrize("choice", ["keep", "replace"])
    def test_dry_run_tells_what_would_be(
        self, choice: str, shelf: str, lamson_state: Call, path: str
    ) -> None:
        arguments = ["import-shelve", shelf, "--on-conflict", choice]
        before = raw_rows(path)
        would = lamson_state(*arguments, "--dry-run")
        assert raw_rows(path) == before
        assert lamson_state(*arguments).cells == would.cells

    def test_new_store_is_made_only_if_asked(
        self, shelf: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        new = str(tmp_path / "new")
        arguments = ["--store", new, "import-shelve", shelf]
        assert run_in_process(capfd, *arguments).status == 3
        would = run_in_process(capfd, *arguments, "--create", "--dry-run")
        assert not os.path.exists(new)
        assert run_in_process(capfd, *arguments, "--create").cells == would.cells
        assert len(raw_rows(new)) == 3

    def test_no_shelf_is_wrong_usage(self, lamson_state: Call, tmp_path: Path) -> None:
        ended = lamson_state("import-shelve", str(tmp_path / "none"))
        assert ended.status == 2
        assert ended.err.startswith(f"lamson-state: {tmp_path / 'none'}")
        assert ended.err.count("\n") == 1


class TestBackupAndRestore:
    def test_copy_brings_everything_back(
        self, lamson_state: Call, path: str, tmp_path: Path
    ) -> None:
        copy = str(tmp_path / "copy")
        before = raw_rows(path)
        cells = dict(lamson_state("backup", copy).cells)
        assert cells["pairs"] == "20"
        with SQLiteStorage(path) as worker:
            worker.set("app.odd", "ann@example.com", "LOST")
            worker.set("app.odd", "newcomer", "LOST")
            assert worker.get("app.odd", "newcomer") == "LOST"
            ended = lamson_state("restore", copy)
            assert dict(ended.cells) == {"pairs": "20", "written": "1", "removed": "1"}
            assert worker.get("app.odd", "ann@example.com") == "S0"
            assert worker.get("app.odd", "newcomer") == "START"
            lamson_state("forget", "newcomer")
        assert raw_rows(path) == before

    def test_copy_is_not_overwritten_without_force(
        self, lamson_state: Call, tmp_path: Path
    ) -> None:
        copy = tmp_path / "copy"
        copy.write_text("precious")
        ended = lamson_state("backup", str(copy))
        assert ended.status == 2
        assert ended.err.endswith("already: give another path, or overwrite it (--force)\n")
        assert copy.read_text() == "precious"
        assert lamson_state("backup", str(copy), "--force").status == 0
        assert len(raw_rows(str(copy))) == 20

    def test_copy_without_force_where_nothing_can_be_named_safely_names_the_option(
        self, lamson_state: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

        monkeypatch.setattr(atomic_file, "_rename_new", refuse)
        monkeypatch.setattr(os, "link", refuse)
        copy = tmp_path / "copy"
        ended = lamson_state("backup", str(copy))
        assert ended.status == 2
        assert "allow that (--force)" in ended.err
        assert lamson_state("backup", str(copy), "--force").status == 0

    def test_copy_is_a_store(
        self, lamson_state: Call, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        copy = str(tmp_path / "copy")
        lamson_state("backup", copy)
        assert run_in_process(capfd, "--store", copy, "get", "app.odd", "None").out == "S1\n"

    def test_what_is_no_copy_is_refused(
        self, lamson_state: Call, path: str, tmp_path: Path
    ) -> None:
        text = tmp_path / "text"
        text.write_text("no database " * 100)
        before = raw_rows(path)
        for source in (str(text), str(tmp_path / "none"), path, str(tmp_path)):
            ended = lamson_state("restore", source)
            assert ended.status == 2 or source == path
            assert ended.err.startswith(f"lamson-state: {source}: ")
            assert ended.err.count("\n") == 1
        assert raw_rows(path) == before
