"""The page of the command is true: its help, its commands, its example, its completion."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from write_help import PAGE, help_texts, page_with_help

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.cli._group import lamson_state
from tests.helpers.commands import run_in_process


class TestPage:
    def test_help_of_every_command_stands_in_the_docs(self) -> None:
        page = PAGE.read_text()
        assert set(help_texts()) == {
            "lamson-state",
            *(f"lamson-state {name}" for name in lamson_state.commands),
        }
        assert page == page_with_help(page), "run: make docs"

    def test_page_names_only_commands_that_there_are(self) -> None:
        prose = PAGE.read_text().partition("<!-- help")[0]
        named = set(re.findall(r"lamson-state (?:--store \S+ )?([a-z][a-z-]*)", prose))
        assert named - {"lamson-state"} <= set(lamson_state.commands)
        assert {"check", "prune", "import-shelve", "backup", "restore", "watch"} <= named

    def test_example_in_python_runs(self, tmp_path: Path) -> None:
        (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        with SQLiteStorage(tmp_path / "run" / "states") as store:
            store.set("m", "ann", "ERROR")
        ended = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout.startswith("m ann ")

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion_is_as_the_page_says(
        self, shell: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        variable = f"_LAMSON_STATE_COMPLETE={shell}_source"
        assert variable in PAGE.read_text()
        monkeypatch.setenv(*variable.split("="))
        ended = run_in_process(capfd)
        assert (ended.status, ended.err) == (0, "")
        assert "lamson_state_completion" in ended.out

    def test_shell_completes_what_stores_have_written_and_passes_over_the_rest(
        self, path: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("app", "ann", "POSTING")
        with closing(sqlite3.connect(path)) as tool, tool:
            tool.execute("INSERT INTO states VALUES (7, 'x', x'ff', 1), (x'ff', 'y', 'P', 1)")
        monkeypatch.setenv("_LAMSON_STATE_COMPLETE", "bash_complete")
        for words, expected in {"list --state ": "POSTING", "get ": "app"}.items():
            monkeypatch.setenv("COMP_WORDS", f"lamson-state --store {path} {words}")
            monkeypatch.setenv("COMP_CWORD", str(len(words.split()) + 3))
            ended = run_in_process(capfd)
            assert ended.status == 0
            assert f"plain,{expected}\n" in ended.out

    def test_shell_completes_modules_and_states_of_the_store(
        self, path: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("app.handlers", "ann", "POSTING")
            store.set(None, "ann", "PENDING")
            store.set("a" * 1000, "ann", "P" * 1000)  # too long to choose from
        monkeypatch.setenv("HOME", str(Path(path).parent))
        monkeypatch.setenv("_LAMSON_STATE_COMPLETE", "bash_complete")
        for words, expected in {
            "list --state P": "plain,PENDING\nplain,POSTING\n",
            "get a": "plain,app.handlers\n",
            "forget ann --module N": "plain,None\n",
            "--store /nowhere list --state P": "\n",
            f"--store ~/{Path(path).name} get a": "plain,app.handlers\n",  # no shell expands ~ here
        }.items():
            line = f"lamson-state --store {path} {words}"
            monkeypatch.setenv("COMP_WORDS", line)
            monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
            ended = run_in_process(capfd)
            assert (ended.status, ended.out) == (0, expected)
