"""Signal handlers that re-enter the store on the same thread, in the middle of any call."""

import contextlib
import errno
import gc
import itertools
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

import filelock
import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from tests.helpers.actors import Actor
from tests.helpers.children import in_child
from tests.helpers.insides import connection_of
from tests.helpers.state_files import states

pytestmark = [
    pytest.mark.many_syncs,
    # Where a handler raises as a connection has just been made, the connection is closed by the
    # garbage collector, of which Python 3.13 and later warns.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*Connection"),
]

# Short enough to hit the middle of a call, long enough to leave time between two of them.
INTERVAL_SECONDS = 0.0004


@pytest.fixture(params=[100, pytest.param(400, marks=pytest.mark.long)])
def interruptions(request: pytest.FixtureRequest) -> int:
    """How often a test is interrupted. `test_reentry` strikes at each place, and not by chance."""
    count: int = request.param
    return count


@contextlib.contextmanager
def interrupted_by(handler: Callable[[], object], count: int) -> Iterator[list[int]]:
    """Have ``handler`` run in the middle of whatever the block does; yields how often it has.

    The intervals vary, so that they drift through all lines of a loop. The timer is also that
    of pytest-timeout, so it is given back, and a block that hangs is ended here.
    """
    runs = [0]
    intervals = itertools.cycle(INTERVAL_SECONDS * (1 + step / 17) for step in range(17))
    deadline = time.monotonic() + 50

    def on_alarm(_signal: int, _frame: FrameType | None) -> None:
        if time.monotonic() > deadline:
            raise AssertionError("the interrupted block hangs")
        try:
            if runs[0] < count:
                runs[0] += 1
                handler()
        finally:
            signal.setitimer(signal.ITIMER_REAL, next(intervals))

    # What a handler raises in the middle of a finalizer or a callback of the collector's is lost.
    gc.disable()
    previous = signal.signal(signal.SIGALRM, on_alarm)
    timer = signal.setitimer(signal.ITIMER_REAL, INTERVAL_SECONDS)
    try:
        yield runs
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *timer)
        gc.enable()


def use(store: SQLiteStorage, number: int) -> None:
    """Make every kind of call once."""
    store.set("m", "main", f"{number}")
    assert store.get("m", "main") == f"{number}"
    assert store.get("m", f"new {number}") == "START"
    assert store.compare_and_set("m", "main", f"{number}", f"{number}!")
    assert store.set_all("main", f"{number}!!") == 1
    assert store.get("m", "main") == f"{number}!!"


def work_while_interrupted(
    store: SQLiteStorage, handler: Callable[[], object], interruptions: int
) -> int:
    with interrupted_by(handler, interruptions) as runs:
        for number in itertools.count():
            use(store, number)
            if runs[0] >= interruptions:
                return number
    raise AssertionError


class Handlers:
    """What a program might do in a signal handler, one method each."""

    def __init__(self, store: SQLiteStorage) -> None:
        self.store = store
        self.calls = 0

    def set(self) -> None:
        self.calls += 1
        self.store.set("m", "handler", f"{self.calls}")
        assert self.store.get("m", "handler") == f"{self.calls}"

    def get_unknown(self) -> None:
        self.calls += 1
        assert self.store.get("m", f"handler {self.calls}") == "START"

    def close(self) -> None:
        self.store.close()

    def close_and_set(self) -> None:
        self.store.close()
        self.set()
        self.store.close()

    def fork(self) -> None:
        self.calls += 1
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.store.set("m", f"child {self.calls % 5}", f"{self.calls}")
                status = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
@pytest.mark.parametrize("what", ["set", "get_unknown", "close", "close_and_set", "fork"])
def test_handler_that_uses_the_store_harms_no_call(
    what: str, synchronous: str, path: str, interruptions: int
) -> None:
    with SQLiteStorage(path, synchronous=synchronous) as store:  # type: ignore[arg-type]
        handlers = Handlers(store)
        last = work_while_interrupted(store, getattr(handlers, what), interruptions)
    found = states(path)
    assert found["main"] == f"{last}!!"
    if what in ("set", "close_and_set"):
        assert found["handler"] == f"{handlers.calls}"


def test_lock_is_free_after_handlers_have_come_and_gone(path: str, interruptions: int) -> None:
    with Actor(path, timeout=0) as other, SQLiteStorage(path) as store:
        work_while_interrupted(store, Handlers(store).close_and_set, interruptions)
        other.set("m", "other", "AT ONCE")


class Interrupted(Exception):
    """Stands for KeyboardInterrupt, which pytest keeps for itself."""


# From 3.13 on, sqlite3 warns of a connection that is freed unclosed: one that was interrupted as
# it was being made, before anybody had it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(180)  # where no directory is in memory: 5 s, or 60 on a busy disk
def test_exception_out_of_a_handler_leaves_no_lock_behind(path: str, interruptions: int) -> None:
    """As Ctrl-C does: it may strike between taking the lock and using it."""

    def interrupt() -> None:
        raise Interrupted

    with Actor(path, timeout=0) as other, SQLiteStorage(path, synchronous="NORMAL") as store:
        store.set("m", "main", "0")
        survived = 0
        for number in range(interruptions):
            with contextlib.suppress(Interrupted), interrupted_by(interrupt, count=1):
                for count in itertools.count():
                    store.set("m", "main", f"{number}.{count}")
                    store.get("m", f"new {number}.{count}")
            other.set("m", "other", f"{number}")
            survived += 1
        assert survived == interruptions
        store.set("m", "main", "LAST")
    assert states(path).items() >= {("main", "LAST"), ("other", f"{interruptions - 1}")}
    gc.collect()  # so that the warning is this test's


