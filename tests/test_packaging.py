"""What pip installs, and what its metadata says."""

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import lamson_sqlite_state

from .commands import PROGRAM

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


class TestVersion:
    def test_is_that_of_the_installed_package(self) -> None:
        assert lamson_sqlite_state.__version__ == version("lamson-sqlite-state")

    def test_is_written_once(self) -> None:
        assert "version" not in PROJECT["project"]
        source = ROOT / PROJECT["tool"]["hatch"]["version"]["path"]
        assert re.findall(r'^__version__ = "(.*)"$', source.read_text(), re.MULTILINE) == [
            lamson_sqlite_state.__version__
        ]

    def test_costs_no_import_of_importlib_metadata(self) -> None:
        """That module takes 17 ms, where the package's whole import takes 5."""
        program = (
            "import sys, lamson_sqlite_state\n"
            "print(lamson_sqlite_state.__version__, 'importlib.metadata' in sys.modules)"
        )
        ended = subprocess.run(
            [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == f"{lamson_sqlite_state.__version__} False\n"


class TestModule:
    """``python -m lamson_sqlite_state`` is the command."""

    def test_does_as_the_script_does(self) -> None:
        for words in (["--help"], ["--version"], ["frobnicate"]):
            by_module, by_script = (
                subprocess.run([*command, *words], capture_output=True, text=True, check=False)
                for command in ([sys.executable, "-m", "lamson_sqlite_state"], PROGRAM)
            )
            assert by_module.returncode == by_script.returncode
            assert (by_module.stdout, by_module.stderr) == (by_script.stdout, by_script.stderr)

    def test_completes_as_the_script_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("_LAMSON_STATE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", "lamson-state summ")
        monkeypatch.setenv("COMP_CWORD", "1")
        ended = subprocess.run(
            [sys.executable, "-m", "lamson_sqlite_state"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == "plain,summary\n"

    @pytest.mark.parametrize("missing", ["click", "rich"])
    def test_without_the_extra_it_says_what_to_install(self, missing: str) -> None:
        program = (
            f"import runpy, sys; sys.modules[{missing!r}] = None\n"
            "runpy.run_module('lamson_sqlite_state', run_name='__main__', alter_sys=True)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        assert ended.stderr == (
            f"lamson-state: {missing} is missing: pip install 'lamson-sqlite-state[cli]'\n"
        )

    def test_does_nothing_where_it_is_imported(self) -> None:
        """As by multiprocessing's spawn, which imports the main module once more in a child."""
        importlib.import_module("lamson_sqlite_state.__main__")
