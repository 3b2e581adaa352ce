"""Many rows changed in batches: what is touched and what is not, while others are at work."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.keys.rows import OLDEST_MS
from lamson_sqlite_state.maintenance import (
    Exact,
    ExistingStorage,
    Selection,
    count_states,
    forget,
    prune,
    rename_state,
)
from lamson_sqlite_state.sqlite.bulk import scan
from tests.helpers.actors import Actor
from tests.helpers.bulk import OLD_MS, after_first, fill, raw_rows, senders, two_at_a_time

OLD = Selection(state="OLD")


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    fill(path, senders(10))
    with ExistingStorage(path) as store:
        yield store


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


def states_of(path: str) -> list[str]:
    return [state for _, _, state, _ in raw_rows(path)]


class TestPrune:
    def test_removes_what_is_meant_and_counts_it(self, path: str) -> None:
        others = [*senders(10, "NEW", "b"), *senders(3, "OLD", "c")]
        fill(path, [*senders(10), *others])
        with ExistingStorage(path) as store:
            assert prune(store, Selection(state="OLD", module="a*")) == 10
            assert raw_rows(path) == sorted(others)
            assert prune(store, Selection(state="OLD", module="a*")) == 0

    def test_has_its_pairs_start_anew(self, store: SQLiteStorage) -> None:
        assert prune(store, OLD) == 10
        assert store.get("app", "000003@example.com") == "START"

    def test_of_everything_leaves_nothing(self, store: SQLiteStorage) -> None:
        assert prune(store, Selection()) == 10
        assert raw_rows(store.path) == []

    def test_of_one_sender_leaves_the_others(self, store: SQLiteStorage) -> None:
        assert prune(store, Selection(sender="000003@example.com")) == 1
        assert len(raw_rows(store.path)) == 9

    def test_by_age_goes_by_when_a_pair_entered_its_state(self, path: str) -> None:
        at = [(name, "m", "S", OLD_MS + number) for number, name in enumerate("abc")]
        fill(path, at)
        with ExistingStorage(path) as store:
            assert prune(store, Selection(entered_before_ms=OLD_MS + 1)) == 1
            assert prune(store, Selection(entered_after_ms=OLD_MS + 2)) == 1
        assert raw_rows(path) == [("b", "m", "S", OLD_MS + 1)]

    def test_by_age_passes_over_what_a_wrong_clock_has_set(self, path: str) -> None:
        """A minute ago, perhaps: it stood at 1970."""
        times = (0, 60_000, OLDEST_MS - 1, OLDEST_MS, OLD_MS)
        fill(path, [(f"s{number}", "m", "S", since) for number, since in enumerate(times)])
        month_ago = Selection(entered_before_ms=time.time_ns() // 1_000_000 - 30 * 86_400_000)
        with ExistingStorage(path) as store:
            for selection, pairs in ((month_ago.with_true_ages, 2), (month_ago.with_false_ages, 3)):
                assert sum(each.pairs for each in count_states(store, selection)) == pairs
            assert prune(store, Selection(entered_before_ms=60_000)) == 0
            assert prune(store, month_ago) == 2
            assert [row[3] for row in raw_rows(path)] == [0, 60_000, OLDEST_MS - 1]
            assert prune(store, Selection(entered_before_ms=60_000), before_2009=True) == 1
            assert prune(store, Selection(state="S", sender="s1")) == 1, "no age is asked for"
            assert prune(store, month_ago, before_2009=True) == 1
        assert raw_rows(path) == []

    def test_tells_how_many_rows_it_has_looked_at(self, store: SQLiteStorage) -> None:
        told: list[tuple[int, int | None]] = []
        prune(store, OLD, progress=lambda *done: told.append(done))
        assert told == [(4, None), (8, None), (10, None)]


class TestMeanwhile:
    """A pair that changes between the reading of its chunk and its batch is left alone."""

    def test_a_pair_that_leaves_its_state_is_not_pruned(
        self, store: SQLiteStorage, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def leave() -> None:
            first.set("app", "000001@example.com", "NEW")

        monkeypatch.setattr(scan, "read", after_first(scan.read, leave))
        assert prune(store, OLD) == 9
        assert states_of(store.path) == ["NEW"]

    def test_a_pair_that_enters_its_state_anew_is_not_pruned(
        self, store: SQLiteStorage, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def come_back() -> None:
            first.set("app", "000001@example.com", "NEW")
            first.set("app", "000001@example.com", "OLD")

        monkeypatch.setattr(scan, "read", after_first(scan.read, come_back))
        assert prune(store, Selection(state="OLD", entered_before_ms=OLD_MS + 1)) == 9
        assert states_of(store.path) == ["OLD"]

    def test_a_pair_that_leaves_its_state_is_not_renamed(
        self, store: SQLiteStorage, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def leave() -> None:
            first.set("app", "000001@example.com", "ELSEWHERE")

        monkeypatch.setattr(scan, "read", after_first(scan.read, leave))
        assert rename_state(store, "app", "OLD", "NEW") == 9
        assert states_of(store.path) == ["NEW", "ELSEWHERE", *["NEW"] * 8]

    @pytest.mark.parametrize("work", [prune, rename_state])
    def test_rows_that_come_and_go_do_no_harm(
        self,
        store: SQLiteStorage,
        first: Actor,
        monkeypatch: pytest.MonkeyPatch,
        work: Callable[..., int],
    ) -> None:
        def come_and_go() -> None:
            first.call(forget, "000001@example.com")
            first.call(forget, "000006@example.com")
            first.set("app", "000001a@example.com", "OLD")  # where we are
            first.set("app", "999999@example.com", "OLD")  # where we shall be

        monkeypatch.setattr(scan, "read", after_first(scan.read, come_and_go))
        arguments = (OLD,) if work is prune else ("app", "OLD", "NEW")
        assert work(store, *arguments) == 9
        left = dict.fromkeys(["NEW"] * 9) if work is rename_state else {}
        assert set(states_of(store.path)) == {"OLD", *left}
        assert states_of(store.path).count("OLD") == 1


class TestRename:
    def test_changes_one_state_of_one_module_and_no_time(self, path: str) -> None:
        others = [*senders(5, "OTHER"), *senders(5, "OLD", "other")]
        fill(path, [*senders(5, prefix="x"), *others])
        with ExistingStorage(path) as store:
            assert rename_state(store, "app", "OLD", "NEW") == 5
            assert rename_state(store, "app", "OLD", "NEW") == 0
        assert raw_rows(path) == sorted([*senders(5, "NEW", prefix="x"), *others])

    def test_takes_keys_that_are_no_text(self, path: str) -> None:
        fill(path, [])
        with ExistingStorage(path) as store:
            store.set(None, ("a", 1), "OLD")
            assert rename_state(store, "None", "OLD", "NEW") == 0
            assert rename_state(store, None, "OLD", "NEW") == 1
            assert store.get(None, ("a", 1)) == "NEW"

    def test_takes_a_module_with_wildcards_as_it_is(self, store: SQLiteStorage) -> None:
        assert rename_state(store, "a*", "OLD", "NEW") == 0

    @pytest.mark.parametrize(
        ("old", "new", "error"),
        [
            (1, "NEW", TypeError),
            ("OLD", None, TypeError),
            ("OLD", "\udcff", ValueError),
            ("\udcff", "NEW", ValueError),
        ],
    )
    def test_of_what_is_no_state_changes_nothing(
        self, store: SQLiteStorage, old: str, new: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            rename_state(store, "app", old, new)
        assert raw_rows(store.path) == senders(10)

    def test_of_what_is_no_key_changes_nothing(self, store: SQLiteStorage) -> None:
        with pytest.raises(TypeError):
            rename_state(store, object(), "OLD", "NEW")


class TestForget:
    def test_removes_all_pairs_of_one_sender(self, path: str) -> None:
        fill(path, [*senders(3), *senders(3, module="b")])
        with ExistingStorage(path) as store:
            assert forget(store, "000001@example.com") == 2
            assert forget(store, "000001@example.com") == 0
            assert forget(store, "000002@example.com", Exact("b")) == 1
            assert forget(store, "000002@example.com", Exact("c")) == 0
            assert len(raw_rows(path)) == 3
            assert store.get("b", "000001@example.com") == "START"

    def test_takes_keys_that_are_no_text(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            for sender in (None, "None", b"x"):
                store.set(None, sender, "S")
            assert forget(store, None) == 1
            assert forget(store, b"x", Exact(None)) == 1
            assert [row[0] for row in raw_rows(path)] == ["None"]

    def test_of_what_is_no_key_removes_nothing(self, store: SQLiteStorage) -> None:
        with pytest.raises(TypeError):
            forget(store, object())
        with pytest.raises(TypeError):
            forget(store, "000001@example.com", Exact([]))
        assert len(raw_rows(store.path)) == 10


class TestWithOthersAtWork:
    def test_no_acknowledged_write_is_lost_and_none_fails(self, path: str) -> None:
        """Each of two processes moves its own pairs on, out of what is pruned and renamed."""
        fill(path, senders(300))
        with ExistingStorage(path) as store, Actor(path) as one, Actor(path) as two:
            for number, actor in enumerate((one, two)):
                actor.begin(move_on, number, f"{path}.enough")
            for _ in range(4):
                rename_state(store, "app", "OLD", "RENAMED")
                rename_state(store, "app", "RENAMED", "OLD")
                prune(store, Selection(state="OLD", sender="*5@*"))
            with open(f"{path}.enough", "w"):
                pass
            acknowledged = one.result() | two.result()
            assert len(acknowledged) > 100
            for sender, state in acknowledged.items():
                assert store.get("app", sender) == state

    def test_a_full_batch_that_fails_has_changed_nothing_and_those_before_have(
        self, store: SQLiteStorage
    ) -> None:
        with closing(sqlite3.connect(store.path)) as tool:
            tool.execute(
                "CREATE TRIGGER no BEFORE DELETE ON states WHEN old.sender = '000005@example.com'"
                " BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        with pytest.raises(StorageError, match="no"):
            prune(store, OLD)
        assert [row[0][:6] for row in raw_rows(store.path)] == [f"00000{n}" for n in range(4, 10)]


def move_on(store: SQLiteStorage, number: int, enough: str) -> dict[str, str]:
    acknowledged: dict[str, str] = {}
    for step in range(1_000_000):
        sender = f"{step * 2 % 300 + number:06}@example.com"
        store.set("app", sender, f"S{step}")
        assert store.get("app", sender) == f"S{step}"
        acknowledged[sender] = f"S{step}"
        if os.path.exists(enough):
            break
    return acknowledged
