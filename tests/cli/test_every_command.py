"""What every command of ``lamson-state`` promises."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, __version__
from lamson_sqlite_state.cli._group import lamson_state
from tests.helpers.commands import run_in_process, started

# How each command is called where it needs a store.
CALLS = {
    "summary": [],
    "list": [],
    "get": ["m", "ann"],
    "set": ["m", "ann", "A1"],
    "set-all": ["ann", "A1"],
    "forget": ["ann"],
    "rename-state": ["m", "A1", "A2"],
    "prune": ["--state", "A1", "--yes"],
    "import-shelve": ["SHELF"],
    "export": [],
    "import": ["ROWS"],
    "backup": ["COPY"],
    "restore": ["STORE"],
    "check": [],
    "watch": ["--once"],
}
commands = pytest.mark.parametrize("command", CALLS)

# They are tried in test_packaging.
WITHOUT_A_STORE = {"datasette-metadata"}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files to give to commands beside the store: good ones, or names that are free."""
    shelf = tmp_path / "shelf"
    (tmp_path / "shelf.dir").write_text("")
    (tmp_path / "shelf.dat").write_text("")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"module": "m", "sender": "bob", "state": "B1"}\n')
    other = tmp_path / "other"
    with SQLiteStorage(other) as store:
        store.set("m", "cid", "C1")
    return {
        "SHELF": str(shelf),
        "ROWS": str(rows),
        "COPY": str(tmp_path / "copy"),
        "STORE": str(other),
    }


def call(command: str, files: dict[str, str], path: str) -> list[str]:
    return ["--store", path, command, *(files.get(word, word) for word in CALLS[command])]


def test_every_command_is_tried_here() -> None:
    assert {*CALLS, *WITHOUT_A_STORE} == set(lamson_state.commands)


