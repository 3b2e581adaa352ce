"""What a store promises beyond the contract: when it touches files, and what each call leaves."""

import pickle
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from salmon.routing import MemoryStorage, ShelveStorage

from lamson_sqlite_state import SQLiteStorage, StateStorage
from tests.helpers.children import in_children
from tests.helpers.threads import in_threads

APP, ANN, BOB = "app.handlers.lists", "ann@example.com", "bob@example.com"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(tmp_path / "states") as store:
        yield store


def rows(store: SQLiteStorage) -> dict[Any, Any]:
    """Return {(module, sender): (state, since)}, as any SQLite tool would read it."""
    with closing(sqlite3.connect(store.path)) as connection:
        found = connection.execute("SELECT module, sender, state, since FROM states")
        return {(module, sender): (state, since) for module, sender, state, since in found}


class Clock:
    """The time as the store sees it; it stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_000

    def time_ns(self) -> int:
        return self.ms * 1_000_000 + 999_999


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time_ns", clock.time_ns)
    return clock


class TestLifeCycle:
    def test_a_closed_store_opens_again_at_the_next_call(self, store: SQLiteStorage) -> None:
        store.set(APP, ANN, "POSTING")
        store.close()

        assert store.get(APP, ANN) == "POSTING"
        store.close()
        store.set(APP, ANN, "CONFIRMING")
        store.close()
        assert store.compare_and_set(APP, ANN, "CONFIRMING", "POSTING")
        store.close()
        assert store.set_all(ANN, "BOUNCING") == 1
        store.close()
        store.clear()
        assert store.get(APP, ANN) == "START"

    def test_closing_twice_or_before_the_first_call_is_harmless(self, tmp_path: Path) -> None:
        store = SQLiteStorage(tmp_path / "states")
        store.close()
        store.set(APP, ANN, "POSTING")
        store.close()
        store.close()

        assert store.get(APP, ANN) == "POSTING"
        store.close()

    def test_the_last_close_leaves_one_whole_file(self, store: SQLiteStorage) -> None:
        with SQLiteStorage(store.path) as other:
            other.set(APP, ANN, "POSTING")
            store.set(APP, BOB, "POSTING")
            other.close()
            assert Path(f"{store.path}-wal").exists()
        store.close()

        assert {path.name for path in Path(store.path).parent.iterdir()} == {
            "states",
            "states.lock",
            "states.versions",
        }

    def test_leaving_the_block_closes_and_hides_no_error(self, tmp_path: Path) -> None:
        store = SQLiteStorage(tmp_path / "states")
        store.set(APP, ANN, "POSTING")
        with pytest.raises(KeyError, match="of the block"), store:
            raise KeyError("of the block")

        assert not Path(f"{store.path}-wal").exists()

    def test_its_repr_shows_the_path(self, store: SQLiteStorage) -> None:
        class Branded(SQLiteStorage):
            pass

        assert repr(store) == f"SQLiteStorage({store.path!r})"
        assert repr(Branded(store.path)) == f"Branded({store.path!r})"

    def test_a_store_is_pickled_as_its_arguments(self, tmp_path: Path) -> None:
        arguments = {"timeout": 1.5, "synchronous": "NORMAL", "file_mode": 0o640}
        with SQLiteStorage(tmp_path / "states", **arguments) as store:  # type: ignore[arg-type]
            store.set(APP, ANN, "POSTING")

            with pickle.loads(pickle.dumps(store)) as copy:
                assert copy.__getstate__().items() >= arguments.items()
                assert copy.get(APP, ANN) == "POSTING"

    def test_a_relative_path_is_pickled_as_what_it_meant(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        pickled = pickle.dumps(SQLiteStorage("states"))
        monkeypatch.chdir("/")

        assert pickle.loads(pickled).path == str(tmp_path / "states")

    def test_a_spawned_worker_can_be_handed_the_store(self, store: SQLiteStorage) -> None:
        store.set(APP, ANN, "POSTING")

        with get_context("spawn").Pool(1) as pool:
            assert pool.apply(store.get, (APP, ANN)) == "POSTING"
            pool.apply(store.set, (APP, BOB, "CONFIRMING"))
            pool.close()
            pool.join()

        assert store.get(APP, BOB) == "CONFIRMING"

    @pytest.mark.parametrize("storage", [SQLiteStorage("a"), MemoryStorage(), ShelveStorage("a")])
    def test_it_has_the_interface_that_salmons_own_storages_have(self, storage: object) -> None:
        assert isinstance(storage, StateStorage)
        assert not isinstance({}, StateStorage)


class TestGet:
    def test_get_stores_the_first_state_of_an_unknown_pair(
        self, store: SQLiteStorage, clock: Clock
    ) -> None:
        assert store.get(APP, ANN) == "START"
        assert rows(store) == {(APP, ANN): ("START", clock.ms)}

    def test_get_returns_what_another_process_stored_meanwhile(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between not finding the pair and storing START, get waits for the write lock here."""
        store.clear()
        others_lock = FileLock(f"{store.path}.lock")
        others_lock.acquire()

        def set_meanwhile(_seconds: float) -> None:
            with closing(sqlite3.connect(store.path)) as other:
                other.execute("INSERT INTO states VALUES (?, ?, 'POSTING', 1)", (APP, ANN))
                other.commit()
            others_lock.release()

        monkeypatch.setattr(time, "sleep", set_meanwhile)

        assert store.get(APP, ANN) == "POSTING"
        assert not others_lock.is_locked
        assert rows(store) == {(APP, ANN): ("POSTING", 1)}


