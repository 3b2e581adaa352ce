"""What pip installs, and what its metadata says."""

import importlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import lamson_sqlite_state
from tests.helpers.commands import PROGRAM, Ended, run_in_process

ROOT = Path(__file__).parent.parent
PACKAGE = Path(lamson_sqlite_state.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


class TestVersion:
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


class TestExtras:
    EXTRAS = PROJECT["project"]["optional-dependencies"]

    def test_name_each_requirement_once(self) -> None:
        named = [requirement for extra in self.EXTRAS.values() for requirement in extra]
        foreign = [name for name in named if not name.startswith("lamson-sqlite-state[")]
        assert len(foreign) == len(set(foreign)) + 1  # matplotlib: benchmarks and stress draw

    def test_are_none_that_are_empty(self) -> None:
        assert all(self.EXTRAS.values())

    def test_need_no_newer_pip_than_debian_12_has(self) -> None:
        """pip 23.0 does not know PEP 735's dependency groups."""
        assert "dependency-groups" not in PROJECT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(directory)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return directory


@pytest.mark.long
class TestBuilt:
    def test_wheel_has_every_file_of_the_package(self, built: Path) -> None:
        (path,) = built.glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            names = [name for name in wheel.namelist() if ".dist-info/" not in name]
        assert sorted(names) == files_of_the_package()
        assert {"lamson_sqlite_state/py.typed", "lamson_sqlite_state/__main__.py"} <= set(names)

    def test_sdist_has_every_file_of_the_package(self, built: Path) -> None:
        (path,) = built.glob("*.tar.gz")
        with tarfile.open(path) as sdist:
            inside = [name.partition("/")[2] for name in sdist.getnames()]
        names = [name.removeprefix("src/") for name in inside if name.startswith("src/")]
        assert sorted(names) == files_of_the_package()
        assert {"pyproject.toml", "README.md", "LICENSE", "Makefile"} <= set(inside)

    def test_names_have_the_version(self, built: Path) -> None:
        stem = f"lamson_sqlite_state-{lamson_sqlite_state.__version__}"
        assert sorted(os.listdir(built)) == [f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"]


def files_of_the_package() -> list[str]:
    source = ROOT / "src"
    paths = (source / "lamson_sqlite_state").rglob("*")
    return sorted(
        str(path.relative_to(source))
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    )


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


class TestDatasetteMetadata:
    """What Datasette makes of it is tried in tools/test_datasette."""

    def test_is_printed_as_it_is_in_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("LAMSON_STATE_STORE", raising=False)
        ended = run_in_process(capfd, "datasette-metadata")
        (packaged,) = PACKAGE.rglob("datasette.yaml")
        assert ended == Ended(0, packaged.read_text(), "")
        assert not os.listdir(tmp_path)

    def test_reader_that_has_seen_enough_ends_it_quietly(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # or it would write after the command's end
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as closed:
            ended = subprocess.run(
                [*PROGRAM, "datasette-metadata"], stdout=closed, stderr=subprocess.PIPE, check=False
            )
        assert (ended.returncode, ended.stderr) == (141, b"")


class TestTyping:
    """The checkers themselves are run by ``make lint``."""

    README = (ROOT / "README.md").read_text()
    TYPED = ROOT / "tests" / "typed"

    def test_boot_py_that_is_checked_is_the_readmes(self) -> None:
        example = re.search(r"```python\n# config/boot.py\n(.*?)```", self.README, re.DOTALL)
        assert example is not None
        assert example[1] == (self.TYPED / "boot.py").read_text()

    def test_configuration_that_it_is_checked_with_is_the_readmes(self) -> None:
        (example,) = re.findall(r"```toml\n(.*?)```", self.README, re.DOTALL)
        assert example == (self.TYPED / "pyproject.toml").read_text()
