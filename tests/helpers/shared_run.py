"""A pytest plugin: one directory for all workers of a run, and one last look when all have ended.

A test that has set a state in the shared store acknowledges it, in a file of its worker. When
the last worker has ended, the process that began the run compares the store with what was
acknowledged, and fails the run if anything is missing. Works alike under ``-n auto``, ``-n 0``
and ``-p no:xdist``: without workers, one process is both.
"""

import json
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final

import pytest

from lamson_sqlite_state import SQLiteStorage

__all__ = ["SharedRun"]

_DIRECTORY: Final = pytest.StashKey[Path]()


class SharedRun:
    """What a test has of the run it shares with the other workers.

    Attributes:
        directory: the same for all workers, empty when the run begins.
    """

    def __init__(self, directory: Path, acknowledged: IO[str]) -> None:
        self.directory = directory
        self._acknowledged = acknowledged

    @property
    def path(self) -> Path:
        """The store that is looked at when the run has ended. Nobody may clear it."""
        return self.directory / "states"

    def acknowledge(self, module: str, sender: str, state: str) -> None:
        """Note that ``set`` has returned. A pair may be set again, but by one process only."""
        self._acknowledged.write(json.dumps([module, sender, state]) + "\n")
        self._acknowledged.flush()


@pytest.fixture(scope="session")
def shared_run(pytestconfig: pytest.Config) -> Iterator[SharedRun]:
    directory = pytestconfig.stash[_DIRECTORY]
    directory.mkdir(mode=0o700, exist_ok=True)
    with open(directory / f"acknowledged.{os.getpid()}", "a", encoding="utf-8") as acknowledged:
        yield SharedRun(directory, acknowledged)


def pytest_configure(config: pytest.Config) -> None:
    if _is_worker(config):
        directory = Path(config.workerinput["shared_directory"])  # type: ignore[attr-defined]
    else:  # only named here: a run that shares nothing leaves nothing
        directory = Path(tempfile.gettempdir()) / f"shared-run-{uuid.uuid4().hex}"
    config.stash[_DIRECTORY] = directory


@pytest.hookimpl(trylast=True)  # when others have put the tests in order, and left some out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have every worker begin with its part of the tests that share.

    ``--dist worksteal`` gives each worker one piece of the list, where a module's tests are side by
    side: a single worker would have them all, and share with nobody.
    """
    workers = config.workerinput["workercount"] if _is_worker(config) else 1  # type: ignore[attr-defined]
    sharing = [item for item in items if "shared_run" in getattr(item, "fixturenames", ())]
    others = [item for item in items if "shared_run" not in getattr(item, "fixturenames", ())]
    items[:] = [
        item
        for worker in range(workers)
        for each in (sharing, others)
        for item in each[len(each) * worker // workers : len(each) * (worker + 1) // workers]
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker, before it starts, which directory the run shares."""
    node.workerinput["shared_directory"] = str(node.config.stash[_DIRECTORY])


@pytest.hookimpl(trylast=True)  # when xdist has ended its workers, also after Ctrl-C
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    directory = config.stash[_DIRECTORY]
    if _is_worker(config) or not directory.is_dir():
        return
    problems = problems_of(directory)
    if not problems:
        shutil.rmtree(directory)
        return
    session.exitstatus = pytest.ExitCode.TESTS_FAILED
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.section("states lost from the store that all workers shared", red=True)
        for problem in problems:
            reporter.line(problem)
        reporter.line(f"(left for you to look at: {directory})")


def problems_of(directory: Path) -> list[str]:
    """Compare the store with what was acknowledged, and return a line for each difference."""
    acknowledged: dict[tuple[str, str], str] = {}
    for file in directory.glob("acknowledged.*"):
        for line in file.read_text(encoding="utf-8").splitlines():
            module, sender, state = json.loads(line)
            acknowledged[module, sender] = state
    path = directory / "states"
    with SQLiteStorage(path) as store:
        found = {pair: store.get(*pair) for pair in acknowledged}
    problems = [
        f"{pair} is in {found[pair]}, but {state} was acknowledged"
        for pair, state in acknowledged.items()
        if found[pair] != state
    ]
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            problems.append(f"SQLite finds the file damaged: {verdict}")
    return problems


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
