"""What a store keeps in memory, and how to hold off or to bring about its next look around."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.coherence import counters
from lamson_sqlite_state.sqlite.engine import states_table
from tests.helpers.insides import connection_of, counters_of, file_of
from tests.helpers.state_files import make_the_next_read_look

__all__ = [
    "asked",
    "counter",
    "edit",
    "have_few_stripes",
    "have_no_look_fall_due",
    "hold_the_write_lock",
    "keeps_reads",
    "kept",
    "mapped",
    "settle",
    "wait_until_a_look_is_due",
]


def asked(store: SQLiteStorage, call: Callable[[], object]) -> list[str]:
    """Return which statements a call of the store runs. No look falls due meanwhile."""
    statements: list[str] = []
    connection_of(store).set_trace_callback(statements.append)
    store._cache.revalidate_at += 60
    try:
        call()
    finally:
        store._cache.revalidate_at -= 60
        if (connection := file_of(store).connection) is not None:
            connection.set_trace_callback(None)
    return statements


def have_few_stripes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `clear` go through ann's stripe and a few, and not 4095: all turns are the same."""
    stripes = {*counters.EVERY_STRIPE[:8], counters.stripe_of("ann")}
    monkeypatch.setattr(states_table, "EVERY_STRIPE", tuple(stripes))


def have_no_look_fall_due(store: SQLiteStorage) -> None:
    """The first of a connection empties the cache, as it cannot know what is new."""
    store.get("m", "0")
    make_the_next_read_look(store)
    store.get("m", "0")
    store._cache.revalidate_at += 60


def kept(store: SQLiteStorage) -> dict[Any, Any]:
    return store._cache.current[0]


def keeps_reads(store: SQLiteStorage) -> bool:
    """Whether a state is kept that is read now."""
    store.get("m", "ann")
    return ("ann", "m") in store._cache.current[0]


def counter(store: SQLiteStorage, sender: str) -> int:
    return counters_of(store)[counters.stripe_of(sender)]


def hold_the_write_lock(store: SQLiteStorage) -> None:
    store.get("m", "ann")
    assert file_of(store).write_lock.try_lock()


def settle(store: SQLiteStorage) -> None:
    """Have the directory believed to be unchanged, as it is a moment after its last change."""
    file_of(store).watch._believed = file_of(store).watch.look()


def wait_until_a_look_is_due() -> None:
    """Return when what was looked at before this call holds no longer."""
    deadline = time.monotonic() + 0.010
    while time.monotonic() < deadline:
        pass


def edit(path: str, state: str) -> None:
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.execute("UPDATE states SET state = ? WHERE sender = 'ann'", (state,))


def mapped(path: str) -> list[str]:
    with open("/proc/self/maps") as maps:
        return [line for line in maps if path in line]
