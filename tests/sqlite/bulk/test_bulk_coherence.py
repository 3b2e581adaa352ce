"""What other processes have cached when many rows change, also where the change is cut short."""

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.maintenance import (
    ExistingStorage,
    Selection,
    backup,
    forget,
    prune,
    rename_state,
    restore,
)
from lamson_sqlite_state.sqlite.bulk import batches
from lamson_sqlite_state.sqlite.engine.states_table import StatesTable
from tests.helpers.actors import Actor
from tests.helpers.bulk import OLD_MS, fill, raw_rows, senders, stricken, two_at_a_time
from tests.helpers.cache_probes import counter, have_no_look_fall_due, kept
from tests.helpers.children import forked

SENDERS: Final = [row[0] for row in senders(6)]


def insert(store: SQLiteStorage, _copy: str) -> int:
    return batches.in_batches(
        store._handle, batches.insert, senders(6, "NEW"), "DO UPDATE SET state = excluded.state"
    )


WORK: Final[dict[str, tuple[Callable[[SQLiteStorage, str], object], list[str]]]] = {
    "prune": (lambda store, _: prune(store, Selection(state="OLD")), ["START"] * 6),
    "rename": (lambda store, _: rename_state(store, "app", "OLD", "NEW"), ["NEW"] * 6),
    "insert": (insert, ["NEW"] * 6),
    "restore": (lambda store, copy: restore(store, copy), ["COPIED"] * 4 + ["START"] * 2),
    "forget": (lambda store, _: forget(store, SENDERS[0]), ["START"] + ["OLD"] * 5),
}


@pytest.fixture
def copy(path: str) -> str:
    """A copy in which four of the six senders are, in another state."""
    copy = f"{path}.copy"
    fill(copy, senders(4, "COPIED"))
    return copy


@pytest.fixture
def store(path: str, copy: str) -> Iterator[SQLiteStorage]:
    fill(path, senders(6))
    with ExistingStorage(path) as store:
        yield store


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


def read_all(store: SQLiteStorage) -> list[str]:
    return [store.get("app", sender) for sender in SENDERS]


def is_all_kept(store: SQLiteStorage) -> bool:
    return all((sender, "app") in kept(store) for sender in SENDERS)


class TestCachesOfOthers:
    @pytest.mark.parametrize("what", WORK)
    def test_show_nothing_older_once_it_is_done(
        self, store: SQLiteStorage, copy: str, first: Actor, what: str
    ) -> None:
        """They know by the counters alone, as no look falls due."""
        work, expected = WORK[what]
        with SQLiteStorage(store.path) as other_instance:
            for each in (store, other_instance):
                have_no_look_fall_due(each)
                assert read_all(each) == ["OLD"] * 6
                assert is_all_kept(each)
            first.call(have_no_look_fall_due)
            assert first.call(read_all) == ["OLD"] * 6
            assert first.call(is_all_kept)
            work(store, copy)
            assert first.call(read_all) == expected
            assert read_all(other_instance) == expected
            assert read_all(store) == expected

    def test_show_each_batch_once_it_is_done(
        self, store: SQLiteStorage, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first.call(have_no_look_fall_due)
        first.call(read_all)
        seen: list[list[str]] = []
        change = StatesTable.change

        def observed(states: StatesTable, *arguments: object) -> int:
            changed = change(states, *arguments)  # type: ignore[arg-type]
            seen.append(first.call(read_all))
            return changed

        monkeypatch.setattr(StatesTable, "change", observed)
        rename_state(store, "app", "OLD", "NEW")
        done = [states.count("NEW") for states in seen]
        assert seen == [["NEW"] * n + ["OLD"] * (6 - n) for n in done]
        assert done == sorted({*done, 6})
        assert len(done) >= 3

    def test_of_senders_that_are_not_meant_stay(self, store: SQLiteStorage, first: Actor) -> None:
        before = [counter(store, sender) for sender in ("x", "y", "z") if store.get("app", sender)]
        prune(store, Selection(state="OLD"))
        assert [counter(store, sender) for sender in ("x", "y", "z")] == before


@pytest.mark.many_syncs
class TestCutShort:
    """At any instruction: nothing is half done, caches are right, and a second run finishes."""

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("cuts", [6, pytest.param(30, marks=pytest.mark.long)])
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    @pytest.mark.parametrize("what", WORK)
    # From 3.13 on, sqlite3 warns of a connection that was interrupted as it was made, before
    # anybody had it to close.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_leaves_every_read_right_and_a_second_run_finishes(
        self, store: SQLiteStorage, copy: str, first: Actor, what: str, number: int, cuts: int
    ) -> None:
        work, expected = WORK[what]
        with ExistingStorage(store.path) as counted:
            counted.get("app", SENDERS[0])
            steps = stricken(lambda: work(counted, copy), sys.maxsize, number)
        outcomes: Counter[int] = Counter()
        # The last too, at which all is written.
        for step in [*sorted(random.sample(range(1, steps), cuts)), *range(steps - 8, steps + 1)]:
            begin_again(store)
            assert first.call(read_all) == read_all(store) == ["OLD"] * 6
            if number == signal.SIGKILL:
                kill_at(store.path, lambda other: work(other, copy), step)
            else:
                interrupt_at(store, lambda: work(store, copy), step)
            found = {sender: state for sender, _, state, _ in raw_rows(store.path)}
            there = [found.get(sender, "START") for sender in SENDERS]
            outcomes[sum(state != "OLD" for state in there)] += 1
            assert all(state in ("OLD", now) for state, now in zip(there, expected, strict=True))
            assert first.call(read_all) == there
            assert read_all(store) == there
            work(store, copy)
            assert first.call(read_all) == read_all(store) == expected
        assert len(outcomes) > 1

    def test_by_what_progress_raises_keeps_what_was_done(self, store: SQLiteStorage) -> None:
        def stop(done: int, _of: int | None) -> None:
            raise BrokenPipeError(done)

        with pytest.raises(BrokenPipeError, match="4"):
            prune(store, Selection(state="OLD"), progress=stop)
        assert len(raw_rows(store.path)) == 2
        with SQLiteStorage(store.path, timeout=0) as other:
            other.set("app", "ann", "A1")
        assert prune(store, Selection(state="OLD")) == 2


def begin_again(store: SQLiteStorage) -> None:
    store.clear()
    batches.in_batches(store._handle, batches.insert, senders(6), "DO NOTHING")


def kill_at(path: str, work: Callable[[SQLiteStorage], object], step: int) -> None:
    def be_killed() -> None:
        with ExistingStorage(path) as other:
            other.get("app", SENDERS[0])
            stricken(lambda: work(other), step, signal.SIGKILL)

    with forked(be_killed) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        child.kill()


def interrupt_at(store: SQLiteStorage, work: Callable[[], object], step: int) -> None:
    try:
        steps = stricken(work, step, signal.SIGINT)
    except KeyboardInterrupt:
        pass
    else:
        assert steps < step, "Ctrl-C was lost"  # it may have had less to do than the first
    with SQLiteStorage(store.path, timeout=0) as other:
        other.set("m", "the lock is free", "S")


def test_a_bulk_change_keeps_the_times_of_states(store: SQLiteStorage, path: str) -> None:
    rename_state(store, "app", "OLD", "NEW")
    backup(store, f"{path}.b")
    restore(store, f"{path}.b")
    assert {row[3] for row in raw_rows(path)} == {OLD_MS}
