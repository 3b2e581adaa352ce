"""Who waits for whom, for how long, and who never does."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import filelock
import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from tests.helpers.actors import Actor
from tests.helpers.insides import file_of


@pytest.fixture
def holder(path: str) -> Iterator[Actor]:
    """A process that has the store open and holds its write lock, as one stopped in a write."""
    with Actor(path) as actor:
        actor.set("m", "ann", "A1")
        assert actor.call(hold_write_lock)
        yield actor


def hold_write_lock(store: SQLiteStorage) -> bool:
    return file_of(store).write_lock.try_lock()


def release_write_lock(store: SQLiteStorage) -> None:
    file_of(store).write_lock.unlock()


def writes(store: SQLiteStorage) -> list[Callable[[], object]]:
    return [
        lambda: store.set("m", "ann", "NEVER"),
        lambda: store.get("m", "new"),
        lambda: store.set_all("ann", "NEVER"),
        lambda: store.compare_and_set("m", "ann", "A1", "NEVER"),
        lambda: store.clear(),
    ]


class TestHeldLock:
    def test_makes_every_write_time_out_having_written_nothing(
        self, path: str, holder: Actor
    ) -> None:
        for call in writes(SQLiteStorage(path, timeout=0.05)):
            begun = time.monotonic()
            with pytest.raises(LockTimeout, match=r"waited 0\.1 s.*nothing was written") as caught:
                call()
            assert 0.05 <= time.monotonic() - begun < 5
            assert caught.value.path == path
            assert f"{path}.lock" in str(caught.value)
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT sender, state FROM states").fetchall()
        assert rows == [("ann", "A1")]

    def test_is_tried_once_with_a_timeout_of_zero(self, path: str, holder: Actor) -> None:
        with pytest.raises(LockTimeout):
            SQLiteStorage(path, timeout=0).set("m", "ann", "NEVER")
        holder.call(release_write_lock)
        with SQLiteStorage(path, timeout=0) as store:
            store.set("m", "ann", "A2")

    def test_keeps_no_new_process_from_reading(self, path: str, holder: Actor) -> None:
        """A stopped writer must not keep a newly forked worker from its work."""
        holder.stop()
        try:
            with Actor(path, timeout=0) as late:
                assert late.get("m", "ann") == "A1"
                assert late.compare_and_set("m", "ann", "A1", "A1")
        finally:
            holder.go_on()

    def test_keeps_neither_readers_nor_a_fork_of_a_waiting_process_waiting(
        self, path: str, holder: Actor
    ) -> None:
        """A thread that waits for another process does not hold its own store's lock."""
        store = SQLiteStorage(path)
        assert store.get("m", "ann") == "A1"
        thread = threading.Thread(target=store.set, args=("m", "bob", "B1"))
        thread.start()
        try:
            for _ in range(200):
                assert store.get("m", "ann") == "A1"
            pid = os.fork()
            if pid == 0:
                os._exit(store.get("m", "ann") != "A1")
            assert os.waitpid(pid, 0)[1] == 0
            assert thread.is_alive()
        finally:
            holder.call(release_write_lock)
            thread.join()
        assert store.get("m", "bob") == "B1"
        store.close()

    def test_is_free_once_its_holder_is_killed(self, path: str, holder: Actor) -> None:
        with Actor(path) as waiting:
            waiting.begin(SQLiteStorage.set, "m", "bob", "B1")
            assert waiting.is_busy(0.1)
            holder.kill()
            waiting.result()

    def test_is_the_one_that_filelock_takes_by_path(self, path: str, holder: Actor) -> None:
        lock = filelock.FileLock(path + ".lock")
        with pytest.raises(filelock.Timeout):
            lock.acquire(timeout=0)
        holder.call(release_write_lock)
        with lock, pytest.raises(LockTimeout):
            SQLiteStorage(path, timeout=0.01).set("m", "ann", "NEVER")


