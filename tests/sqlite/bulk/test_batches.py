"""The batches in which many rows are changed: how large they are, and who comes in between."""

import os
import sqlite3
import time
from collections.abc import Sequence

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.keys.rows import RawRow
from lamson_sqlite_state.maintenance import ExistingStorage, Selection, prune, rename_state
from lamson_sqlite_state.sqlite.bulk import batches as _batches
from lamson_sqlite_state.sqlite.engine import states_table
from lamson_sqlite_state.sqlite.engine.states_table import StatesTable
from tests.helpers.actors import Actor
from tests.helpers.bulk import OLD_MS, fill, senders, two_at_a_time
from tests.helpers.insides import connection_of


def test_batches_are_of_few_characters_where_keys_are_long(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender is as long as a mail's header makes him, and a batch keeps writers waiting."""
    rows = [(f"{number}{'x' * 90_000}", "m", "OLD", OLD_MS) for number in range(32)]
    assert [len(batch) for batch in _batches.batches(rows)] == [2] * 16
    fill(path, rows)
    with ExistingStorage(path) as store:
        assert rename_state(store, "m", "OLD", "NEW") == 32
        assert prune(store, Selection(state="NEW")) == 32


def test_batches_are_full_where_keys_are_short_and_lose_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = senders(2 * _batches.BATCH_ROWS + 1)
    found = list(_batches.batches(rows))
    assert [len(batch) for batch in found] == [_batches.BATCH_ROWS] * 2 + [1]
    assert [row for batch in found for row in batch] == rows


def test_batches_have_no_more_parameters_than_sqlite_takes(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(sqlite3.Connection):
        def getlimit(self, category: int, /) -> int:
            return 999 if category == sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER else 0

    monkeypatch.setattr(sqlite3, "Connection", Small)
    rows = _batches._batch_rows()
    monkeypatch.undo()
    monkeypatch.setattr(_batches, "BATCH_ROWS", rows)
    fill(path, senders(1000))
    with ExistingStorage(path) as store:
        store.set("m", "ann", "A1")
        connection_of(store).setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        assert rename_state(store, "app", "OLD", "NEW") == 1000
        assert prune(store, Selection(state="NEW", entered_before_ms=OLD_MS + 1)) == 1000


def test_batches_let_whoever_waits_have_his_turn(
    path: str, first: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that begins to wait within a batch has written before the next one."""
    two_at_a_time(monkeypatch)
    monkeypatch.setattr(_batches, "_PAUSE_SECONDS", 0.2)
    first.get("app", "waiting")
    batches: list[bool] = []
    change = StatesTable.change

    def counted(states: StatesTable, *arguments: object) -> int:
        if len(batches) == 1:
            first.begin(SQLiteStorage.set, "app", "waiting", "WRITTEN")
        if len(batches) == 2:
            first.result()
        batches.append(True)
        return change(states, *arguments)  # type: ignore[arg-type]

    fill(path, senders(6))
    monkeypatch.setattr(StatesTable, "change", counted)
    start = time.monotonic()
    with ExistingStorage(path) as store:
        prune(store, Selection(state="OLD"))
        assert len(batches) >= 3
        assert time.monotonic() - start >= 3 * 0.2
        assert store.get("app", "waiting") == "WRITTEN"


def sizes(store: SQLiteStorage, rows: Sequence[RawRow]) -> list[int]:
    """Change rows and return how many there were in each batch."""
    found: list[int] = []

    def noted(some: Sequence[RawRow]) -> _batches.Batch:
        found.append(len(some))
        return _batches.rename(some, "OLD", "OLD")

    assert _batches.in_batches(store._handle, noted, rows) == len(rows)
    return found


def test_batches_have_fewer_rows_where_they_take_long_and_more_again_where_they_do_not(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that stand far apart, or a slow disk, are to keep no worker waiting for longer."""
    monkeypatch.setattr(_batches, "BATCH_ROWS", 1000)
    rows = senders(3000)
    fill(path, rows)
    with ExistingStorage(path) as store:
        monkeypatch.setattr(_batches, "_BATCH_SECONDS", 0.0)
        assert sizes(store, rows) == [1000, *[500, 250, 125, 100, 25], *[100] * 10]
        assert set(sizes(store, rows)) == {100}
        monkeypatch.setattr(_batches, "_BATCH_SECONDS", 60.0)
        assert sizes(store, rows) == [100, 200, 400, 300, 1000, 1000]
        with ExistingStorage(path) as other:
            assert sizes(other, rows) == [1000] * 3


def test_the_log_is_checkpointed_in_small_pieces_and_later_as_ever(path: str) -> None:
    """One of a thousand pages would keep workers waiting for 30 ms, under the lock."""
    fill(path, senders(60_000))
    with ExistingStorage(path) as store:
        store.set("app", "ann", "A1")
        largest = 0

        def look(_done: int, _of: int | None) -> None:
            nonlocal largest
            largest = max(largest, os.path.getsize(f"{path}-wal"))

        rename_state(store, "app", "OLD", "NEW", progress=look)
        assert largest < 2 * states_table._BULK_CHECKPOINT_PAGES * 4096
        found = connection_of(store).execute("PRAGMA wal_autocheckpoint").fetchone()
        assert found == (states_table.CHECKPOINT_PAGES,)
