"""A handler that raises at any instruction of a call leaves no lock taken, of no kind.

Other threads of this process, its forks, and other processes get in afterwards.
"""

import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

import filelock
import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from lamson_sqlite_state.sqlite.process import fork
from lamson_sqlite_state.sqlite.process.reentry import LockSet, holding
from tests.helpers.children import in_child
from tests.helpers.interruptions import interrupted

pytestmark = [
    pytest.mark.many_syncs,
    # Where a handler raises as a connection has just been made, the connection is closed by the
    # garbage collector, of which Python 3.13 and later warns.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*Connection"),
]

SOME = 150
"""So many instructions of each call are interrupted by `make test`, chosen anew each time."""


class Struck(Exception):
    """Stands for KeyboardInterrupt, which pytest keeps for itself."""


def strike(_number: int, _frame: object) -> NoReturn:
    raise Struck


def is_free(*locks: threading.RLock) -> bool:
    """Whether another thread could take each of these locks."""
    answers: list[bool] = []

    def ask() -> None:
        for lock in locks:
            answers.append(lock.acquire(blocking=False))
            if answers[-1]:
                lock.release()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return all(answers)


def is_file_free(store: SQLiteStorage) -> bool:
    try:
        with filelock.FileLock(f"{store.path}.lock", timeout=0):
            return True
    except filelock.Timeout:
        return False


def set_anew(store: SQLiteStorage, at: int) -> None:
    store.set("m", "ann", f"A{at}")


def get_unknown(store: SQLiteStorage, at: int) -> None:
    store.get("m", f"unknown {at}")


def open_and_get(store: SQLiteStorage, _at: int) -> None:
    store.close()
    store.get("m", "ann")


def wait_in_vain(store: SQLiteStorage, _at: int) -> None:
    """Another descriptor of this process holds the lock; the call waits at the queue's head."""
    with ExitStack() as stack:
        lock = stack.enter_context(filelock.FileLock(f"{store.path}.lock"))
        try:
            store.set("m", "ann", "never")
        except LockTimeout:
            pass
        finally:
            lock.release(force=True)


CALLS: dict[str, Callable[[SQLiteStorage, int], object]] = {
    "get": lambda store, _at: store.get("m", "ann"),
    "first get": get_unknown,
    "set": set_anew,
    "set_all": lambda store, at: store.set_all("ann", f"A{at}"),
    "close": lambda store, _at: store.close(),
    "open": open_and_get,
    "wait": wait_in_vain,
}


@pytest.fixture(params=[SOME, pytest.param(sys.maxsize, marks=pytest.mark.long)], ids=str)
def most(request: pytest.FixtureRequest) -> int:
    most: int = request.param
    return most


@pytest.fixture
def struck() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, strike)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("what", CALLS)
def test_no_lock_is_kept_by_a_call_that_is_interrupted(
    what: str, most: int, path: str, struck: None
) -> None:
    call = CALLS[what]
    # A timeout of a few naps: enough to come to the head of the queue.
    with SQLiteStorage(path, synchronous="NORMAL", cache_size=0, timeout=0.002) as store:
        set_anew(store, 0)
        steps = interrupted(lambda: call(store, 0), sys.maxsize)
        assert steps > 20
        chosen = random.sample(range(1, steps + 1), min(most, steps))
        for at in chosen:
            with suppress(Struck):
                interrupted(lambda: call(store, at), at)  # noqa: B023
            assert is_free(store._handle.lock, store._handle._queue, fork.open_lock), at
            assert is_file_free(store), at
        assert in_child(store.get, "m", "ann")


FOLDER = str(Path(__file__).parent)


def taken_by_a_function(lock: threading.RLock) -> None:
    holding(lock, len, "")


def taken_by_a_set(lock: threading.RLock) -> None:
    locks = LockSet()
    try:
        locks.take(lock)
    finally:
        any(locks.releases)


def taken_twice(lock: threading.RLock) -> None:
    holding(lock, holding, lock, len, "")


@pytest.mark.parametrize("take", [taken_by_a_function, taken_by_a_set, taken_twice])
def test_a_lock_is_released_wherever_a_handler_raises(
    take: Callable[[threading.RLock], None], struck: None
) -> None:
    lock = threading.RLock()
    steps = interrupted(lambda: take(lock), sys.maxsize, FOLDER)
    assert steps > 10
    for at in range(1, steps + 1):
        with pytest.raises(Struck):
            interrupted(lambda: take(lock), at, FOLDER)
        assert is_free(lock), at


def taken_before_a_try(lock: threading.RLock) -> None:
    lock.acquire()
    try:
        len("")
    finally:
        lock.release()


def test_a_lock_that_is_taken_before_a_try_is_found_out(struck: None) -> None:
    """This is the judge's own test."""
    stuck = []
    for at in range(1, 12):
        lock = threading.RLock()
        with pytest.raises(Struck):
            interrupted(lambda: taken_before_a_try(lock), at, FOLDER)  # noqa: B023
        stuck.append(not is_free(lock))
        while lock._is_owned():  # type: ignore[attr-defined]
            lock.release()
    assert any(stuck)


def test_a_lock_that_another_thread_has_is_not_taken() -> None:
    lock, is_taken, may_end = threading.RLock(), threading.Event(), threading.Event()

    def keep() -> None:
        with lock:
            is_taken.set()
            may_end.wait(30)

    thread = threading.Thread(target=keep)
    thread.start()
    is_taken.wait(30)
    locks = LockSet()
    try:
        assert not locks.take(lock, blocking=False)
        assert not locks.take(lock, timeout=0.001)
    finally:
        any(locks.releases)
        may_end.set()
        thread.join()
    assert is_free(lock)