class TestQueueOfThreads:
    """Of the threads of one store that wait for another process, one tries; it is only advice."""

    def test_lets_each_time_out_in_its_time(self, path: str, holder: Actor) -> None:
        store = SQLiteStorage(path, timeout=0.2)
        waited: list[float] = []

        def wait() -> None:
            begun = time.monotonic()
            with pytest.raises(LockTimeout):
                store.set("m", "ann", "NEVER")
            waited.append(time.monotonic() - begun)

        threads = [threading.Thread(target=wait) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(waited) == 8
        assert 0.2 <= min(waited) <= max(waited) < 5

    def test_is_passed_on_when_the_first_is_done(self, path: str, holder: Actor) -> None:
        store = SQLiteStorage(path)
        threads = [
            threading.Thread(target=store.set, args=("m", f"thread {number}", "HERE"))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        holder.call(release_write_lock)
        for thread in threads:
            thread.join()
        assert {store.get("m", f"thread {number}") for number in range(8)} == {"HERE"}
        assert store._handle._queue.acquire(blocking=False)
        store._handle._queue.release()
        store.close()

    def test_keeps_nobody_waiting_for_a_thread_that_left_its_place_badly(
        self, path: str, holder: Actor
    ) -> None:
        store = SQLiteStorage(path)
        thread = threading.Thread(target=store._handle._queue.acquire)  # and never releases it
        thread.start()
        thread.join()
        waiting = threading.Thread(target=store.set, args=("m", "bob", "B1"))
        waiting.start()
        holder.call(release_write_lock)
        waiting.join()
        assert store.get("m", "bob") == "B1"
        store.close()


class TestOtherPrograms:
    def test_with_a_transaction_open_make_a_write_time_out(self, path: str) -> None:
        with SQLiteStorage(path, timeout=0.05) as store:
            store.set("m", "ann", "A1")
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                other.execute("UPDATE states SET state = 'OTHER'")
                for call in writes(store):
                    with pytest.raises(LockTimeout, match="another SQLite program"):
                        call()
                assert store.get("m", "ann") == "A1"
                other.execute("COMMIT")
            assert store.get("m", "ann") == "OTHER"
            store.set("m", "ann", "A2")
            assert store.get("m", "ann") == "A2"

    def test_are_waited_for_while_the_lock_is_free_for_others(self, path: str) -> None:
        store = SQLiteStorage(path)
        store.set("m", "ann", "A1")
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            thread = threading.Thread(target=store.set, args=("m", "ann", "A2"))
            thread.start()
            with filelock.FileLock(path + ".lock", timeout=20):
                assert thread.is_alive()
            other.execute("COMMIT")
            thread.join()
        assert store.get("m", "ann") == "A2"
        store.close()


def test_processes_that_come_and_go_keep_no_reader_waiting(path: str) -> None:
    """Even with no patience at all: who opens or closes is no writer one would wait for."""
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
    with contextlib.ExitStack() as stack:
        actors = [stack.enter_context(Actor(path, timeout=0)) for _ in range(3)]
        for actor in actors:
            actor.begin(read_and_close, 150)
        for actor in actors:
            actor.result()


def read_and_close(store: SQLiteStorage, times: int) -> None:
    for _ in range(times):
        assert store.get("m", "ann") == "A1"
        store.close()


def test_processes_that_create_one_store_together_all_succeed(tmp_path: Path) -> None:
    """Switching one new file to WAL together is "database is locked" at once, without a lock."""
    for number in range(5):
        path = str(tmp_path / f"run {number}" / "states")
        with contextlib.ExitStack() as stack:
            actors = [stack.enter_context(Actor(path)) for _ in range(6)]
            for index, actor in enumerate(actors):
                actor.begin(SQLiteStorage.set, "m", f"sender {index}", "HERE")
            for actor in actors:
                actor.result()
            assert actors[0].get("m", "sender 5") == "HERE"


def test_no_writer_starves_another(path: str) -> None:
    """Without the file lock, SQLite's busy handler lets one of several write nearly alone."""
    with contextlib.ExitStack() as stack:
        actors = [stack.enter_context(Actor(path, synchronous="NORMAL")) for _ in range(4)]
        actors[0].set("m", "warm", "UP")
        deadline = time.monotonic() + 1.0
        for actor in actors:
            actor.begin(count_writes_until, deadline)
        counts = [actor.result() for actor in actors]
    assert min(counts) > sum(counts) / len(counts) / 10, counts


def count_writes_until(store: SQLiteStorage, deadline: float) -> int:
    count = 0
    while time.monotonic() < deadline:
        count += 1
        store.set("m", f"{os.getpid()}", f"{count}")
    return count
