"""The file of counters: made, lost, spoilt, and left behind by a writer that was killed."""

import os
import random
import resource
import signal
import sqlite3
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from types import FrameType
from typing import Any, Final

import pytest

import lamson_sqlite_state
from lamson_sqlite_state import SQLiteStorage, StorageError, _coherence

from .actors import Actor
from .children import in_child
from .state_files import let_readers_notice, make_backup, make_the_next_read_look, rows
from .test_cache import hold_the_write_lock

PACKAGE: Final = os.path.dirname(lamson_sqlite_state.__file__)


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        yield store


def counter(store: SQLiteStorage, sender: str) -> int:
    assert store._database is not None
    assert store._database.versions.counters is not None
    return store._database.versions.counters[_coherence.stripe_of(sender)]


def keeps_reads(store: SQLiteStorage) -> bool:
    """Whether a state is kept that is read now."""
    store.get("m", "ann")
    return ("ann", "m") in store._cache.current[0]


class TestCounters:
    def test_are_even_between_writes_and_never_the_same_again(self, store: SQLiteStorage) -> None:
        seen = {counter(store, "ann")}
        for number in range(10):
            store.set("m", "ann", f"S{number}")
            assert counter(store, "ann") % 2 == 0
            assert counter(store, "ann") not in seen
            seen.add(counter(store, "ann"))

    def test_are_left_alone_by_what_changes_nothing(self, store: SQLiteStorage) -> None:
        before = counter(store, "ann")
        with SQLiteStorage(store.path, cache_size=0) as other:
            other.set("m", "ann", "A1")
            other.compare_and_set("m", "ann", "A0", "A2")
            other.get("m", "bob")
        assert counter(store, "ann") == before

    def test_of_a_sender_is_the_same_in_every_process(self) -> None:
        """It must not depend on the interpreter's seed for hashes."""
        assert _coherence.stripe_of("ann@example.com") == 1 + 0x725BD90E % 4095
        assert _coherence.stripe_of(b"None") == _coherence.stripe_of("None")

    def test_of_a_failed_write_stays_odd_until_the_next(self, store: SQLiteStorage) -> None:
        """Its outcome may be unknown."""
        with closing(sqlite3.connect(store.path)) as other:
            other.execute(
                "CREATE TRIGGER no BEFORE UPDATE ON states BEGIN SELECT RAISE(FAIL, 'no'); END"
            )
            with pytest.raises(StorageError, match="no"):
                store.set("m", "ann", "A2")
            assert counter(store, "ann") % 2 == 1
            assert store.get("m", "ann") == "A1"
            assert not keeps_reads(store)
            other.execute("DROP TRIGGER no")
        store.set("m", "ann", "A3")
        assert counter(store, "ann") % 2 == 0
        assert keeps_reads(store)


class TestKilledWriter:
    """One that is killed at any instruction leaves every later read right."""

    OPERATIONS: Final[dict[str, Callable[[SQLiteStorage, str], object]]] = {
        "set": lambda store, state: store.set("m", "ann", state),
        "set_all": lambda store, state: store.set_all("ann", state),
        "clear": lambda store, _state: store.clear(),
    }

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("what", OPERATIONS)
    def test_leaves_every_read_right(self, path: str, what: str) -> None:
        with Actor(path) as other, Actor(path) as reader, SQLiteStorage(path) as store:
            store.set("m", "ann", "BEGIN")
            steps = other.call(run_in_a_child, what, "END", sys.maxsize)
            assert steps > 100
            # Others in every run, by the seed of pytest-randomly. A set has 900 or so; a clear
            # goes through all stripes, which takes a while when every step is counted.
            chosen = random.sample(range(steps), 60 if what == "clear" else 300)
            outcomes: Counter[str] = Counter()
            with closing(sqlite3.connect(path)) as truth:
                for step in chosen:
                    store.set("m", "ann", f"BEFORE {step}")
                    assert reader.get("m", "ann") == f"BEFORE {step}"
                    other.call(run_in_a_child, what, f"KILLED {step}", step)
                    found = truth.execute("SELECT state FROM states WHERE sender='ann'").fetchone()
                    state = found[0] if found else "START"
                    outcomes[state.split()[0]] += 1
                    assert store.get("m", "ann") == state
                    assert reader.get("m", "ann") == state
                    assert store.get("m", "ann") == state
            assert set(outcomes) == {"BEFORE", "START" if what == "clear" else "KILLED"}
            assert min(outcomes.values()) > 5


