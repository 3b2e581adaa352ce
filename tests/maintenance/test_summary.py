"""What is in a store at a glance, and how the questions behind it are asked."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.maintenance import (
    Exact,
    ExistingStorage,
    Selection,
    StateCount,
    _counting,
    backup,
    count_states,
    observe,
    prune,
    rename_state,
    restore,
    rows,
    summary,
)
from lamson_sqlite_state.maintenance._summary import has_wal_reset_race
from lamson_sqlite_state.sqlite.bulk import batches, scan
from tests.helpers.actors import Actor
from tests.helpers.bulk import OLD_MS, fill, senders, two_at_a_time
from tests.helpers.insides import connection_of


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    fill(
        path,
        [
            *senders(10),
            *senders(5, "NEW", "b"),
            ("ann", "app", "OLD", OLD_MS + 5),
            ("bob", "app", "OLD", OLD_MS - 5),
        ],
    )
    with ExistingStorage(path) as store:
        store.set(None, b"key", "OLD")
        yield store


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)
    monkeypatch.setattr(_counting, "_CHUNK_ROWS", 3)


class TestSummary:
    def test_counts_pairs_senders_and_states(self, store: SQLiteStorage) -> None:
        found = summary(store)
        assert found.path == store.path
        assert (found.pairs, found.senders, found.oldest_ms) == (18, 13, OLD_MS - 5)
        assert found.states[:2] == (
            StateCount("app", "OLD", 12, OLD_MS - 5, OLD_MS + 5),
            StateCount("b", "NEW", 5, OLD_MS, OLD_MS),
        )
        (last,) = found.states[2:]
        assert last[:3] == (None, "OLD", 1)
        assert last.oldest_ms == last.newest_ms > OLD_MS

    def test_of_nothing_is_empty(self, path: str) -> None:
        fill(path, [])
        with ExistingStorage(path) as store:
            found = summary(store)
        assert (found.pairs, found.senders, found.states, found.oldest_ms) == (0, 0, (), None)

    def test_tells_the_files_and_their_sizes(self, store: SQLiteStorage) -> None:
        files = summary(store).files
        suffixes = ("", "-wal", "-shm", ".lock", ".versions")
        assert files.bytes == {
            store.path + suffix: os.path.getsize(store.path + suffix) for suffix in suffixes
        }
        assert files.total_bytes == sum(files.bytes.values()) > 0

    def test_tells_sqlite_and_the_limits_in_force(self, path: str) -> None:
        fill(path, [])
        options: dict[str, object] = {"timeout": 1.5, "cache_size": 7, "file_mode": 0o640}
        with ExistingStorage(path, synchronous="NORMAL", **options) as store:  # type: ignore[arg-type]
            found = summary(store)
            ask = connection_of(store).execute
            assert ask("PRAGMA wal_autocheckpoint").fetchone() == (found.limits.checkpoint_pages,)
            assert ask("PRAGMA journal_size_limit").fetchone() == (found.limits.log_bytes,)
        assert found.limits[:5] == (1.5, "NORMAL", "640", 7, 10)
        assert found.sqlite_version == sqlite3.sqlite_version
        assert found.has_wal_reset_race is has_wal_reset_race()

    def test_tells_how_many_rows_are_counted(self, store: SQLiteStorage) -> None:
        told: list[int] = []
        summary(store, lambda done, _: told.append(done))
        assert told == sorted(told)
        assert len(told) > 3

    def test_writes_nothing_and_keeps_no_writer_waiting(
        self, store: SQLiteStorage, first: Actor
    ) -> None:
        first.set("app", "ann", "A1")
        before = os.path.getsize(f"{store.path}-wal")
        with SQLiteStorage(store.path) as other:
            other.get("app", "ann")
            summary(store)
            assert os.path.getsize(f"{store.path}-wal") == before
            summary(store, lambda *_: first.set("app", "ann", f"A{time.time_ns()}"))


class TestCounts:
    @pytest.mark.parametrize(
        ("selection", "pairs"),
        [
            (Selection(), 18),
            (Selection(module="app"), 12),
            (Selection(module=Exact(None)), 1),
            (Selection(sender="0000*", state="NEW"), 5),
            (Selection(sender="ann"), 1),
            (Selection(entered_before_ms=OLD_MS), 1),
            (Selection(state="NOWHERE"), 0),
        ],
    )
    def test_are_of_what_prune_would_remove(
        self, store: SQLiteStorage, selection: Selection, pairs: int
    ) -> None:
        assert sum(each.pairs for each in count_states(store, selection)) == pairs
        assert len(list(rows(store, selection))) == pairs
        assert prune(store, selection) == pairs
        assert count_states(store, selection) == ()

    def test_stand_in_the_order_of_modules_and_states(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            for module in ("z", None, "a", b"a", "Z", 1):
                for state in ("B", "A"):
                    store.set(module, f"{module!r} {state}", state)
            found = [each[:2] for each in count_states(store)]
        modules = ["Z", "a", "z", 1, None, b"a"]
        assert found == [(module, state) for module in modules for state in ("A", "B")]


class TestObservation:
    def test_tells_what_has_changed_and_the_newest(self, store: SQLiteStorage) -> None:
        since = time.time_ns() // 1_000_000
        store.set("app", "000001@example.com", "NEW")
        found = observe(store, since, newest=3)
        assert found.changed in (1, 2)  # one of them may have been made in this millisecond
        assert {row.sender for row in found.newest[:2]} == {"000001@example.com", b"key"}
        assert found.newest[2].sender == "ann"
        assert found.states == count_states(store)

    def test_of_nothing_is_nothing(self, path: str) -> None:
        fill(path, [])
        with ExistingStorage(path) as store:
            found = observe(store, 0)
        assert (found.states, found.changed, found.newest) == ((), 0, ())


def statements(store: SQLiteStorage, work: Callable[[], object]) -> list[str]:
    """Return the SQL that a store runs on its table meanwhile, with its parameters in it."""
    found: list[str] = []
    store.get("app", "ann")
    connection_of(store).set_trace_callback(found.append)
    try:
        work()
    finally:
        connection_of(store).set_trace_callback(None)
    return [sql for sql in found if "states" in sql and not sql.startswith(("CREATE", "PRAGMA"))]


WORK: dict[str, Callable[[SQLiteStorage], object]] = {
    "rows": lambda store: list(rows(store, Selection(state="OLD", module="app"))),
    "sorted rows": lambda store: list(rows(store, order="since", limit=5)),
    "prune": lambda store: prune(store, Selection(state="OLD", entered_before_ms=OLD_MS + 1)),
    "prune one": lambda store: prune(store, Selection(sender="ann")),
    "rename": lambda store: rename_state(store, "app", "OLD", "NEW"),
    "summary": lambda store: summary(store),
    "restore": lambda store: restore(store, f"{store.path}.copy"),
}


@pytest.mark.parametrize("batch", [2, 1000])
@pytest.mark.parametrize("what", WORK)
def test_no_question_but_the_first_of_the_chunks_scans_the_table(
    path: str, monkeypatch: pytest.MonkeyPatch, what: str, batch: int
) -> None:
    """And that one stops where its chunk ends: all else is searched for by its key."""
    fill(path, [*senders(50), ("ann", "app", "S", OLD_MS)])
    with ExistingStorage(path) as store:
        backup(store, f"{path}.copy")
        rename_state(store, "app", "S", "T")
        store.set("app", "zoe", "OLD")
        store.get("app", "zoe")
        if batch > 2:
            monkeypatch.setattr(batches, "BATCH_ROWS", batch)
            monkeypatch.setattr(scan, "CHUNK_ROWS", 30)
            monkeypatch.setattr(_counting, "_CHUNK_ROWS", 30)
        found = statements(store, lambda: WORK[what](store))
        assert found
        for sql in found:
            plan = connection_of(store).execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
            steps = [step[3] for step in plan]
            if "WHERE 1 ORDER BY sender, module LIMIT 1 OFFSET" in sql:
                assert steps == ["SCAN states"]
            elif sql != "SELECT count(*) FROM states":
                assert not {"SCAN states", "SCAN main.states"} & {*steps}, sql
                if sql.startswith(("DELETE FROM states", "UPDATE")):
                    assert any(
                        step.startswith("SEARCH states USING PRIMARY KEY (sender=?")
                        for step in steps
                    ), steps
