"""What a store keeps in memory is what the file holds, or it is not used."""

import os
import pickle
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from salmon.routing import MemoryStorage

from lamson_sqlite_state import SQLiteStorage, _cache, _schema, _sharing, _states

from .actors import Actor
from .children import forked, in_child
from .state_files import make_the_next_read_look, rows
from .test_signals import interrupted_by

STATEMENTS = {
    "set": lambda store: store.set("m", "ann", "A2"),
    "set_all": lambda store: store.set_all("ann", "A2"),
    "compare_and_set": lambda store: store.compare_and_set("m", "ann", "A1", "A2"),
}


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        yield store


def asked(store: SQLiteStorage, call: Callable[[], object]) -> list[str]:
    """Return which statements a call of the store runs. No look falls due meanwhile."""
    statements: list[str] = []
    assert store._database is not None
    assert store._database.connection is not None
    store._database.connection.set_trace_callback(statements.append)
    store._cache.valid_until += 60
    try:
        call()
    finally:
        store._cache.valid_until -= 60
        if store._database.connection is not None:
            store._database.connection.set_trace_callback(None)
    return statements


def have_no_look_fall_due(store: SQLiteStorage) -> None:
    """The first of a connection empties the cache, as it cannot know what is new."""
    store.get("m", "0")
    make_the_next_read_look(store)
    store.get("m", "0")
    store._cache.valid_until += 60


def kept(store: SQLiteStorage) -> dict[Any, Any]:
    return store._cache.current[0]


