"""What a store keeps in memory is what the file holds, or it is not used."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from salmon.routing import MemoryStorage

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.actors import Actor
from tests.helpers.cache_probes import asked, have_no_look_fall_due, hold_the_write_lock, kept
from tests.helpers.children import in_child
from tests.helpers.insides import connection_of, file_of
from tests.helpers.state_files import make_the_next_read_look, rows
from tests.sqlite.test_signals import interrupted_by

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


class TestReading:
    def test_asks_the_database_once(self, path: str) -> None:
        with Actor(path) as other, SQLiteStorage(path) as store:
            other.set("m", "ann", "A1")
            assert store.get("m", "bob") == "START"
            assert len(asked(store, lambda: store.get("m", "ann"))) == 1
            assert asked(store, lambda: store.get("m", "ann")) == []

    @pytest.mark.parametrize("key", ["ann", "", "a\0b", "(\x7f)"])
    def test_keeps_ascii_text_of_every_kind(self, store: SQLiteStorage, key: str) -> None:
        store.set(key, key, "K1")
        assert asked(store, lambda: store.get(key, key)) == []
        assert store.get(key, key) == "K1"

    @pytest.mark.parametrize("key", [None, b"ann", 7, "änn", "漢", "ann\udcff", ("a", 1)])
    def test_of_what_is_no_ascii_asks_each_time(self, store: SQLiteStorage, key: object) -> None:
        store.set(key, key, "K1")
        assert len(asked(store, lambda: store.get(key, key))) == 1
        assert store.get(key, key) == "K1"

    def test_compares_no_text_with_bytes(self, path: str) -> None:
        """They have the same hash, and `python -bb` makes that an error."""
        code = (
            "import sys; from lamson_sqlite_state import SQLiteStorage\n"
            "with SQLiteStorage(sys.argv[1]) as store:\n"
            "    for key in ('None', None, b'ann', 'ann') * 3:\n"
            "        store.set('m', key, 'A1'); store.get('m', key)\n"
            "        store._cache.revalidate_at = 0; store.get('m', key)\n"
        )
        subprocess.run([sys.executable, "-bb", "-c", code, path], check=True, timeout=30)

    def test_that_looks_around_and_finds_nothing_new_asks_for_no_state(
        self, store: SQLiteStorage
    ) -> None:
        make_the_next_read_look(store)
        assert store.get("m", "ann") == "A1"  # the first look of a connection, which knows nothing
        store._cache.revalidate_at = -60
        assert asked(store, lambda: store.get("m", "ann")) == ["PRAGMA data_version"]

    def test_keeps_no_state_that_was_replaced_while_it_was_read(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Actor(store.path) as other, SQLiteStorage(store.path) as late:

            class Slow(sqlite3.Cursor):
                def execute(self, *arguments: Any) -> Any:
                    answer = super().execute(*arguments)
                    other.set("m", "ann", "A2")
                    return answer

            have_no_look_fall_due(late)
            late._cache.empty(file_of(late).versions.counters)
            connection_of(late).spare_cursor = Slow(connection_of(late))
            assert late.get("m", "ann") == "A1"
            connection_of(late).spare_cursor = None
            assert late.get("m", "ann") == "A2"

    def test_keeps_the_start_it_has_stored(self, store: SQLiteStorage) -> None:
        assert store.get("m", "bob") == "START"
        assert asked(store, lambda: store.get("m", "bob")) == []

    def test_takes_no_lock(self, store: SQLiteStorage) -> None:
        """Another thread has the store's own lock, another process the file's."""
        assert store.get("m", "ann") == "A1"
        store._cache.revalidate_at += 60
        is_held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            with store._handle.lock:
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
        second.call(have_no_look_fall_due)
        assert second.get("m", "ann") == "A1"
        assert second.call(kept)
        first.call(call_statement, what)
        assert second.get("m", "ann") == "A2"

    def test_clear_is_seen_at_once(self, first: Actor, second: Actor) -> None:
        first.get("m", "0")
        second.call(have_no_look_fall_due)
        for number in range(50):
            first.set("m", f"{number}", "A1")
            assert second.get("m", f"{number}") == "A1"
        assert len(second.call(kept)) == 50
        first.clear()
        assert [second.get("m", f"{number}") for number in range(50)] == ["START"] * 50

    def test_are_seen_by_other_stores_of_the_process(self, store: SQLiteStorage) -> None:
        with SQLiteStorage(store.path) as second:
            have_no_look_fall_due(second)
            assert second.get("m", "ann") == "A1"
            store.set("m", "ann", "A2")
            assert second.get("m", "ann") == "A2"

    def test_are_told_by_a_store_that_keeps_nothing(self, path: str) -> None:
        with Actor(path, cache_size=0) as writer, SQLiteStorage(path) as store:
            writer.set("m", "ann", "A1")
            have_no_look_fall_due(store)
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
                hurried._cache.revalidate_at += 60
                hurried.set("m", "ann", "A1")

    def test_is_still_checked(self, store: SQLiteStorage) -> None:
        with pytest.raises(TypeError, match="a state must be a str"):
            store.set("m", "ann", None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a key must be"):
            store.set("m", ["ann"], "A1")

    def test_writes_where_another_process_has_changed_it(
        self, store: SQLiteStorage, first: Actor
    ) -> None:
        have_no_look_fall_due(store)
        assert store.get("m", "ann") == "A1"
        first.set("m", "ann", "A2")
        store.set("m", "ann", "A1")
        assert rows(store.path)["m", "ann"] == "A1"

    def test_goes_on_being_cheap_without_a_read(self, store: SQLiteStorage) -> None:
        """A write looks around as well as a read, and what it found holds for 10 ms."""
        make_the_next_read_look(store)
        store.set("m", "ann", "A1")
        assert asked(store, lambda: store.set("m", "ann", "A1")) == []


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

            with interrupted_by(handler, 400) as runs:
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

            calls = 0

            class Interrupted(sqlite3.Cursor):
                def execute(self, *arguments: Any) -> Any:
                    nonlocal calls
                    calls += 1
                    store.set("m", "ann", "FINALIZER")
                    assert second.get("m", "ann") == "FINALIZER"
                    return super().execute(*arguments)

            connection_of(store).spare_cursor = Interrupted(connection_of(store))
            store.set("m", "ann", "A2")
            assert calls == 1
            connection_of(store).spare_cursor = None
            assert [each.get("m", "ann") for each in (store, second, third)] == ["A2"] * 3