class TestSince:
    """`since` says when the pair entered its state, and nothing else moves it."""

    def test_set_moves_since_only_with_the_state(self, store: SQLiteStorage, clock: Clock) -> None:
        for state, now, since in [
            *[("POSTING", 10, 10), ("POSTING", 20, 10), ("START", 30, 30), ("START", 40, 30)],
            *[("POSTING", 50, 50), ("ERROR", 60, 60), ("ERROR", 70, 60)],
        ]:
            clock.ms = now
            store.set(APP, ANN, state)
            store.get(APP, ANN)
            assert rows(store) == {(APP, ANN): (state, since)}

    def test_set_all_moves_since_only_where_the_state_changes(
        self, store: SQLiteStorage, clock: Clock
    ) -> None:
        store.set("app.a", ANN, "POSTING")
        store.set("app.b", ANN, "BOUNCING")
        store.set("app.b", BOB, "POSTING")
        clock.ms = 2_000

        assert store.set_all(ANN, "BOUNCING") == 2
        assert rows(store) == {
            ("app.a", ANN): ("BOUNCING", 2_000),
            ("app.b", ANN): ("BOUNCING", 1_000),
            ("app.b", BOB): ("POSTING", 1_000),
        }

    def test_compare_and_set_moves_since_only_with_the_state(
        self, store: SQLiteStorage, clock: Clock
    ) -> None:
        for expected, state, now, row in [
            ("START", "POSTING", 10, ("POSTING", 10)),
            ("START", "ERROR", 20, ("POSTING", 10)),
            ("POSTING", "POSTING", 30, ("POSTING", 10)),
            ("POSTING", "ERROR", 40, ("ERROR", 40)),
            ("ERROR", "START", 50, ("START", 50)),
            ("START", "POSTING", 60, ("POSTING", 60)),
        ]:
            clock.ms = now
            store.compare_and_set(APP, ANN, expected, state)
            assert rows(store) == {(APP, ANN): row}


class TestCompareAndSet:
    @pytest.mark.parametrize(
        ("stored", "expected", "is_expected"),
        [
            *[(None, "START", True), (None, "POSTING", False), (None, "", False)],
            *[("START", "START", True), ("POSTING", "POSTING", True), ("", "", True)],
            *[("POSTING", "START", False), ("POSTING", "posting", False), ("START", "", False)],
        ],
    )
    @pytest.mark.parametrize("state", ["ERROR", "START", "POSTING", ""])
    def test_the_state_changes_exactly_where_it_is_expected(
        self,
        store: SQLiteStorage,
        stored: str | None,
        expected: str,
        is_expected: bool,
        state: str,
    ) -> None:
        if stored is not None:
            store.set(APP, ANN, stored)
        before = store.get(APP, ANN) if stored is not None else "START"

        assert store.compare_and_set(APP, ANN, expected, state) is is_expected
        assert store.get(APP, ANN) == (state if is_expected else before)

    def test_of_many_processes_one_leaves_a_state(self, store: SQLiteStorage) -> None:
        """Subscribing is confirmed once, whoever delivers the copies of the confirmation."""
        senders = [f"{number}@example.com" for number in range(20)]
        for sender in senders[:10]:
            store.set(APP, sender, "CONFIRMING")

        def confirm(worker: int) -> list[bool]:
            here = ["CONFIRMING"] * 10 + ["START"] * 10
            return [
                store.compare_and_set(APP, sender, expected, f"POSTING_{worker}")
                for sender, expected in zip(senders, here, strict=True)
            ]

        answers = in_children(8, confirm)

        for sender, successes in zip(senders, zip(*answers, strict=True), strict=True):
            assert sum(successes) == 1
            assert store.get(APP, sender) == f"POSTING_{successes.index(True)}"


class TestSharing:
    def test_two_stores_of_one_process_share_the_file(self, store: SQLiteStorage) -> None:
        with SQLiteStorage(store.path) as other:
            store.set(APP, ANN, "POSTING")
            assert other.get(APP, ANN) == "POSTING"
            other.set(APP, ANN, "CONFIRMING")
            assert store.get(APP, ANN) == "CONFIRMING"
            other.clear()
            assert rows(store) == {}

    def test_a_store_goes_on_after_another_on_its_file_was_closed(
        self, store: SQLiteStorage
    ) -> None:
        with SQLiteStorage(store.path) as other:
            for round_ in range(3):
                store.set(APP, ANN, f"STATE_{round_}")
                assert other.get(APP, ANN) == f"STATE_{round_}"
                other.set(APP, BOB, f"STATE_{round_}")
                other.close()
                assert store.get(APP, BOB) == f"STATE_{round_}"

    def test_threads_on_two_stores_lose_nothing(self, store: SQLiteStorage) -> None:
        """Eight threads set a pair of their own each, and one that they share."""
        with SQLiteStorage(store.path) as other:

            def work(number: int) -> None:
                mine = (store, other)[number % 2]
                for round_ in range(25):
                    mine.set(APP, f"{number}@example.com", f"STATE_{round_}")
                    mine.set(APP, ANN, f"FROM_{number}_{round_}")
                    assert mine.get(APP, f"{number}@example.com") == f"STATE_{round_}"
                    assert mine.get(APP, ANN).startswith("FROM_")

            in_threads(8, work)

            for number in range(8):
                assert other.get(APP, f"{number}@example.com") == "STATE_24"
            assert store.get(APP, ANN) in {f"FROM_{number}_24" for number in range(8)}
