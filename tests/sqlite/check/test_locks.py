"""What `check` finds of locks that a process keeps."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from lamson_sqlite_state.sqlite.check import _locks, _processes, check
from tests.helpers.actors import Actor
from tests.helpers.checking import NEEDS_LINUX, carry_out, make_store, only
from tests.helpers.children import Child, forked

pytestmark = NEEDS_LINUX


@pytest.fixture
def path(path: str) -> str:
    """A store, closed."""
    make_store(path)
    return path


@pytest.fixture(autouse=True)
def looking_seconds(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let a check look for a tenth of its time: most holders here never let go by themselves."""
    seconds = _locks._LOOKING_SECONDS
    monkeypatch.setattr(_locks, "_LOOKING_SECONDS", 0.1)
    return seconds


@pytest.fixture
def _looks_for_a_second(looking_seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_locks, "_LOOKING_SECONDS", looking_seconds)


@contextmanager
def at_work(work: Callable[[int, int], object]) -> Iterator[Child[None]]:
    """Run a function in a child; the block starts once the function has written to its second pipe.

    Its first pipe ends when the block does.
    """
    stopped, stop = os.pipe()
    begun, begin = os.pipe()

    def run() -> None:
        os.close(stop)
        work(stopped, begin)

    try:
        with forked(run) as child:
            os.close(begin)
            begin = -1
            assert os.read(begun, 1)
            try:
                yield child
            finally:
                os.close(stop)
                stop = -1
    finally:
        for descriptor in {stopped, stop, begun, begin} - {-1}:
            os.close(descriptor)


def hold_the_lock(path: str) -> Callable[[int, int], object]:
    def hold(stopped: int, begin: int) -> None:
        descriptor = os.open(f"{path}.lock", os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(begin, b".")
        os.read(stopped, 1)

    return hold


def run_sql(path: str, *statements: str) -> Callable[[int, int], object]:
    """Return a function that runs statements and keeps the connection open."""

    def run(stopped: int, begin: int) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement).fetchall()
            os.write(begin, b".")
            os.read(stopped, 1)

    return run


