"""A restore: which states win, and when the time at which one was entered decides."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage, _queries, _rows
from lamson_sqlite_state._row import RawRow
from lamson_sqlite_state._states import States
from lamson_sqlite_state.errors import NoStore
from lamson_sqlite_state.maintenance import (
    ExistingStorage,
    Restored,
    backup,
    forget,
    restore,
)

from .actors import Actor
from .bulk import OLD_MS, after_first, fill, raw_rows, senders, two_at_a_time

FUTURE_MS = 4_000_000_000_000


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


@pytest.fixture
def copy(path: str) -> str:
    copy = f"{path}.copy"
    fill(copy, senders(10, "COPIED"))
    return copy


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    fill(path, [])
    with ExistingStorage(path) as store:
        yield store


def put(store: SQLiteStorage, *rows: RawRow) -> None:
    _rows.in_batches(store, _rows.insert, rows, "DO NOTHING")


def pass_a_millisecond() -> None:
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now + 1:
        pass


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


class TestWorkersMeanwhile:
    """What they have changed since the restore began came after it, and stays."""

    def restore_with(
        self,
        store: SQLiteStorage,
        copy: str,
        monkeypatch: pytest.MonkeyPatch,
        deed: Callable[[], object],
    ) -> dict[str | bytes, str]:
        """Restore, with something done when the first rows have been compared, and not written."""
        monkeypatch.setattr(_rows, "read", after_first(_rows.read, deed))
        restore(store, copy)
        return {sender: state for sender, _, state, _ in raw_rows(store.path)}

    @pytest.mark.parametrize("number", [0, 1, 5, 9])
    def test_a_pair_that_they_change_stays(
        self,
        store: SQLiteStorage,
        copy: str,
        first: Actor,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
    ) -> None:
        """Also a moment before its batch is written: that is no time in the future."""
        put(store, *senders(10))
        sender = f"{number:06}@example.com"

        def deed() -> None:
            pass_a_millisecond()
            first.set("app", sender, "WORKER")

        found = self.restore_with(store, copy, monkeypatch, deed)
        assert found.pop(sender) == "WORKER"
        assert set(found.values()) == {"COPIED"}
        assert first.get("app", sender) == "WORKER"

    def test_a_pair_that_they_change_at_the_last_moment_stays(
        self, store: SQLiteStorage, copy: str, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the batch is ready and waits for the lock, which the worker still holds."""
        put(store, *senders(10), *senders(2, prefix="z"))
        change = States.change
        left = ["z000001@example.com", "000001@example.com"]

        def late(states: States, stripes: Any, sql: str, parameters_at: Any) -> int:
            if len(left) == 2 or (left and sql.startswith("DELETE")):
                pass_a_millisecond()
                first.set("app", left.pop(), "WORKER")
                pass_a_millisecond()
            return change(states, stripes, sql, parameters_at)

        monkeypatch.setattr(States, "change", late)
        restore(store, copy)
        found = {sender: state for sender, _, state, _ in raw_rows(store.path)}
        assert found.pop("000001@example.com") == found.pop("z000001@example.com") == "WORKER"
        assert set(found.values()) == {"COPIED"}

    def test_a_pair_that_they_make_stays(
        self, store: SQLiteStorage, copy: str, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether or not it is in the copy. A first get makes one."""

        def deed() -> None:
            pass_a_millisecond()
            first.set("app", "000000@example.com", "WORKER")
            first.get("app", "000005@example.com")
            first.set("app", "zoe", "WORKER")

        found = self.restore_with(store, copy, monkeypatch, deed)
        assert found["000000@example.com"] == found["zoe"] == "WORKER"
        assert found["000005@example.com"] == "START"
        assert list(found.values()).count("COPIED") == 8

    def test_a_pair_that_is_not_in_the_copy_and_that_they_change_stays(
        self, store: SQLiteStorage, copy: str, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also between the look at the copy and the batch that removes."""
        put(store, *senders(6, prefix="z"))
        pages = _rows.pages

        def late(*arguments: object) -> Iterator[tuple[int, list[RawRow]]]:
            for page in pages(*arguments):  # type: ignore[arg-type]
                pass_a_millisecond()
                first.set("app", "z000004@example.com", "WORKER")
                yield page

        monkeypatch.setattr(_rows, "pages", late)
        assert restore(store, copy) == Restored(pairs=10, written=10, removed=5)
        assert ("z000004@example.com", "WORKER") in {row[::2] for row in raw_rows(store.path)}

    def test_a_pair_that_they_changed_before_does_not(
        self, store: SQLiteStorage, copy: str, first: Actor
    ) -> None:
        first.set("app", "000001@example.com", "WORKER")
        first.set("app", "zoe", "WORKER")
        pass_a_millisecond()
        restore(store, copy)
        assert raw_rows(store.path) == senders(10, "COPIED")
        assert first.get("app", "000001@example.com") == "COPIED"
        assert first.get("app", "zoe") == "START"

    def test_no_acknowledged_write_is_lost_and_none_fails(
        self, store: SQLiteStorage, copy: str
    ) -> None:
        put(store, *senders(10))
        with Actor(store.path) as one, Actor(store.path) as two:
            for _ in range(20):
                before = time.time_ns() // 1_000_000
                one.begin(move_on, 0, 30)
                two.begin(move_on, 1, 30)
                restore(store, copy)
                acknowledged = one.result() | two.result()
                restored = {row[:2]: row for row in senders(10, "COPIED")}
                for row in raw_rows(store.path):
                    if row[3] < before:
                        assert row == restored[row[:2]]
                    else:
                        assert acknowledged[row[0]][0] == row[2]
                assert all(
                    store.get("app", sender) == state
                    for sender, (state, since) in acknowledged.items()
                    if since > before + 2_000
                )


def move_on(store: SQLiteStorage, number: int, times: int) -> dict[str, tuple[str, int]]:
    acknowledged: dict[str, tuple[str, int]] = {}
    for step in range(times):
        sender = f"{step * 2 % 12 + number:06}@example.com"
        store.set("app", sender, f"W{time.time_ns()}")
        state = store.get("app", sender)
        acknowledged[sender] = state, time.time_ns() // 1_000_000
    return acknowledged


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
    all_rows = _queries.all_rows

    def counted(connection: sqlite3.Connection, *arguments: Any) -> list[Any]:
        found = all_rows(connection, *arguments)
        most[0] = max(most[0], len(found))
        return found

    monkeypatch.setattr(_rows, "all_rows", counted)
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
