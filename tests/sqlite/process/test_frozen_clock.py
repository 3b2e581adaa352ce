"""Clocks that a test of an application has frozen or shifted, and has given back."""

import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from lamson_sqlite_state.maintenance import backup, restore
from lamson_sqlite_state.sqlite.process.clock import Clock
from tests.helpers.cache_probes import keeps_reads
from tests.helpers.insides import file_of
from tests.helpers.state_files import states

YEAR_SECONDS = 365 * 24 * 3600


class Frozen:
    """Puts other functions into the module `time`, as freezegun does, or wherever it is asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def shift(self, owner: Any, seconds: float) -> None:
        there = owner.monotonic() + seconds, owner.time_ns() + int(seconds * 10**9)
        self._patch.setattr(owner, "monotonic", lambda: there[0])
        self._patch.setattr(owner, "time_ns", lambda: there[1])


@pytest.fixture(params=[-YEAR_SECONDS, -60, 60, YEAR_SECONDS], ids=lambda shift: f"{shift} s")
def shift(request: pytest.FixtureRequest) -> float:
    seconds: float = request.param
    return seconds


def edit(path: str, state: str) -> None:
    """As another tool does: no counter tells of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE states SET state = ?", (state,))


@pytest.mark.parametrize("owner", [time, Clock], ids=["in the module", "wherever it is"])
def test_an_edit_is_seen_once_the_clock_is_given_back(path: str, shift: float, owner: Any) -> None:
    with SQLiteStorage(path) as store:
        with pytest.MonkeyPatch.context() as patch:
            Frozen(patch).shift(owner, shift)
            store.set("m", "ann", "A1")
            assert store.get("m", "ann") == "A1"
        edit(path, "A2")
        end = time.monotonic() + 10
        while store.get("m", "ann") == "A1" and time.monotonic() < end:
            pass
        assert store.get("m", "ann") == "A2"
        assert keeps_reads(store)
        with pytest.MonkeyPatch.context() as patch:
            Frozen(patch).shift(owner, shift)
            store.set("m", "ann", "A3")
        edit(path, "A4")
        end = time.monotonic() + 10
        while not store.compare_and_set("m", "ann", "A4", "A5") and time.monotonic() < end:
            pass
        assert store.get("m", "ann") == "A5"


def test_an_edit_is_seen_while_the_clock_stands_still(
    path: str, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        real = Clock.monotonic
        Frozen(monkeypatch).shift(time, shift)
        assert store.get("m", "ann") == "A1"
        edit(path, "A2")
        end = real() + 10
        while store.get("m", "ann") == "A1" and real() < end:
            pass
        assert store.get("m", "ann") == "A2"


def test_a_timeout_ends_while_the_clock_stands_still(
    path: str, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStorage(path, timeout=0.05) as store, SQLiteStorage(path) as other:
        other.set("m", "ann", "A1")
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            Frozen(monkeypatch).shift(time, shift)
            with pytest.raises(LockTimeout):
                store.set("m", "ann", "A2")
        store.set("m", "ann", "A2")
    assert states(path) == {"ann": "A2"}


def test_a_directory_that_has_just_changed_is_not_believed(
    path: str, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes within one tick have the same time: the age of one is judged by the real time."""
    with SQLiteStorage(path) as store:
        Frozen(monkeypatch).shift(time, abs(shift))
        store.set("m", "ann", "A1")
        store.set("m", "ann", "A2")
        assert not file_of(store).watch.is_unchanged()


def test_a_copy_is_given_back_while_the_clock_stands_still(
    path: str, target: str, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    Frozen(monkeypatch).shift(time, shift)
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        backup(store, target)
        store.set("m", "ann", "A2")
        restore(store, target)
        assert store.get("m", "ann") == "A1"


def test_since_is_the_time_that_the_test_has_set(
    path: str, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStorage(path) as store:
        Frozen(monkeypatch).shift(time, shift)
        store.set("m", "ann", "A1")
    with closing(sqlite3.connect(path)) as connection:
        (since,) = connection.execute("SELECT since FROM states").fetchone()
    assert since == time.time_ns() // 1_000_000