class TestStoreThatCannotBeUsed:
    @commands
    def test_missing_file_is_an_error_and_is_not_created(
        self,
        command: str,
        files: dict[str, str],
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        before = sorted(os.listdir(tmp_path))
        path = str(tmp_path / "run" / "states")
        ended = run_in_process(capfd, *call(command, files, path))
        assert ended.status == 3
        assert ended.out == ""
        assert re.fullmatch(rf"lamson-state: {re.escape(path)}: no such file.*\n", ended.err)
        assert sorted(os.listdir(tmp_path)) == before

    @commands
    def test_empty_file_is_left_empty(
        self, command: str, files: dict[str, str], path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        os.makedirs(os.path.dirname(path))
        Path(path).touch()
        ended = run_in_process(capfd, *call(command, files, path))
        assert ended.status == (1 if command == "check" else 3)
        assert os.listdir(os.path.dirname(path)) == ["states"]
        assert os.path.getsize(path) == 0

    @commands
    def test_file_that_is_none_is_an_error_in_one_line(
        self, command: str, files: dict[str, str], path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        os.makedirs(os.path.dirname(path))
        Path(path).write_text("Dear operator, this is no database. " * 100)
        ended = run_in_process(capfd, *call(command, files, path))
        if command == "check":
            assert ended.status == 1
            assert "integrity" in [cells[0] for cells in ended.cells]
        else:
            assert ended.status == 3
            assert re.fullmatch(rf"lamson-state: {re.escape(path)}: .*\n", ended.err)
        assert os.listdir(os.path.dirname(path)) == ["states"]

    @commands
    def test_not_saying_which_store_is_wrong_usage(
        self,
        command: str,
        files: dict[str, str],
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delenv("LAMSON_STATE_STORE", raising=False)
        ended = run_in_process(capfd, *call(command, files, "")[2:])
        assert ended.status == 2
        assert ended.err.count("\n") == 1
        assert "--store" in ended.err


class TestSoundStore:
    @commands
    def test_environment_may_name_the_store(
        self,
        command: str,
        files: dict[str, str],
        path: str,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        monkeypatch.setenv("LAMSON_STATE_STORE", path)
        ended = run_in_process(capfd, *call(command, files, "")[2:])
        expected = 1 if command == "import-shelve" else 0  # the shelf is empty
        assert ended.status == expected, ended

    @commands
    def test_json_is_json(
        self, command: str, files: dict[str, str], path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        ended = run_in_process(capfd, *call(command, files, path), "--json")
        json.loads(ended.out)

    def test_files_are_left_as_private_as_the_store(
        self, path: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        for target in ("copy", "rows.jsonl"):
            command = "backup" if target == "copy" else "export"
            run_in_process(capfd, "--store", path, command, str(tmp_path / target))
            assert os.stat(tmp_path / target).st_mode & 0o777 == 0o600


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["frobnicate"], "frobnicate"),
            (["--store", "x", "get", "m"], "SENDER"),
            (["--store", "x", "prune"], "condition"),
            (["--store", "x", "prune", "--older-than", "soon"], "'soon' is no age"),
            (["--store", "x", "prune", "--older-than", "1d2"], "no age"),
            (["--store", "x", "list", "--limit", "-1"], "--limit"),
            (["--store", "x", "watch"], "--once"),
            (["--timeout", "-1", "summary"], "--timeout"),
        ],
    )
    def test_wrong_usage_is_said_in_one_line(
        self, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ended = run_in_process(capfd, *arguments)
        assert ended.status == 2
        assert ended.out == ""
        assert ended.err.startswith("lamson-state")
        assert ended.err.count("\n") == 1
        assert said in ended.err

    def test_help_documents_the_exit_statuses(self, capfd: pytest.CaptureFixture[str]) -> None:
        ended = run_in_process(capfd, "--help")
        assert ended.status == 0
        for status in (0, 1, 2, 3, 130):
            assert re.search(rf"^ +{status} +\w", ended.out, re.MULTILINE)

    def test_version_is_the_packages(self, capfd: pytest.CaptureFixture[str]) -> None:
        ended = run_in_process(capfd, "--version")
        assert ended.status == 0
        assert ended.out == f"lamson-state, version {__version__}\n"

    @pytest.mark.parametrize("missing", ["click", "rich"])
    def test_without_the_extra_it_says_what_to_install(self, missing: str) -> None:
        program = (
            f"import sys; sys.modules[{missing!r}] = None\n"
            "from lamson_sqlite_state.cli import main\n"
            "sys.exit(main(['summary']))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        assert ended.stderr == (
            f"lamson-state: {missing} is missing: pip install 'lamson-sqlite-state[cli]'\n"
        )

    def test_functions_need_no_extra(self, tmp_path: Path) -> None:
        program = (
            "import sys; sys.modules['click'] = sys.modules['rich'] = None\n"
            "from lamson_sqlite_state import SQLiteStorage\n"
            "from lamson_sqlite_state.maintenance import summary, check\n"
            "from lamson_sqlite_state.transfer import export_rows\n"
            f"store = SQLiteStorage({str(tmp_path / 'states')!r})\n"
            "store.set('m', 'ann', 'A1')\n"
            "assert summary(store).pairs == 1 and not check(store.path)\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


class TestEnds:
    def test_reader_that_has_seen_enough_ends_it_quietly(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            for number in range(3000):
                store.get("app.handlers.subscription", f"person-{number}@example.com")
        for command in (["list"], ["list", "--json"], ["export"]):
            with started("--store", path, *command) as process:
                assert process.stdout is not None
                assert process.stderr is not None
                process.stdout.close()
                assert process.stderr.read() == b""
                assert process.wait() == 141

    def test_ctrl_c_ends_it_in_one_line(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        with started("--store", path, "import", "-") as process:
            assert process.stdin is not None
            assert process.stderr is not None
            # More than a pipe holds: when it is written, the command is in the middle of reading.
            process.stdin.write(b'{"module": "m", "sender": "bob", "state": "B1"}\n' * 20_000)
            process.stdin.flush()
            while process.poll() is None:
                # Again and again, because Python misses a signal that comes between its check for
                # signals and the system call.
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
            assert process.returncode == 130
            assert process.stderr.read().count(b"\n") == 1
            process.stdin.close()
