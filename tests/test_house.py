"""The package is a staircase, and what the README says of it is so."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lamson_sqlite_state
from faults import FAULTS
from lamson_sqlite_state import SQLiteStorage

ROOT = Path(__file__).parent.parent
PACKAGE = Path(lamson_sqlite_state.__file__).parent
README = (ROOT / "README.md").read_text()

# From the top. A file imports only those below it.
STAIRCASE = [
    *[
        "__init__",
        "storage",
        "_store",
        "_states",
        "_database",
        "_open_file",
        "_rescue",
        "_opening",
        "_sharing",
    ],
    *["_cache", "_coherence", "_write_lock", "_schema", "_sqlite_errors", "_fork", "_filesystem"],
    *["_blame", "_keys", "interface", "errors"],
]


def imports_of(name: str) -> set[str]:
    """Return which files of the package a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def test_each_file_imports_only_those_below_it() -> None:
    assert sorted(STAIRCASE) == sorted(path.stem for path in PACKAGE.glob("*.py"))
    for step, name in enumerate(STAIRCASE):
        assert imports_of(name) <= set(STAIRCASE[step + 1 :]), name


def test_stress_folders_import_only_those_below_them() -> None:
    text = (ROOT / "stress" / "README.md").read_text()
    folders = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(folders) == sorted(p.parent.name for p in ROOT.glob("stress/*/__init__.py"))
    for step, folder in enumerate(folders):
        for path in (ROOT / "stress" / folder).glob("*.py"):
            found = re.findall(r"^from (\w+)[. ]", path.read_text(), re.MULTILINE)
            assert set(found) & set(folders) <= set(folders[step + 1 :]), path


def test_only_filelock_is_needed_beside_the_standard_library() -> None:
    foreign = re.compile(r"^(?:from|import) (?!\.)(\w+)", re.MULTILINE)
    needed = {
        module for path in PACKAGE.glob("*.py") for module in foreign.findall(path.read_text())
    }
    assert needed - sys.stdlib_module_names == {"filelock"}


def test_readme_names_every_file_of_the_package() -> None:
    named = set(re.findall(r"^\| `(\w+)\.py` \|", README, re.MULTILINE))
    assert named == set(STAIRCASE) - {"__init__"}


@pytest.mark.parametrize("readme", ["README.md", "stress/README.md", "benchmarks/README.md"])
def test_readme_links_lead_somewhere(readme: str) -> None:
    path = ROOT / readme
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_readme_counts_the_faults_as_they_are() -> None:
    kinds = f"{len(FAULTS) - 1} kinds of faults"  # all but none at all
    assert kinds in README
    assert kinds in (ROOT / "CHANGELOG.md").read_text()


def test_readme_gives_the_constructor_as_it_is() -> None:
    line = re.search(r"^    SQLiteStorage\((.*)\)$", README, re.MULTILINE)
    assert line is not None
    parameters = inspect.signature(SQLiteStorage).parameters.values()
    for parameter in parameters:
        assert parameter.name in line[1]
    asked = dict(re.findall(r"(\w+)=([\w.\"]+)", line[1]))
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert {name: ast.literal_eval(value) for name, value in asked.items()} == defaults


def test_readme_names_every_method_and_error() -> None:
    public = [name for name in dir(SQLiteStorage) if not name.startswith("_")]
    calls = set(re.findall(r"`(\w+)\(", README))
    for name in ("get", "set", "clear", "set_all", "compare_and_set", "close"):
        assert name in public
        assert name in calls
    for name in lamson_sqlite_state.__all__:
        kind = getattr(lamson_sqlite_state, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert f"`{name}`" in README, name


def test_readme_commands_are_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)\b", README)) <= targets


def test_readme_examples_are_python() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        compile(example, "README.md", "exec")


def test_readme_conftest_lets_parallel_tests_share_a_store(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        next(e for e in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "conftest" in e)
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('number', range(6))\n"
        "def test_it(states, number):\n"
        "    states.set('m', f'ann {number}', 'POSTING')\n"
        "    assert states.get('m', f'ann {number}') == 'POSTING'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:randomly", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "6 passed" in ended.stdout, ended.stdout + ended.stderr
