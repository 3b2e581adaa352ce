"""Forks through os.fork: no acknowledged write lost, no child locked out, no hang."""

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from lamson_sqlite_state.sqlite.engine.store_handle import StoreHandle
from lamson_sqlite_state.sqlite.process import fork
from tests.helpers.actors import Actor
from tests.helpers.children import forked, in_child
from tests.helpers.insides import file_of
from tests.helpers.state_files import states


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "parent", "BEFORE")
        yield store


def open_files(directory: str) -> list[str]:
    """Return which files in ``directory`` this process has open that may not cross a fork."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [
        name
        for name in found
        if name.startswith(directory) and not name.endswith(".versions")  # is never locked
    ]


def fork_a_child_that_exits() -> None:
    if not os.fork():
        os._exit(0)


class TestFork:
    def test_child_writes_survive_the_parents_close(self, store: SQLiteStorage, path: str) -> None:
        """The parent takes itself for the last one, and would delete the log under the child."""
        to_child, go = os.pipe()

        def child() -> None:
            store.set("m", "child", "EARLY")
            os.write(done, b"1")
            os.read(to_child, 1)
            store.set("m", "child", "LATE")

        from_child, done = os.pipe()
        with forked(child):
            os.read(from_child, 1)
            assert store.get("m", "child") == "EARLY"
            store.close()
            os.write(go, b"1")
        for descriptor in (to_child, go, from_child, done):
            os.close(descriptor)
        assert states(path) == {"parent": "BEFORE", "child": "LATE"}

    def test_nothing_open_crosses_it(self, store: SQLiteStorage, tmp_path: Path) -> None:
        assert in_child(open_files, str(tmp_path)) == []

    def test_idle_child_that_exits_late_deletes_nobodys_log(
        self, store: SQLiteStorage, path: str
    ) -> None:
        to_child, go = os.pipe()

        def idle_child() -> None:
            os.read(to_child, 1)
            store._handle.__del__()  # as the interpreter's exit would

        with forked(idle_child), Actor(path) as third:
            store.close()
            third.set("m", "third", "HERE")
            os.write(go, b"1")
            third.kill()
        os.close(to_child)
        os.close(go)
        assert states(path) == {"parent": "BEFORE", "third": "HERE"}

    def test_parent_and_child_exclude_each_other(self, path: str) -> None:
        """With an inherited descriptor they would hold one lock together."""
        store = SQLiteStorage(path, timeout=0.05)
        store.set("m", "parent", "BEFORE")
        to_child, go = os.pipe()
        from_child, done = os.pipe()

        def child() -> None:
            store.get("m", "parent")
            assert file_of(store).write_lock.try_lock()
            os.write(done, b"1")
            os.read(to_child, 1)

        with forked(child):
            os.read(from_child, 1)
            with pytest.raises(LockTimeout):
                store.set("m", "parent", "NEVER")
            os.write(go, b"1")
        for descriptor in (to_child, go, from_child, done):
            os.close(descriptor)
        store.set("m", "parent", "AFTER")
        assert store.get("m", "parent") == "AFTER"
        store.close()

    @pytest.mark.parametrize("condition", ["open", "closed", "never opened"])
    def test_store_in_any_condition_works_on_both_sides(self, condition: str, path: str) -> None:
        store = SQLiteStorage(path)
        if condition != "never opened":
            store.set("m", "parent", "BEFORE")
        if condition == "closed":
            store.close()
        with forked(store.set, "m", "child", "CHILD"):
            store.set("m", "parent", "PARENT")
        assert store.get("m", "child") == "CHILD"
        store.close()
        assert states(path) == {"child": "CHILD", "parent": "PARENT"}

    def test_grandchildren_work_like_children(self, store: SQLiteStorage, path: str) -> None:
        def child() -> None:
            store.set("m", "child", "HERE")
            with forked(store.set, "m", "grandchild", "HERE"):
                store.set("m", "child", "STILL HERE")
            assert store.get("m", "grandchild") == "HERE"

        with forked(child):
            store.set("m", "parent", "MEANWHILE")
        store.close()
        assert states(path) == {
            "parent": "MEANWHILE",
            "child": "STILL HERE",
            "grandchild": "HERE",
        }

    @pytest.mark.many_syncs
    @pytest.mark.timeout(240)
    @pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
    def test_many_in_a_row_lose_nothing(self, store: SQLiteStorage, path: str, count: int) -> None:
        for number in range(count):
            pid = os.fork()
            if pid == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    store.set("m", f"child {number}", "HERE")
                    status = 0
                os._exit(status)
            store.set("m", "parent", f"{number}")
            assert os.waitpid(pid, 0)[1] == 0
        store.close()
        assert states(path) == {
            "parent": f"{count - 1}",
            **{f"child {number}": "HERE" for number in range(count)},
        }

    def test_that_fails_leaves_the_parent_working(self, store: SQLiteStorage) -> None:
        fork._before()
        fork._end()  # what CPython calls where fork(2) failed, too
        store.set("m", "parent", "AFTER")
        assert store.get("m", "parent") == "AFTER"

    def test_hooks_that_are_interrupted_leave_no_lock_behind(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """CPython swallows what a hook raises (Ctrl-C), forks, and calls the hooks after it."""

        def interrupt(_handle: StoreHandle) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(StoreHandle, "close_for_fork", interrupt)
            with pytest.raises(KeyboardInterrupt):
                fork._before()
        fork._end()
        fork._end()
        thread = threading.Thread(target=store.set, args=("m", "parent", "AFTER"))
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert in_child(store.get, "m", "parent") == "AFTER"

    def test_ctrl_c_in_the_middle_of_a_hook_comes_when_the_fork_has_returned(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """CPython swallows what is raised in a hook, and a terminal's Ctrl-C with it."""
        close = store._handle.close_for_fork

        def close_and_be_interrupted() -> None:
            close()
            _thread.interrupt_main()  # as if another thread had taken the signal

        def scene() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            monkeypatch.setattr(store._handle, "close_for_fork", close_and_be_interrupted)
            with pytest.raises(KeyboardInterrupt):
                fork_a_child_that_exits()
            assert os.wait()[1] == 0  # nothing came into the child
            monkeypatch.undo()
            store.set("m", "ann", "A1")
            assert in_child(store.get, "m", "ann") == "A1"  # and nothing comes twice

        in_child(scene)

    def test_no_signal_is_handled_between_closing_and_forking(self, store: SQLiteStorage) -> None:
        """A handler that uses the store there would open it again, to cross the fork."""
        handled = []
        previous = signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
        try:
            fork._before()
            signal.raise_signal(signal.SIGUSR1)
            assert not handled
            fork._end()
            assert handled
        finally:
            signal.signal(signal.SIGUSR1, previous)

    def test_what_a_handler_opens_in_the_middle_of_a_hook_does_not_cross_it(
        self, store: SQLiteStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal that another thread takes is handled in the main thread, masked or not."""
        handled = []

        def handle() -> None:
            handled.append(store.get("m", "parent"))

        monkeypatch.setattr(fork, "close_before_fork", [*fork.close_before_fork, handle])
        assert in_child(open_files, str(tmp_path)) == []
        assert handled

    def test_what_the_collector_has_just_found_does_not_cross_it(
        self, store: SQLiteStorage, tmp_path: Path
    ) -> None:
        """Its weak references are cleared before its finalizer has closed anything."""
        store.set("m", "parent", "MORE")
        fork._live.discard(store)
        assert in_child(open_files, str(tmp_path)) == []

    @pytest.mark.timeout(240)
    @pytest.mark.parametrize("count", [10, pytest.param(60, marks=pytest.mark.long)])
    def test_store_made_while_another_thread_forks_is_usable(self, path: str, count: int) -> None:
        """Stores come and go in one thread while another forks; no child is locked out."""
        stop = threading.Event()
        errors: list[BaseException] = []

        def come_and_go() -> None:
            try:
                while not stop.is_set():
                    with SQLiteStorage(path) as store:
                        store.get("m", "parent")
            except BaseException as error:  # noqa: BLE001 (shown below)
                errors.append(error)

        thread = threading.Thread(target=come_and_go)
        thread.start()
        store = SQLiteStorage(path)
        try:
            for number in range(count):
                in_child(store.set, "m", f"child {number}", "HERE")
        finally:
            stop.set()
            thread.join()
        assert not errors
        store.close()
        assert states(path).items() >= {f"child {n}": "HERE" for n in range(count)}.items()


class TestForkUnderWritingThreads:
    @pytest.mark.timeout(240)
    @pytest.mark.parametrize("count", [25, pytest.param(100, marks=pytest.mark.long)])
    def test_loses_no_acknowledged_write_and_locks_no_child_out(
        self, path: str, count: int
    ) -> None:
        """Four threads write at full speed through two stores while the fifth forks."""
        stores = [SQLiteStorage(path, synchronous="NORMAL"), SQLiteStorage(path)]
        stop = threading.Event()
        acknowledged: dict[str, str] = {}
        errors: list[BaseException] = []

        def write(number: int) -> None:
            sender, count = f"thread {number}", 0
            try:
                while not stop.is_set():
                    count += 1
                    stores[number % 2].set("m", sender, f"{count}")
                    acknowledged[sender] = f"{count}"
            except BaseException as error:  # noqa: BLE001 (shown below)
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(count):
                in_child(child_at_work, stores, f"child {number}")
                acknowledged[f"child {number}"] = "DONE"
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not errors
        for store in stores:
            store.close()
        assert states(path) == acknowledged

    def test_and_a_store_used_by_signal_handlers_does_not_deadlock(self, path: str) -> None:
        """A handler holds one store's lock and wants the other's; the fork wants both."""
        inner, outer = SQLiteStorage(path, synchronous="NORMAL"), SQLiteStorage(path)
        main = threading.get_ident()
        is_handled = threading.Semaphore(1)  # handlers must not pile up
        stop = threading.Event()

        def use_inner(_signal: int, _frame: FrameType | None) -> None:
            inner.get("m", "ann")
            is_handled.release()

        def interrupt() -> None:
            while is_handled.acquire() and not stop.is_set():
                signal.pthread_kill(main, signal.SIGUSR1)

        def fork_often() -> None:
            for _ in range(20):
                in_child(outer.get, "m", "ann")

        previous = signal.signal(signal.SIGUSR1, use_inner)
        inner.set("m", "ann", "A1")
        threads = [threading.Thread(target=fork_often), threading.Thread(target=interrupt)]
        try:
            for thread in threads:
                thread.start()
            while threads[0].is_alive():
                assert outer.get("m", "ann") == "A1"
        finally:
            stop.set()
            is_handled.release()
            for thread in threads:
                thread.join()
            signal.signal(signal.SIGUSR1, previous)
            inner.close()
            outer.close()


def child_at_work(stores: list[SQLiteStorage], sender: str) -> None:
    for store in stores:
        store.set("m", sender, "BEGUN")
    # A new thread too: the locks in a child are no use if only the forking thread has them.
    thread = threading.Thread(target=stores[0].set, args=("m", sender, "DONE"))
    thread.start()
    thread.join()
    assert stores[1].get("m", sender) == "DONE"
