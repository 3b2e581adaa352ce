"""Forks by C code, past Python's fork hooks: loud where something was open, harmless else."""

import ctypes
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from lamson_sqlite_state import SQLiteStorage, UnsafeFork
from lamson_sqlite_state.sqlite.process import process_mark
from tests.helpers.actors import Actor
from tests.helpers.insides import connection_of
from tests.helpers.state_files import every_call, make_the_next_read_look, states


def in_c_child(function: Callable[[], object]) -> None:
    """Run ``function`` in a child that libc's fork made, as uWSGI makes its workers."""
    reading, writing = os.pipe()
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        try:
            function()
            report = b""
        except BaseException as error:  # noqa: BLE001 (reported to the parent)
            report = repr(error).encode()
        os.write(writing, report or b"fine")
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        report = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert report == b"fine", report.decode()


def test_every_call_in_the_child_of_an_open_store_is_refused(path: str) -> None:
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")
    store._cache.revalidate_at += 60  # however long the fork takes

    def child() -> None:
        assert store.get("m", "ann") == "A1"  # from the cache, whose counters are shared
        make_the_next_read_look(store)
        for call in [*every_call(store), store.close]:
            with pytest.raises(UnsafeFork, match="before such a fork") as caught:
                call()
            assert caught.value.path == path

    in_c_child(child)
    store.set("m", "ann", "A2")
    store.close()
    assert states(path) == {"ann": "A2"}


def test_another_store_on_the_same_file_is_refused_too(path: str) -> None:
    """SQLite's book of locks came along, and a new connection would believe it."""
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")

    def child() -> None:
        with pytest.raises(UnsafeFork):
            SQLiteStorage(path).get("m", "ann")
        with pytest.raises(UnsafeFork):
            pickle.loads(pickle.dumps(store)).get("m", "ann")
        with SQLiteStorage(path + ".other") as other:  # which was open nowhere
            assert other.get("m", "ann") == "START"

    in_c_child(child)
    store.close()


def test_store_that_takes_the_place_of_the_inherited_one_is_refused(path: str) -> None:
    """What a uWSGI postfork hook would do; the old store is freed before any call."""
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")

    def child() -> None:
        nonlocal store
        store = SQLiteStorage(path)
        with pytest.raises(UnsafeFork):
            store.set("m", "ann", "NEVER")

    in_c_child(child)
    store.set("m", "ann", "A2")
    store.close()
    assert states(path) == {"ann": "A2"}


@pytest.mark.parametrize("condition", ["closed", "never opened"])
def test_child_of_a_store_that_was_not_open_works(condition: str, path: str) -> None:
    store = SQLiteStorage(path)
    if condition == "closed":
        store.set("m", "ann", "A1")
        store.close()
    in_c_child(lambda: store.set("m", "bob", "B1"))
    assert store.get("m", "bob") == "B1"
    store.close()


def test_lock_held_by_a_thread_that_stayed_behind_does_not_hang_the_child(path: str) -> None:
    store = SQLiteStorage(path)
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        with store._handle.lock:
            is_held.set()
            is_over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_held.wait()
    try:
        in_c_child(lambda: store.set("m", "bob", "B1"))
    finally:
        is_over.set()
        thread.join()
    assert store.get("m", "bob") == "B1"
    store.close()


def test_child_that_drops_the_store_late_deletes_nobodys_log(path: str) -> None:
    """It takes itself for the last one that has the database open, and the log for its own."""
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")
    to_child, go = os.pipe()
    pid = ctypes.CDLL(None).fork()
    if pid == 0:
        os.read(to_child, 1)
        store._handle.__del__()  # as `del store` would
        os._exit(0)
    store.close()
    with Actor(path) as third:
        third.set("m", "third", "HERE")
        third.kill()  # leaves its log, and the database open nowhere
    os.write(go, b"1")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(to_child)
    os.close(go)
    assert states(path) == {"ann": "A1", "third": "HERE"}


def test_child_that_exits_as_interpreters_do_deletes_nobodys_log(path: str) -> None:
    program = """if True:
        import ctypes, os, sys
        from lamson_sqlite_state import SQLiteStorage
        store = SQLiteStorage(sys.argv[1])
        store.set("m", "ann", "A1")
        pid = ctypes.CDLL(None).fork()
        if pid == 0:
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        assert os.path.exists(sys.argv[1] + "-wal")
        store.set("m", "ann", "A2")
        os._exit(0)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", program, path], check=True)
    assert states(path) == {"ann": "A2"}


def test_python_fork_of_the_child_does_not_close_what_it_inherited(path: str) -> None:
    """The hooks close every connection of this process, and that one is another's."""
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")
    connection = connection_of(store)
    assert connection is not None

    def child() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert not connection.is_closed()

    in_c_child(child)
    store.close()
    assert states(path) == {"ann": "A1"}


def test_python_fork_of_the_child_is_refused_as_well(path: str) -> None:
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")

    def child() -> None:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with pytest.raises(UnsafeFork):
                    store.get("m", "ann")
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0

    in_c_child(child)
    store.set("m", "ann", "A2")
    store.close()
    assert states(path) == {"ann": "A2"}


def test_is_noticed_where_the_kernel_wipes_no_page(path: str) -> None:
    """Before Linux 4.14, on other systems and in some emulators each call asks who it is."""
    store = SQLiteStorage(path)
    store._handle._mark = process_mark._AskedMark()
    store.set("m", "ann", "A1")

    def child() -> None:
        for call in every_call(store):
            make_the_next_read_look(store)
            with pytest.raises(UnsafeFork):
                call()

    in_c_child(child)
    store.set("m", "ann", "A2")
    store.close()
    assert states(path) == {"ann": "A2"}


def test_is_noticed_without_a_call_where_the_kernel_helps() -> None:
    if isinstance(process_mark.MARK, process_mark._AskedMark):
        pytest.skip("this kernel wipes no page for a forked child")
    assert process_mark.MARK[0] == 1
    in_c_child(lambda: _is_zero(process_mark.MARK[0]))


def _is_zero(number: int) -> None:
    assert number == 0