class TestWriteLock:
    @pytest.mark.usefixtures("_looks_for_a_second")
    def test_that_a_process_keeps_is_found_with_its_name(self, path: str) -> None:
        with at_work(hold_the_lock(path)) as child:
            finding = only(path)
            assert (finding.subject, finding.path) == ("lock", f"{path}.lock")
            assert f"process {child.pid} (" in finding.problem
            assert "python" in finding.problem
            assert "has held the write lock for at least 1." in finding.problem
            assert finding.remedy == f"if it is not at work, end it: kill {child.pid}"
        assert check(path) == []

    def test_that_a_stopped_process_keeps_is_found_and_mended_by_its_remedy(
        self, path: str
    ) -> None:
        with at_work(hold_the_lock(path)) as child:
            os.kill(child.pid, signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)
            finding = only(path)
            assert "stopped" in finding.problem
            assert finding.remedy == f"let it go on: kill -CONT {child.pid}"
            carry_out(finding.remedy)
        assert check(path) == []

    def test_of_a_stopped_process_is_found_though_another_program_writes(self, path: str) -> None:
        """A program that takes no lock moves the log on, but the holder of the lock is stopped."""
        with at_work(hold_the_lock(path)) as child, closing(sqlite3.connect(path)) as tool:
            tool.isolation_level = None
            os.kill(child.pid, signal.SIGSTOP)
            os.waitpid(child.pid, os.WUNTRACED)

            def write(what: str, _done: int, _total: int | None) -> None:
                if what == "locks":
                    tool.execute("UPDATE states SET state = 'B' || (random() % 1000)")

            found = check(path, progress=write)
            os.kill(child.pid, signal.SIGCONT)
        assert [each.subject for each in found] == ["lock"]

    def test_that_is_kept_is_found_beside_a_worker_that_has_the_store_open(
        self, path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A2")
        with at_work(hold_the_lock(path)):
            finding = only(path)
            assert finding.subject == "lock"
            assert "; the last write was " in finding.problem
        assert check(path) == []

    def test_that_the_child_of_its_holder_has_inherited_is_found_with_both(self, path: str) -> None:
        def hold(stopped: int, begin: int) -> None:
            descriptor = os.open(f"{path}.lock", os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with forked(os.read, stopped, 1) as heir:
                os.write(begin, b"%d\n" % heir.pid)

        with at_work(hold) as child:
            finding = only(path)
            assert f"end it and those that have inherited it: kill {child.pid} " in finding.remedy

    def test_that_the_child_of_its_dead_holder_keeps_is_found(
        self, path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A2")  # a worker has the file open, but does not hold the lock
        script = (
            "import fcntl, os, sys\n"
            "d = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(d, fcntl.LOCK_EX)\n"
            "if os.fork(): os._exit(0)\n"
            "print(os.getpid(), flush=True); sys.stdin.read(); os._exit(0)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, f"{path}.lock"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            heir = int(holder.stdout.readline())
            assert holder.wait(timeout=30) == 0
            finding = only(path)
            assert f"process {holder.pid}, which has ended," in finding.problem
            assert finding.remedy.endswith(f"if they are not at work: kill {heir}")
            holder.stdin.close()
            assert holder.stdout.read() == ""  # the heir has ended
        assert check(path) == []

    def test_that_somebody_invisible_keeps_is_found(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Within a container, /proc/locks does not show the locks of other containers."""
        monkeypatch.setattr(_locks, "held_locks", list)
        assert check(path) == []
        with at_work(hold_the_lock(path)):
            finding = only(path)
            assert "a process that is not visible here" in finding.problem
            assert finding.remedy.startswith("look on the host")

    @pytest.mark.usefixtures("_looks_for_a_second")
    def test_that_is_never_seen_free_of_who_writes_on_and_on_is_none(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The writer may have the lock in each sample by chance, but its log moves on."""

        def write(stopped: int, begin: int) -> None:
            descriptor = os.open(f"{path}.lock", os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.set_blocking(stopped, False)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                for turn in range(1_000_000):
                    connection.execute("UPDATE states SET since = ?", (turn,))
                    if not turn:
                        os.write(begin, b".")
                    try:
                        if not os.read(stopped, 1):
                            break
                    except BlockingIOError:
                        continue

        with at_work(write):
            assert [each for each in check(path) if each.subject == "lock"] == []

    def test_that_is_let_go_of_meanwhile_is_none(self, path: str) -> None:
        with ExitStack() as stack:
            stack.enter_context(at_work(hold_the_lock(path)))
            told: list[str] = []

            def let_go(what: str, _done: int, _total: int | None) -> None:
                told.append(what)
                if told.count("locks") == 3:
                    stack.close()

            assert check(path, progress=let_go) == []
            assert told.count("locks") >= 3

    def test_of_another_file_with_the_same_number_is_none(self, path: str) -> None:
        """stat() and /proc/locks may name different devices for one file."""
        found = os.stat(f"{path}.lock")
        lock = _processes.HeldLock(True, True, os.getpid(), 1, found.st_ino, 0, 10)
        assert not lock.is_on((found.st_dev, found.st_ino))
        with open(f"{path}.lock") as _:
            assert lock.is_on((found.st_dev, found.st_ino))


class TestTransactions:
    def test_that_a_worker_is_stopped_in_are_found_once(self, path: str) -> None:
        """The worker has the write lock, too."""

        def hold(stopped: int, begin: int) -> None:
            descriptor = os.open(f"{path}.lock", os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            run_sql(path, "BEGIN IMMEDIATE")(stopped, begin)

        with at_work(hold):
            assert only(path).subject == "lock"

    def test_that_another_program_keeps_open_is_found(self, path: str, first: Actor) -> None:
        first.get("m", "ann")
        with at_work(run_sql(path, "BEGIN IMMEDIATE")) as child:
            finding = only(path)
            assert (finding.subject, finding.path) == ("transaction", path)
            assert f"process {child.pid} (" in finding.problem
            assert "a writing transaction open" in finding.problem
            assert finding.remedy.endswith(f": kill {child.pid}")
        assert check(path) == []

    def test_of_somebody_invisible_are_found(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_locks, "held_locks", list)
        with at_work(run_sql(path, "BEGIN IMMEDIATE")) as child:
            finding = only(path)
            assert finding.subject == "transaction"
            assert f"process {child.pid} (" in finding.problem

    def test_that_lock_the_whole_database_are_found(self, path: str) -> None:
        statements = ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE")
        with at_work(run_sql(path, *statements)) as child:
            finding = only(path)
            assert finding.subject == "transaction"
            assert f"process {child.pid} (" in finding.problem
            assert "locked the whole database" in finding.problem
        assert check(path) == []

    def test_that_lock_the_whole_database_are_found_once_beside_the_write_lock(
        self, path: str
    ) -> None:
        def hold(stopped: int, begin: int) -> None:
            descriptor = os.open(f"{path}.lock", os.O_RDWR)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            statements = ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE")
            run_sql(path, *statements)(stopped, begin)

        with at_work(hold):
            assert "locked the whole database" in only(path).problem

    def test_that_only_read_are_none(self, path: str, first: Actor) -> None:
        first.get("m", "ann")
        with at_work(run_sql(path, "BEGIN", "SELECT * FROM states")):
            assert check(path) == []


def test_a_process_is_described_in_one_line(tmp_path: Any) -> None:
    script = tmp_path / "odd (name)\n.py"
    script.write_text("import sys; print(flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, str(script), "x" * 200], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        line = _processes.described(child.pid)
        assert line.isprintable()
        assert len(line) < 160
        child.communicate()
    assert _processes.described(child.pid) == f"process {child.pid}, which has ended,"
    assert _processes.described(os.getpid()) == f"this very process ({os.getpid()})"
