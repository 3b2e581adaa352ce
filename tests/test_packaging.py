"""What pip installs, and what its metadata says."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import lamson_sqlite_state

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