@pytest.mark.parametrize("call", ["set", "clear"])
def test_exception_at_the_doorstep_of_any_function_leaves_no_lock_behind(
    call: str, path: str
) -> None:
    """CPython looks for signals as a function begins, also as one that is to clean up does."""
    doorsteps: list[str] = []
    at = 0

    def trace(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and "lamson_sqlite_state" in frame.f_code.co_filename:
            doorsteps.append(frame.f_code.co_name)
            if len(doorsteps) == at:
                raise Interrupted

    with SQLiteStorage(path) as store, SQLiteStorage(path, timeout=0) as other:
        while at <= len(doorsteps):
            other.set("m", "ann", f"A{at}")
            store.set("m", "open", f"A{at}")
            doorsteps.clear()
            at += 1
            sys.settrace(trace)
            try:
                store.set("m", "ann", f"B{at}") if call == "set" else store.clear()
            except Interrupted:
                pass
            finally:
                sys.settrace(None)
            other.set("m", "bob", f"A{at}")
    assert "try_lock" in doorsteps


@pytest.mark.parametrize(
    "error",
    [TimeoutError("too slow"), filelock.Timeout("a lock of the handler's"), ValueError("no mail")],
    ids=lambda error: type(error).__name__,
)
def test_error_of_a_handler_that_cannot_be_the_stores_arrives_as_it_was_raised(
    error: Exception, path: str
) -> None:
    """Two of them are `OSError`s without an errno, as no system call raises."""

    def fail() -> None:
        raise error

    # Opened before: os.path.realpath and os.path.isdir, which opening calls, swallow errors.
    with SQLiteStorage(path) as store:
        store.set("m", "main", "B")
        for _ in range(20):
            with pytest.raises(type(error)) as caught:
                run_until(fail, store)
            assert caught.value is error
        assert store.get("m", "main") in "AB"


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database is locked"),
        ConnectionResetError(errno.ECONNRESET, "a socket of the handler's"),
        FileNotFoundError(errno.ENOENT, "a file of the handler's"),
        FileNotFoundError(errno.ENOENT, "a file of the handler's", "/nowhere"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_of_a_handler_that_may_be_the_stores_is_not_swallowed(
    error: Exception, path: str
) -> None:
    def fail() -> None:
        raise error

    with Actor(path, timeout=0) as other, SQLiteStorage(path) as store:
        store.set("m", "main", "B")
        for number in range(60):
            with pytest.raises((type(error), StorageError)) as caught:
                run_until(fail, store)
            assert error in (caught.value, caught.value.__cause__)
            other.set("m", "other", f"{number}")
        store.set("m", "main", "LAST")
    assert states(path).items() >= {("main", "LAST"), ("other", "59")}


def run_until(handler: Callable[[], object], store: SQLiteStorage) -> None:
    """Use a store until the handler's error comes out, which now and then is swallowed.

    os.path.isdir and its like do that, on a ValueError, too.
    """
    while True:
        with interrupted_by(handler, count=1) as runs:
            while not runs[0]:
                store.set("m", "main", "A")
                store.set("m", "main", "B")


def test_set_in_a_handler_is_as_durable_as_any(path: str, interruptions: int) -> None:
    """The START insert runs at NORMAL; a `set` that interrupts it must not."""
    levels: list[int] = []

    def look() -> None:
        store.set("m", "handler", f"{len(levels)}")
        levels.append(connection_of(store).execute("PRAGMA synchronous").fetchone()[0])

    with SQLiteStorage(path) as store, interrupted_by(look, interruptions) as runs:
        for number in itertools.count():
            store.get("m", f"new {number}")
            if runs[0] >= interruptions:
                break
    assert set(levels) == {2}


def calls_that_may_be_made_twice(
    store: SQLiteStorage, number: int
) -> Iterator[Callable[[], object]]:
    """Yield calls that a parent and its child may both finish."""
    yield lambda: store.set("m", "main", f"{number}")
    yield lambda: store.get("m", f"new {number}")
    yield lambda: store.set_all("main", f"{number}!")
    yield lambda: store.get("m", "main")


def test_child_forked_in_a_handler_finishes_the_interrupted_call(path: str) -> None:
    """The child goes on where the parent was: in the middle of a call on a closed store."""

    def scene() -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "main", "0")
            me = os.getpid()

            def fork() -> None:
                if os.getpid() != me:
                    return
                pid = os.fork()
                if pid:
                    assert os.waitpid(pid, 0)[1] == 0
                else:
                    signal.setitimer(signal.ITIMER_REAL, 0)

            with interrupted_by(fork, count=60) as runs:
                for number in itertools.count():
                    for call in calls_that_may_be_made_twice(store, number):
                        call()
                        if os.getpid() != me:
                            os._exit(0)
                    if runs[0] >= 60:
                        break

    in_child(scene)
