"""Plugins of all tests, and the file and the processes that most of them use."""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.maintenance import ExistingStorage
from tests.helpers.actors import Actor
from tests.helpers.bulk import fill, senders

pytest_plugins = ["pytester", "tests.helpers.shared_run"]


# `make test` tries random inputs for a while, `make test-all` for long. No deadlines: how long an
# example takes is a matter of the machine.
hypothesis.settings.register_profile("fast", deadline=None, max_examples=50, print_blob=True)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=300, print_blob=True)
hypothesis.settings.load_profile("fast")

# `nohup make test &`, cron and some CI start programs with SIGINT ignored. Python then installs no
# handler, and programs that the tests start inherit that, so that Ctrl-C ends none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY = "/dev/shm"  # where Linux has it


_OWN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give each run a folder for temporary files that no other run changes.

    The one that pytest would use belongs to all runs of a user, and is shut to other users
    whenever one of them begins: also while a test of another has opened it to one of these.
    """
    if config.option.basetemp is None:  # the workers of xdist have theirs in that of the run
        config.stash[_OWN] = tempfile.mkdtemp(prefix="tests-")
        config.option.basetemp = os.path.join(config.stash[_OWN], "run")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave that folder where something has failed, and say where it is."""
    if session.testsfailed and _OWN in session.config.stash:
        folder = session.config.stash[_OWN]
        del session.config.stash[_OWN]
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.line(f"(temporary files are left for you to look at: {folder})")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Else remove it."""
    if _OWN in config.stash:
        shutil.rmtree(config.stash[_OWN], ignore_errors=True)


def pytest_collection_finish() -> None:
    """Take all that was collected out of the garbage collector's sight.

    Else each collection in a forked child walks through the objects of pytest, of the plugins and
    of thousands of tests, and has the kernel copy the pages that they are on.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty directory: of a test with the mark ``many_syncs`` in memory, where there is any.

    Such a test waits a thousand times for what it has written to be on the disk, which takes as
    long as others keep the disk busy: six times as long while one of them writes large files.
    """
    is_in_memory = request.node.get_closest_marker("many_syncs") and os.access(MEMORY, os.W_OK)
    if not is_in_memory:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as in_memory:
        yield Path(in_memory)


@pytest.fixture
def path(directory: Path) -> str:
    """A state file that does not exist yet, nor does its directory."""
    return str(directory / "run" / "states")


@pytest.fixture
def first(path: str) -> Iterator[Actor]:
    """A process with a store on that file."""
    with Actor(path) as actor:
        yield actor


@pytest.fixture
def second(path: str) -> Iterator[Actor]:
    """Another one."""
    with Actor(path) as actor:
        yield actor


@pytest.fixture
def twenty(path: str) -> Iterator[SQLiteStorage]:
    """A store on that file in which twenty senders are, opened."""
    fill(path, senders(20))
    with ExistingStorage(path) as store:
        store.get("app", senders(1)[0][0])
        yield store


@pytest.fixture
def empty(path: str) -> Iterator[SQLiteStorage]:
    """A store on that file in which nobody is."""
    fill(path, [])
    with ExistingStorage(path) as store:
        yield store


@pytest.fixture
def copy(path: str) -> str:
    """A copy of a store, in which ten senders are in the state COPIED."""
    copy = f"{path}.copy"
    fill(copy, senders(10, "COPIED"))
    return copy


@pytest.fixture
def target(directory: Path) -> str:
    """A path for a copy, in an empty directory."""
    (directory / "copies").mkdir()
    return str(directory / "copies" / "copy")
