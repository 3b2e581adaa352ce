"""A restore: which states win, whatever the times at which they were entered."""

import os
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.errors import NoStore
from lamson_sqlite_state.maintenance import ExistingStorage, Restored, backup, forget, restore
from lamson_sqlite_state.sqlite.bulk import scan
from lamson_sqlite_state.sqlite.engine import queries
from tests.helpers.bulk import (
    OLD_MS,
    fill,
    pass_a_millisecond,
    put,
    raw_rows,
    senders,
    two_at_a_time,
)

FUTURE_MS = 4_000_000_000_000


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


@pytest.fixture
def store(empty: SQLiteStorage) -> SQLiteStorage:
    return empty


class TestOutcome:
    def test_is_the_copy_with_its_times(self, store: SQLiteStorage, copy: str) -> None:
        put(
            store,
            *senders(3, "COPIED"),  # the same
            ("000004@example.com", "app", "COPIED", OLD_MS + 5),  # another time
            ("000005@example.com", "app", "OTHER", OLD_MS),  # another state
            ("000005@example.com", "b", "OTHER", OLD_MS),  # another module of a sender there
            ("zoe", "app", "OTHER", OLD_MS),  # only here
        )
        assert restore(store, copy) == Restored(pairs=10, written=7, removed=2)
        assert raw_rows(store.path) == senders(10, "COPIED")

    def test_is_the_same_once_more_with_nothing_to_do(
        self, store: SQLiteStorage, copy: str
    ) -> None:
        restore(store, copy)
        assert restore(store, copy) == Restored(pairs=10, written=0, removed=0)

    def test_of_times_in_the_future_is_the_copys(self, store: SQLiteStorage, copy: str) -> None:
        """They come from a clock that was wrong, and do not say that a worker was at work."""
        put(
            store,
            ("000005@example.com", "app", "OTHER", FUTURE_MS),
            ("zoe", "app", "OTHER", FUTURE_MS),
        )
        assert restore(store, copy) == Restored(pairs=10, written=10, removed=1)
        assert raw_rows(store.path) == senders(10, "COPIED")

    def test_has_times_in_the_future_where_the_copy_has_them(
        self, store: SQLiteStorage, path: str
    ) -> None:
        fill(f"{path}.copy", [("ann", "m", "S", FUTURE_MS)])
        put(store, ("ann", "m", "S", OLD_MS))
        restore(store, f"{path}.copy")
        restore(store, f"{path}.copy")
        assert raw_rows(path) == [("ann", "m", "S", FUTURE_MS)]

    def test_has_every_kind_of_key(self, store: SQLiteStorage, path: str) -> None:
        keys = [None, "None", b"x", 1, "1", ("a", None), "é", "\udcff", "a\0b", "", "*"]
        with SQLiteStorage(f"{path}.copy") as other:
            for number, key in enumerate(keys):
                other.set(key, keys[-1 - number], f"S{number}")
        assert restore(store, f"{path}.copy").written == len(keys)
        assert raw_rows(path) == raw_rows(f"{path}.copy")

    def test_of_an_empty_copy_is_empty(self, store: SQLiteStorage, path: str) -> None:
        put(store, *senders(10))
        fill(f"{path}.copy", [])
        assert restore(store, f"{path}.copy") == Restored(0, 0, 10)
        assert raw_rows(path) == []

    def test_may_be_a_new_store(self, tmp_path: os.PathLike[str], copy: str) -> None:
        with SQLiteStorage(os.path.join(tmp_path, "new")) as store:
            assert restore(store, copy).written == 10
            assert raw_rows(store.path) == senders(10, "COPIED")

    def test_is_none_where_the_store_must_exist_and_does_not(
        self, tmp_path: os.PathLike[str], copy: str
    ) -> None:
        with pytest.raises(NoStore):
            restore(ExistingStorage(os.path.join(tmp_path, "new")), copy)
        assert not os.path.exists(os.path.join(tmp_path, "new"))


class TestInterrupted:
    @pytest.mark.parametrize("at", range(1, 12))
    def test_at_any_batch_is_finished_by_a_second_run(
        self, store: SQLiteStorage, copy: str, at: int
    ) -> None:
        put(store, *senders(5), *senders(6, prefix="z"))
        calls = [0]

        def stop(_done: int, _of: int | None) -> None:
            calls[0] += 1
            if calls[0] == at:
                raise BrokenPipeError

        try:
            restore(store, copy, progress=stop)
        except BrokenPipeError:
            assert calls[0] == at
        else:
            assert calls[0] < at
        restore(store, copy)
        assert raw_rows(store.path) == senders(10, "COPIED")

    def test_leaves_what_workers_changed_in_between_to_the_second_run(
        self, store: SQLiteStorage, copy: str
    ) -> None:
        """All is then as if restored at the instant that the second run began."""

        def stop(_done: int, _of: int | None) -> None:
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            restore(store, copy, progress=stop)
        store.set("app", "000001@example.com", "WORKER")
        pass_a_millisecond()
        restore(store, copy)
        assert raw_rows(store.path) == senders(10, "COPIED")


def test_progress_ends_at_the_rows_of_both(store: SQLiteStorage, copy: str) -> None:
    put(store, *senders(4), *senders(3, prefix="z"))
    told: list[tuple[int, int | None]] = []
    restore(store, copy, progress=lambda *done: told.append(done))
    assert {of for _, of in told} == {17}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (17, 17)


def test_between_two_senders_of_the_copy_there_may_be_a_crowd(
    store: SQLiteStorage, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing asks for all rows of a range: only as many as a chunk has are ever read at once."""
    fill(f"{path}.copy", [("a", "m", "S", OLD_MS), ("z", "m", "S", OLD_MS)])
    put(store, *senders(100, prefix="m"))
    most = [0]
    all_rows = queries.all_rows

    def counted(connection: sqlite3.Connection, *arguments: Any) -> list[Any]:
        found = all_rows(connection, *arguments)
        most[0] = max(most[0], len(found))
        return found

    monkeypatch.setattr(scan, "all_rows", counted)
    assert restore(store, f"{path}.copy") == Restored(2, 2, 100)
    assert most[0] <= 4


def test_a_restored_backup_is_the_store_that_was(store: SQLiteStorage, path: str) -> None:
    put(store, *senders(10), *senders(10, module="b"))
    before = raw_rows(path)
    backup(store, f"{path}.b")
    forget(store, "000003@example.com")
    store.set("c", "new", "S")
    store.set_all("000004@example.com", "BOUNCED")
    pass_a_millisecond()
    assert restore(store, f"{path}.b") == Restored(pairs=20, written=4, removed=1)
    assert raw_rows(path) == before
    with closing(sqlite3.connect(f"{path}.b")) as untouched:
        assert untouched.execute("PRAGMA journal_mode").fetchone() == ("delete",)