class TestReading:
    def test_asks_the_database_once(self, path: str) -> None:
        with Actor(path) as other, SQLiteStorage(path) as store:
            other.set("m", "ann", "A1")
            assert store.get("m", "bob") == "START"
            assert len(asked(store, lambda: store.get("m", "ann"))) == 1
            assert asked(store, lambda: store.get("m", "ann")) == []

    @pytest.mark.parametrize("key", [None, b"ann", 7, "änn", ("a", 1)])
    def test_keeps_keys_of_every_kind(self, store: SQLiteStorage, key: object) -> None:
        store.set(key, key, "K1")
        assert asked(store, lambda: store.get(key, key)) == []
        assert store.get(key, key) == "K1"

    def test_that_looks_around_and_finds_nothing_new_asks_for_no_state(
        self, store: SQLiteStorage
    ) -> None:
        make_the_next_read_look(store)
        assert store.get("m", "ann") == "A1"  # the first look of a connection, which knows nothing
        store._cache.valid_until = -60
        assert asked(store, lambda: store.get("m", "ann")) == ["PRAGMA data_version"]

    def test_keeps_no_state_that_was_replaced_while_it_was_read(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Actor(store.path) as other, SQLiteStorage(store.path) as late:
            real = _schema.first_row

            def first_row(*arguments: Any) -> Any:
                row = real(*arguments)
                other.set("m", "ann", "A2")
                return row

            have_no_look_fall_due(late)
            monkeypatch.setattr(_states, "first_row", first_row)
            assert late.get("m", "ann") == "A1"
            monkeypatch.undo()
            assert late.get("m", "ann") == "A2"

    def test_keeps_the_start_it_has_stored(self, store: SQLiteStorage) -> None:
        assert store.get("m", "bob") == "START"
        assert asked(store, lambda: store.get("m", "bob")) == []

    def test_takes_no_lock(self, store: SQLiteStorage) -> None:
        """Another thread has the store's own lock, another process the file's."""
        assert store.get("m", "ann") == "A1"
        store._cache.valid_until += 60
        is_held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            with store.lock:
                is_held.set()
                may_go.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        is_held.wait(30)
        try:
            states = in_another_thread(lambda: store.get("m", "ann"))
        finally:
            may_go.set()
            thread.join()
        assert states == ["A1"]

    def test_tells_apart_what_a_dict_does_not(self, store: SQLiteStorage) -> None:
        """1, 1.0 and True are one key to a dict, and three to MemoryStorage."""
        memory = MemoryStorage()
        for key in (1, 1.0, True, "1", b"1"):
            for storage in (store, memory):
                storage.set(key, key, f"{key!r}")
        for key in (1, 1.0, True, "1", b"1"):
            assert store.get(key, key) == memory.get(key, key) == f"{key!r}"

    def test_of_a_text_with_a_repr_of_its_own_finds_no_plain_text(
        self, store: SQLiteStorage
    ) -> None:
        class Loud(str):
            __slots__ = ()

            def __repr__(self) -> str:
                return "loud"

        assert store.get("m", "ann") == "A1"
        with pytest.raises(TypeError, match="not Loud"):
            store.get("m", Loud("ann"))


def in_another_thread(call: Callable[[], str]) -> list[str]:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join(20)
    return found


class TestOthersWrites:
    @pytest.mark.parametrize("what", STATEMENTS)
    def test_are_seen_at_once(self, first: Actor, second: Actor, what: str) -> None:
        first.set("m", "ann", "A1")
        assert second.get("m", "ann") == "A1"
        assert second.get("m", "ann") == "A1"
        first.call(call_statement, what)
        assert second.get("m", "ann") == "A2"

    def test_clear_is_seen_at_once(self, first: Actor, second: Actor) -> None:
        for number in range(50):
            first.set("m", f"{number}", "A1")
            assert second.get("m", f"{number}") == "A1"
        first.clear()
        assert [second.get("m", f"{number}") for number in range(50)] == ["START"] * 50

    def test_are_seen_by_other_stores_of_the_process(self, store: SQLiteStorage) -> None:
        with SQLiteStorage(store.path) as second:
            assert second.get("m", "ann") == "A1"
            store.set("m", "ann", "A2")
            assert second.get("m", "ann") == "A2"

    def test_are_told_by_a_store_that_keeps_nothing(self, path: str) -> None:
        with Actor(path, cache_size=0) as writer, SQLiteStorage(path) as store:
            writer.set("m", "ann", "A1")
            assert store.get("m", "ann") == "A1"
            writer.set("m", "ann", "A2")
            assert store.get("m", "ann") == "A2"

    def test_that_change_nothing_leave_what_is_kept(self, store: SQLiteStorage) -> None:
        with Actor(store.path, cache_size=0) as other:
            assert store.get("m", "ann") == "A1"
            other.set("m", "ann", "A1")
            assert not other.compare_and_set("m", "ann", "A0", "A2")
            assert asked(store, lambda: store.get("m", "ann")) == []

    def test_to_other_senders_leave_what_is_kept(self, store: SQLiteStorage) -> None:
        with Actor(store.path) as other:
            assert store.get("m", "ann") == "A1"
            other.set("m", "bob", "B1")
            other.get("m", "cid")
            assert asked(store, lambda: store.get("m", "ann")) == []


def call_statement(store: SQLiteStorage, what: str) -> None:
    STATEMENTS[what](store)


class TestSettingWhatIsThere:
    def test_writes_nothing_and_waits_for_nobody(self, store: SQLiteStorage) -> None:
        with Actor(store.path) as other:
            other.call(hold_the_write_lock)
            with SQLiteStorage(store.path, timeout=0) as hurried:
                assert hurried.get("m", "ann") == "A1"
                hurried._cache.valid_until += 60
                hurried.set("m", "ann", "A1")

    def test_is_still_checked(self, store: SQLiteStorage) -> None:
        with pytest.raises(TypeError, match="a state must be a str"):
            store.set("m", "ann", None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a key must be"):
            store.set("m", ["ann"], "A1")

    def test_writes_where_another_process_has_changed_it(
        self, store: SQLiteStorage, first: Actor
    ) -> None:
        first.set("m", "ann", "A2")
        store.set("m", "ann", "A1")
        assert rows(store.path)["m", "ann"] == "A1"

    def test_goes_on_being_cheap_without_a_read(self, store: SQLiteStorage) -> None:
        """A write looks around as well as a read, and what it found holds for 10 ms."""
        make_the_next_read_look(store)
        store.set("m", "ann", "A1")
        assert asked(store, lambda: store.set("m", "ann", "A1")) == []


def hold_the_write_lock(store: SQLiteStorage) -> None:
    assert store._database is not None or store.get("m", "ann")
    assert store._database is not None
    assert store._database.write_lock.try_lock()


class TestForks:
    def test_child_has_what_its_parent_writes_later(self, store: SQLiteStorage) -> None:
        assert store.get("m", "ann") == "A1"
        with Actor(store.path) as child:
            assert child.get("m", "ann") == "A1"
            store.set("m", "ann", "A2")
            assert child.get("m", "ann") == "A2"
            child.set("m", "ann", "A3")
            assert store.get("m", "ann") == "A3"

    def test_child_with_the_same_store_begins_with_nothing_kept(self, store: SQLiteStorage) -> None:
        assert store.get("m", "ann") == "A1"
        assert in_child(lambda: dict(kept(store))) == {}

    def test_child_and_parent_go_on_with_the_same_store(self, store: SQLiteStorage) -> None:
        assert store.get("m", "ann") == "A1"

        def child() -> None:
            assert store.get("m", "ann") == "A1"
            store.set("m", "ann", "A2")
            assert store.get("m", "ann") == "A2"

        in_child(child)
        assert store.get("m", "ann") == "A2"


class TestBounds:
    @pytest.mark.parametrize("size", [0, 1, 2, 100])
    def test_at_most_so_many_pairs_are_kept(self, path: str, size: int) -> None:
        with SQLiteStorage(path, synchronous="NORMAL", cache_size=size) as store:
            have_no_look_fall_due(store)
            for number in range(3 * size + 3):
                store.set("m", f"{number}", f"S{number}")
                assert store.get("m", f"{number}") == f"S{number}"
                assert len(kept(store)) <= size
            for number in range(3 * size + 3):
                assert store.get("m", f"{number}") == f"S{number}"
            assert len(kept(store)) == size

    def test_the_oldest_goes_first(self, path: str) -> None:
        with SQLiteStorage(path, synchronous="NORMAL", cache_size=3) as store:
            have_no_look_fall_due(store)
            for number in range(5):
                store.set("m", f"{number}", "S")
            assert [sender for sender, _ in kept(store)] == ["2", "3", "4"]

    def test_long_keys_and_states_are_not_kept(self, store: SQLiteStorage) -> None:
        """Or a few letters with headers of a megabyte would fill the memory."""
        for module, sender, state in (
            ("m" * 600, "ann", "A"),
            ("m", "a" * 600, "A"),
            ("m", "ann", "A" * 600),
        ):
            store.set(module, sender, state)
            assert store.get(module, sender) == state
            assert len(kept(store)) <= 1

    def test_what_was_asked_before_it_was_emptied_is_not_kept(self) -> None:
        """Between the question and its answer, a signal handler may have learnt of an edit."""
        cache = _cache.Cache(2)
        counters = memoryview(bytearray(32 * 1024)).cast("Q")
        cache.empty(counters)
        entries, _ = cache.current
        cache.empty(counters)
        cache.valid_until = time.monotonic() + 60
        cache.keep(entries, ("ann", "m"), "OUTDATED", 1, 0)
        assert cache.find(("ann", "m")) is None
        assert not cache._order

    def test_what_an_exception_left_over_is_forgotten(self) -> None:
        """It may strike between taking a key out of the queue and its entry out of the dict."""
        cache = _cache.Cache(2)
        for key in (("a", "m"), ("b", "m")):
            cache.keep(cache.current[0], key, "S", 1, 2)
        cache._order.popleft()
        for key in (("c", "m"), ("d", "m")):
            cache.keep(cache.current[0], key, "S", 1, 2)
        assert len(cache.current[0]) <= 2

    @pytest.mark.timeout(180)
    def test_a_million_senders_take_less_than_64_mebibytes(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.get("m", "ann")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.executemany(
                "INSERT INTO states VALUES ('app.handlers.lists', ?, 'POSTING', 0)",
                ((f"person{number:07}@example.com",) for number in range(1_000_000)),
            )

        def peak_growth_kib() -> int:
            with SQLiteStorage(path) as store:
                store.get("m", "ann")
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                for number in range(1_000_000):
                    store.get("app.handlers.lists", f"person{number:07}@example.com")
                assert len(kept(store)) == 65_536
                return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

        assert run_alone(peak_growth_kib) < 64 * 1024

    @pytest.mark.parametrize("size", [-1, -65_536])
    def test_a_negative_size_is_refused(self, path: str, size: int) -> None:
        with pytest.raises(ValueError, match="cache_size must be 0 or more"):
            SQLiteStorage(path, cache_size=size)

    @pytest.mark.parametrize("size", [None, 1.5, "8"])
    def test_a_size_of_another_type_is_refused(self, path: str, size: Any) -> None:
        with pytest.raises(TypeError, match="cache_size must be an int"):
            SQLiteStorage(path, cache_size=size)

    def test_the_size_travels_with_a_pickled_store(self, path: str) -> None:
        store = pickle.loads(pickle.dumps(SQLiteStorage(path, cache_size=1)))
        with store:
            store.set("m", "ann", "A1")
            store.set("m", "bob", "B1")
            assert len(kept(store)) == 1


def run_alone(function: Callable[[], int]) -> int:
    """Run in a child whose peak of memory is its own, and not that of the tests before."""

    def scene() -> int:
        # Of a forked child Linux counts the peak from what it inherits.
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return function()

    with forked(scene) as child:
        return child.wait(150)


class TestSignalHandlers:
    def test_that_write_the_same_pair_leave_nothing_outdated(self, store: SQLiteStorage) -> None:
        """What a call keeps must not outlive what a handler wrote in its middle."""
        numbers = iter(range(sys.maxsize))
        with (
            SQLiteStorage(store.path, synchronous="NORMAL") as second,
            closing(sqlite3.connect(store.path)) as truth,
        ):
            may_write = True

            def handler() -> None:
                if may_write:
                    store.set("m", "ann", f"H{next(numbers)}")
                    second.get("m", "ann")

            def compare() -> None:
                nonlocal may_write
                may_write = False
                (state,) = truth.execute("SELECT state FROM states").fetchone()
                assert store.get("m", "ann") == state
                assert second.get("m", "ann") == state
                may_write = True

            with interrupted_by(handler) as runs:
                while runs[0] < 400:
                    store.set("m", "ann", f"S{next(numbers)}")
                    compare()
                    store.set_all("ann", f"S{next(numbers)}")
                    compare()

    def test_that_write_in_the_middle_of_the_statement_leave_nothing_outdated(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a finalizer may that the garbage collector calls."""
        with SQLiteStorage(store.path) as second, SQLiteStorage(store.path) as third:
            for each in (second, third):
                assert each.get("m", "ann") == "A1"

            class Once:
                def __init__(self, real: Callable[..., Any]) -> None:
                    self.real = real
                    self.is_done = False

                def __call__(self, connection: Any, *arguments: Any) -> Any:
                    if not self.is_done:
                        self.is_done = True
                        store.set("m", "ann", "FINALIZER")
                        assert second.get("m", "ann") == "FINALIZER"
                    return self.real(connection, *arguments)

            execute = Once(sqlite3.Connection.execute)
            monkeypatch.setattr(
                _sharing.Connection, "execute", lambda *given: execute(*given), raising=False
            )
            store.set("m", "ann", "A2")
            assert execute.is_done
            assert [each.get("m", "ann") for each in (store, second, third)] == ["A2"] * 3


def test_descriptor_is_closed_with_the_store(store: SQLiteStorage) -> None:
    def mapped() -> list[str]:
        with open("/proc/self/maps") as maps:
            return [line for line in maps if store.path in line]

    assert store.get("m", "ann") == "A1"
    assert mapped()
    store.close()
    assert not mapped()
    names = [
        os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{name}")
    ]
    assert not [name for name in names if name.startswith(store.path)]