def run_in_a_child(store: SQLiteStorage, what: str, state: str, kill_at: int) -> int | None:
    """Fork a child that makes a call and is killed at so many bytecodes of the package's.

    Returns:
        How many there were, or None if it was killed. It takes a few more where it has to wait.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.get("m", "ann")
            steps = 0

            def trace(frame: FrameType, event: str, _argument: Any) -> Any:
                nonlocal steps
                if not frame.f_code.co_filename.startswith(PACKAGE):
                    return None
                frame.f_trace_opcodes = True
                if event == "opcode":
                    if steps == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    steps += 1
                return trace

            sys.settrace(trace)
            TestKilledWriter.OPERATIONS[what](store, state)
            sys.settrace(None)
            os.write(writing, str(steps).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        report = pipe.read()
    _, status = os.waitpid(child, 0)
    if report:
        assert status == 0
        return int(report)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    return None


def wait_until_a_look_is_due() -> None:
    """Return when what was looked at before this call holds no longer."""
    deadline = time.monotonic() + 0.010
    while time.monotonic() < deadline:
        pass


def settle(store: SQLiteStorage) -> None:
    """Have the directory believed to be unchanged, as it is a moment after its last change."""
    assert store._database is not None
    store._database._watch._believed = store._database._watch.look()


def edit(path: str, state: str) -> None:
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.execute("UPDATE states SET state = ? WHERE sender = 'ann'", (state,))


class TestAfterTenMilliseconds:
    def test_an_edit_by_another_tool_is_read(self, store: SQLiteStorage) -> None:
        for number in range(20):
            store.get("m", "ann")
            edit(store.path, f"E{number}")
            wait_until_a_look_is_due()
            assert store.get("m", "ann") == f"E{number}"

    def test_an_edit_by_another_tool_is_overwritten(self, store: SQLiteStorage) -> None:
        """What the cache takes for unchanged is written if the file has something else."""
        edit(store.path, "EDITED")
        wait_until_a_look_is_due()
        store.set("m", "ann", "A1")
        assert rows(store.path)["m", "ann"] == "A1"

    def test_an_edit_is_not_hidden_by_the_writes_of_other_processes(
        self, store: SQLiteStorage, first: Actor
    ) -> None:
        """They change what tells of it, and the counters that tell of them are not its own."""
        for number in range(20):
            store.get("m", "ann")
            first.set("m", "bob", f"B{number}")
            edit(store.path, f"E{number}")
            first.set("m", "bob", f"C{number}")
            store.set("m", "cid", f"C{number}")
            wait_until_a_look_is_due()
            assert store.get("m", "ann") == f"E{number}"

    def test_a_replaced_database_is_read(self, store: SQLiteStorage) -> None:
        backup = make_backup(store.path, ann="BACKUP")
        assert store.get("m", "ann") == "A1"
        os.rename(backup, store.path)
        wait_until_a_look_is_due()
        assert store.get("m", "ann") == "BACKUP"

    def test_a_deleted_database_is_gone(self, store: SQLiteStorage) -> None:
        assert store.get("m", "ann") == "A1"
        os.unlink(store.path)
        wait_until_a_look_is_due()
        assert store.get("m", "ann") == "START"


def spoil_by(what: str, versions: str) -> None:
    if what in ("a directory", "deleted", "a FIFO", "a link", "another"):
        os.unlink(versions)
    if what == "a directory":
        os.mkdir(versions)
    elif what == "a FIFO":
        os.mkfifo(versions)
    elif what == "a link":
        os.symlink("/dev/null", versions)
    elif what == "a link to a sound one":
        os.rename(versions, f"{versions}.elsewhere")
        os.symlink(f"{versions}.elsewhere", versions)
    elif what == "another":
        with open(versions, "wb") as file:
            file.write(bytes(32 * 1024))
    elif what in ("truncated", "too short"):
        os.truncate(versions, 0 if what == "truncated" else 4096)
    elif what == "too long":
        os.truncate(versions, 64 * 1024)
    elif what == "emptied and grown":
        os.truncate(versions, 0)
        os.truncate(versions, 32 * 1024)
    elif what == "of another layout":
        with open(versions, "r+b") as file:
            file.write(b"LSSSver\x09")


SPOILT = [
    *["deleted", "truncated", "too short", "too long", "emptied and grown", "of another layout"],
    *["a FIFO", "a link", "a link to a sound one", "another"],
]


class TestSpoiltFile:
    @pytest.mark.parametrize("what", SPOILT)
    def test_is_made_anew_by_whoever_opens_and_writes(self, path: str, what: str) -> None:
        versions = f"{path}.versions"
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        spoil_by(what, versions)
        with Actor(path) as other, SQLiteStorage(path) as store:
            assert other.get("m", "ann") == "A1"
            store.set("m", "ann", "A2")
            assert stat.S_ISREG(os.lstat(versions).st_mode)
            assert os.lstat(versions).st_size == 32 * 1024
            let_readers_notice(other)
            assert other.get("m", "ann") == "A2"
            assert other.call(keeps_reads)
            store.set("m", "ann", "A3")
            assert other.get("m", "ann") == "A3"

    @pytest.mark.parametrize("what", SPOILT)
    def test_is_made_anew_by_running_processes(
        self, path: str, first: Actor, second: Actor, what: str
    ) -> None:
        for actor in (first, second):
            actor.set("m", "ann", "A1")
        spoil_by(what, f"{path}.versions")
        let_readers_notice(first, second)
        assert first.get("m", "ann") == second.get("m", "ann") == "A1"
        for number in range(3):
            first.set("m", "ann", f"F{number}")
            assert second.get("m", "ann") == f"F{number}"
            second.set("m", "ann", f"S{number}")
            assert first.get("m", "ann") == f"S{number}"
        assert first.call(keeps_reads)
        assert second.call(keeps_reads)
        with open(f"{path}.versions", "rb") as file:
            assert file.read(8) == _coherence._LAYOUT.to_bytes(8, sys.byteorder)

    @pytest.mark.parametrize("what", ["deleted", "another", "a FIFO", "a link"])
    def test_is_no_excuse_to_read_what_is_outdated(
        self, path: str, first: Actor, second: Actor, what: str
    ) -> None:
        """Who makes it anew spoils the old one for all that have it mapped, before they look."""
        for actor in (first, second):
            actor.set("m", "ann", "A1")
        spoil_by(what, f"{path}.versions")
        first.set("m", "ann", "A2")
        assert second.get("m", "ann") == "A2"

    @pytest.mark.parametrize("what", ["truncated", "too short"])
    def test_is_made_anew_by_a_writer_before_it_counts(
        self, path: str, first: Actor, second: Actor, what: str
    ) -> None:
        """Touching what is no longer there would kill it, and nothing in the directory moved."""
        for actor in (first, second):
            actor.set("m", "ann", "A1")
        first.call(settle)
        spoil_by(what, f"{path}.versions")
        first.set("m", "ann", "A2")
        let_readers_notice(second)
        assert second.get("m", "ann") == "A2"

    def test_is_not_trusted_by_a_reader_that_cannot_mend_it(self, path: str) -> None:
        """Who makes it anew may never have had the old one, and so cannot spoil it."""
        with Actor(path) as writer, SQLiteStorage(path) as reader:
            writer.set("m", "ann", "A1")
            assert reader.get("m", "ann") == "A1"
            writer.close()
            os.unlink(f"{path}.versions")
            writer.set("m", "ann", "A2")
            writer.call(hold_the_write_lock)
            make_the_next_read_look(reader)
            assert reader.get("m", "ann") == "A2"
            reader._cache.valid_until += 60
            writer.set("m", "ann", "A3")
            assert reader.get("m", "ann") == "A3"

    def test_that_cannot_be_made_whole_is_an_error_that_says_so(self, store: SQLiteStorage) -> None:
        """A disk with room for half of it takes half of it, and says nothing."""

        def scene() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            store.set("m", "ann", "A2")
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
            os.unlink(f"{store.path}.versions")
            with pytest.raises(StorageError, match="disk is full"):
                store.set("m", "ann", "A3")
            make_the_next_read_look(store)
            assert store.get("m", "ann") == "A2"
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            store.set("m", "ann", "A4")
            store.close()

        in_child(scene)
        assert store.get("m", "ann") == "A4"

    def test_that_is_a_directory_is_an_error_with_the_remedy(self, store: SQLiteStorage) -> None:
        spoil_by("a directory", f"{store.path}.versions")
        with pytest.raises(StorageError, match=r"states\.versions: .*move it away") as caught:
            store.set("m", "ann", "A2")
        assert ".versions" in caught.value.path
        make_the_next_read_look(store)
        assert store.get("m", "ann") == "A1"
        os.rmdir(f"{store.path}.versions")
        store.set("m", "ann", "A3")
        assert store.get("m", "ann") == "A3"

    def test_is_not_waited_for_by_readers(self, path: str, first: Actor) -> None:
        """Making it takes the write lock, which a stopped writer may have for long."""
        first.set("m", "ann", "A1")
        os.unlink(f"{path}.versions")
        first.call(hold_the_write_lock)
        with SQLiteStorage(path, timeout=0) as store:
            assert store.get("m", "ann") == "A1"
            make_the_next_read_look(store)
            assert store.get("m", "ann") == "A1"
            assert not keeps_reads(store)

    def test_left_half_made_by_a_crash_is_made_anew(self, path: str) -> None:
        os.mkdir(os.path.dirname(path))
        with open(f"{path}.versions.new", "wb") as file:
            file.write(b"half")
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            assert keeps_reads(store)
        assert not os.path.exists(f"{path}.versions.new")
