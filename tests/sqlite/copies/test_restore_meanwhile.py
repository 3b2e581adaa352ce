"""A restore while workers are at work: what they have changed since it began came after it."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.keys.rows import RawRow
from lamson_sqlite_state.maintenance import Restored, restore
from lamson_sqlite_state.sqlite.bulk import scan
from lamson_sqlite_state.sqlite.engine.states_table import StatesTable
from tests.helpers.actors import Actor
from tests.helpers.bulk import (
    OLD_MS,
    after_first,
    fill,
    pass_a_millisecond,
    put,
    raw_rows,
    senders,
    two_at_a_time,
)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


@pytest.fixture
def store(empty: SQLiteStorage) -> SQLiteStorage:
    return empty


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
        monkeypatch.setattr(scan, "read", after_first(scan.read, deed))
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
        change = StatesTable.change
        left = ["z000001@example.com", "000001@example.com"]

        def late(states: StatesTable, stripes: Any, sql: str, parameters_at: Any) -> int:
            if len(left) == 2 or (left and sql.startswith("DELETE")):
                pass_a_millisecond()
                first.set("app", left.pop(), "WORKER")
                pass_a_millisecond()
            return change(states, stripes, sql, parameters_at)

        monkeypatch.setattr(StatesTable, "change", late)
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
        pages = scan.pages

        def late(*arguments: object) -> Iterator[list[RawRow]]:
            for page in pages(*arguments):  # type: ignore[arg-type]
                pass_a_millisecond()
                first.set("app", "z000004@example.com", "WORKER")
                yield page

        monkeypatch.setattr(scan, "pages", late)
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


def test_what_was_set_just_before_is_restored_however_short_the_time(
    store: SQLiteStorage, path: str
) -> None:
    """A change of the same millisecond would be taken for one that came after."""
    fill(f"{path}.b", [("ann", "m", "OLD", OLD_MS)])
    for number in range(50):
        store.set("m", "ann", f"NEW {number}")
        store.set("m", f"newcomer {number}", "NEW")
        done = restore(store, f"{path}.b")
        assert store.get("m", "ann") == "OLD"
        assert done.removed >= 1
