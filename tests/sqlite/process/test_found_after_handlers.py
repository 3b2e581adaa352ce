"""What is open can be found, wherever a handler has used the store: `close` leaves nothing open."""

import contextlib
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.engine import connections, store_handle
from lamson_sqlite_state.sqlite.engine.settings import Settings
from lamson_sqlite_state.sqlite.process import descriptors, process_mark, write_lock
from tests.helpers.insides import connection_of
from tests.helpers.interruptions import interrupted

pytestmark = pytest.mark.many_syncs

SOME = 150
"""So many instructions of each call are interrupted by `make test`, chosen anew each time."""


@pytest.fixture(params=[SOME, pytest.param(sys.maxsize, marks=pytest.mark.long)], ids=str)
def most(request: pytest.FixtureRequest) -> int:
    most: int = request.param
    return most


@pytest.fixture
def handle_by() -> Iterator[Callable[[Callable[[], object]], None]]:
    before = signal.getsignal(signal.SIGUSR1)

    def handle_by(handler: Callable[[], object]) -> None:
        def on_signal(_number: int, _frame: FrameType | None) -> None:
            handler()

        signal.signal(signal.SIGUSR1, on_signal)

    yield handle_by
    signal.signal(signal.SIGUSR1, before)


def open_here() -> tuple[int, int]:
    return len(connections._connections), len(write_lock._open_locks)


@pytest.mark.parametrize("is_new", [True, False], ids=["first call", "opened again"])
def test_nothing_that_a_handler_opened_is_forgotten(
    is_new: bool, most: int, path: str, handle_by: Callable[[Callable[[], object]], None]
) -> None:
    store = SQLiteStorage(path, synchronous="NORMAL")
    handle_by(lambda: store.set("m", "bob", "B1"))

    def call() -> None:
        nonlocal store
        if is_new:
            store = SQLiteStorage(path, synchronous="NORMAL")
        store.set("m", "ann", "A1")

    call()
    store.close()
    before = open_here()
    steps = interrupted(call, sys.maxsize)
    store.close()
    assert steps > 1000
    for at in random.sample(range(1, steps + 1), min(most, steps)):
        interrupted(call, at)
        store.close()
        assert open_here() == before, at
        assert not os.path.exists(f"{path}-wal"), at


def test_connection_that_a_handler_opens_at_the_end_of_opening_is_not_forgotten(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStorage(path)
    before = open_here()
    cache_type = type(store._cache)
    note_look = cache_type.note_look

    def close_set_and_note(self: object, now: float) -> None:
        monkeypatch.undo()
        store.close()
        store.set("m", "bob", "B1")
        note_look(store._cache, now)

    monkeypatch.setattr(cache_type, "note_look", close_set_and_note)
    store.set("m", "ann", "A1")
    store.close()
    assert open_here() == before
    assert not os.path.exists(f"{path}-wal")


def test_connection_that_a_handler_closed_has_lost_no_descriptors(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are other files' by then, which is not to be held against the database."""
    store = SQLiteStorage(path)
    store.set("m", "ann", "A1")
    secured = descriptors.secured
    taken: list[int] = []

    def close_first(found: dict[int, tuple[int, int]]) -> bool:
        monkeypatch.undo()
        store.close()
        taken.extend(os.open("/", os.O_RDONLY) for _ in range(10))
        return secured(found)

    assert connection_of(store).descriptors
    monkeypatch.setattr(descriptors, "secured", close_first)
    try:
        store.close()
        assert store.get("m", "ann") == "A1"
    finally:
        store.close()
        for number in taken:
            os.close(number)


@pytest.mark.parametrize("call", ["get", "set"])
def test_traceback_of_an_error_keeps_no_file_open(call: str, path: str) -> None:
    """The files of a cursor whose statement was interrupted are open for as long as the cursor."""
    store = SQLiteStorage(path, cache_size=0)
    store.set("m", "ann", "A1")
    connection_of(store).set_progress_handler(lambda: 1, 1)
    with pytest.raises(StorageError) as caught:
        store.get("m", "ann") if call == "get" else store.set("m", "ann", "A2")
    store.close()
    assert caught.value.__traceback__
    assert not os.path.exists(f"{path}-wal")


def test_store_that_a_handler_keeps_from_being_made_is_freed_in_silence(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_size: int) -> None:
        raise TimeoutError

    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    monkeypatch.setattr(store_handle, "Cache", fail)
    with pytest.raises(TimeoutError):
        store_handle.StoreHandle(Settings(path))
    assert not lost


class Fails(Exception):
    pass


def test_process_owns_its_mark_as_soon_as_its_id(
    handle_by: Callable[[Callable[[], object]], None],
) -> None:
    def fail() -> None:
        raise Fails

    if not isinstance(process_mark.MARK, memoryview):
        pytest.skip("the kernel wipes no page")
    handle_by(fail)
    before = process_mark._pid
    try:
        for at in range(1, interrupted(process_mark.adopt, sys.maxsize) + 1):
            process_mark._pid, process_mark.MARK[0] = 0, 0
            with contextlib.suppress(Fails):
                interrupted(process_mark.adopt, at)
            assert process_mark.MARK[0] == process_mark.is_own_process(), at
    finally:
        process_mark._pid, process_mark.MARK[0] = before, 1
