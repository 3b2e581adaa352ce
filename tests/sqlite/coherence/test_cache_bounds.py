"""How much a store keeps in memory, and what is left of it when it is closed."""

import os
import pickle
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from lamson_sqlite_state.sqlite.coherence import cache as _cache
from tests.helpers.actors import Actor
from tests.helpers.cache_probes import have_no_look_fall_due, hold_the_write_lock, kept, mapped
from tests.helpers.children import peak_growth_kib


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        yield store


# How many pairs a cache keeps.
sizes = pytest.mark.parametrize("size", [12_000, pytest.param(65_536, marks=pytest.mark.long)])


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

    @pytest.mark.timeout(180)
    @sizes
    def test_the_largest_pairs_take_no_more(self, path: str, size: int) -> None:
        """Whoever sends mail chooses what he is called."""

        def set_all() -> None:
            with SQLiteStorage(path, synchronous="NORMAL", cache_size=size) as store:
                have_no_look_fall_due(store)
                for number in range(size):
                    store.set("app.handlers", f"{number:06}{'a' * 314}", "S" * 60)
                    store.set("app.handlers", f"{number:06}{'😀' * 300}", "S" * 60)
                assert len(kept(store)) == size

        assert peak_growth_kib(set_all) < size

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
            assert all(sum(map(len, (*key, entry[0]))) <= 400 for key, entry in kept(store).items())

    def test_what_was_asked_before_it_was_emptied_is_not_kept(self) -> None:
        """Between the question and its answer, a signal handler may have learnt of an edit."""
        cache = _cache.Cache(2)
        counters = memoryview(bytearray(32 * 1024)).cast("Q")
        cache.empty(counters)
        entries, _ = cache.current
        cache.empty(counters)
        cache.revalidate_at = time.monotonic() + 60
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
    @sizes
    def test_senders_without_end_take_less_than_a_kibibyte_for_each_pair_that_is_kept(
        self, path: str, size: int
    ) -> None:
        """A million of them less than 64 MiB, with the size that is the default."""
        senders = 1_000_000 * size // 65_536
        with SQLiteStorage(path) as store:
            store.get("m", "ann")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.executemany(
                "INSERT INTO states VALUES ('app.handlers.lists', ?, 'POSTING', 0)",
                ((f"person{number:07}@example.com",) for number in range(senders)),
            )

        def get_all() -> None:
            with SQLiteStorage(path, cache_size=size) as store:
                have_no_look_fall_due(store)
                for number in range(senders):
                    store.get("app.handlers.lists", f"person{number:07}@example.com")
                assert len(kept(store)) == size

        assert peak_growth_kib(get_all) < size

    @pytest.mark.parametrize("size", [-1, -65_536])
    def test_a_negative_size_is_refused(self, path: str, size: int) -> None:
        with pytest.raises(ValueError, match="cache_size must be 0 or more"):
            SQLiteStorage(path, cache_size=size)

    @pytest.mark.parametrize("size", [None, 1.5, "8"])
    def test_a_size_of_another_type_is_refused(self, path: str, size: Any) -> None:
        with pytest.raises(TypeError, match="cache_size must be an int"):
            SQLiteStorage(path, cache_size=size)

    def test_of_an_error_that_is_kept_no_file_is(self, store: SQLiteStorage) -> None:
        """Its traceback has all variables of the calls it came through."""
        with (
            Actor(store.path) as other,
            SQLiteStorage(store.path, timeout=0) as hurried,
        ):
            hurried.get("m", "ann")
            store.close()
            other.call(hold_the_write_lock)
            with pytest.raises(LockTimeout) as caught:
                hurried.set("m", "ann", "A2")
            hurried.close()
            assert not mapped(store.path)
        assert caught.value.path == store.path

    def test_the_size_travels_with_a_pickled_store(self, path: str) -> None:
        store = pickle.loads(pickle.dumps(SQLiteStorage(path, cache_size=1)))
        with store:
            store.set("m", "ann", "A1")
            store.set("m", "bob", "B1")
            assert len(kept(store)) == 1


def test_descriptor_is_closed_with_the_store(store: SQLiteStorage) -> None:
    assert store.get("m", "ann") == "A1"
    assert mapped(store.path)
    store.close()
    assert not mapped(store.path)
    names = [
        os.readlink(f"/proc/self/fd/{name}")
        for name in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{name}")
    ]
    assert not [name for name in names if name.startswith(store.path)]
