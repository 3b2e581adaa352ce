"""What the README says of the package is so, and what the package says of itself."""

import ast
import inspect
import os
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


def test_stress_folders_import_only_those_below_them() -> None:
    text = (ROOT / "stress" / "README.md").read_text()
    folders = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(folders) == sorted(p.parent.name for p in ROOT.glob("stress/*/__init__.py"))
    for step, folder in enumerate(folders):
        for path in (ROOT / "stress" / folder).glob("*.py"):
            found = re.findall(r"^from (\w+)[. ]", path.read_text(), re.MULTILINE)
            assert set(found) & set(folders) <= set(folders[step + 1 :]), path


def test_rooms_and_functions_can_be_read_at_once() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                assert (node.end_lineno or 0) - first.lineno < 40, f"{path}: {node.name}"


def test_only_filelock_is_needed_beside_the_standard_library() -> None:
    foreign = re.compile(r"^(?:from|import) (?!\.)(\w+)", re.MULTILINE)
    needed = {
        module
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "cli"
        for module in foreign.findall(path.read_text())
    }
    assert needed - sys.stdlib_module_names == {"filelock"}


def test_connections_are_made_by_the_class() -> None:
    """A tracing library wraps `sqlite3.connect`, and a wrapped connection cannot be copied."""
    for path in PACKAGE.rglob("*.py"):
        assert "sqlite3.connect(" not in path.read_text(), path


def test_no_placeholder_is_numbered() -> None:
    """From Python 3.12 on, numbers with a sequence of parameters bring a DeprecationWarning."""
    for path in PACKAGE.rglob("*.py"):
        assert not re.search(r"\?\d", path.read_text()), path


def test_only_the_commands_need_click_and_rich() -> None:
    foreign = re.compile(r"^(?:from|import) (?!\.)(\w+)", re.MULTILINE)
    paths = (PACKAGE / "cli").glob("*.py")
    needed = {module for path in paths for module in foreign.findall(path.read_text())}
    assert needed - sys.stdlib_module_names == {"click", "rich"}


def test_readme_names_every_folder_of_the_package() -> None:
    folders = {each.parent.name for each in PACKAGE.rglob("__init__.py")} - {PACKAGE.name}
    assert set(re.findall(r"^ {6,8}(\w+)/ ", README, re.MULTILINE)) == folders


def test_each_folder_says_what_it_promises() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize(
    "readme", ["README.md", "docs/lamson-state.md", "stress/README.md", "benchmarks/README.md"]
)
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
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b", README)) <= targets


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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", "2", str(tmp_path)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "6 passed" in ended.stdout, ended.stdout + ended.stderr


def test_temporary_files_are_in_no_folder_that_another_run_shuts(tmp_path: Path) -> None:
    assert not [each for each in tmp_path.parents if each.name.startswith("pytest-of-")]
