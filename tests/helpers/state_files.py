"""What a state file holds, what one can ask of a store, and how to have readers look again."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.actors import Actor

__all__ = [
    "every_call",
    "let_readers_notice",
    "make_backup",
    "make_the_next_read_look",
    "rows",
    "states",
]


def let_readers_notice(*actors: Actor) -> None:
    """Return when the time within which a reader need not look has passed in each process."""
    for actor in actors:
        actor.call(make_the_next_read_look)


def make_the_next_read_look(store: SQLiteStorage) -> None:
    store._cache.revalidate_at = 0.0


def rows(path: str) -> dict[tuple[str, str], str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = connection.execute("SELECT module, sender, state FROM states").fetchall()
    return {(module, sender): state for module, sender, state in found}


def make_backup(path: str, **states: str) -> str:
    """Return the path of a whole store beside ``path`` in which each sender has its state."""
    backup = f"{path}.backup"
    with SQLiteStorage(backup) as store:
        for sender, state in states.items():
            store.set("m", sender, state)
    os.unlink(f"{backup}.lock")
    return backup


def states(path: str) -> dict[str, str]:
    """Return what a file holds where all senders are in one module."""
    return {sender: state for (_, sender), state in rows(path).items()}


def every_call(store: SQLiteStorage) -> list[Callable[[], object]]:
    """Return calls of every kind that reads or writes."""
    return [
        lambda: store.get("m", "ann"),
        lambda: store.set("m", "ann", "A1"),
        lambda: store.set_all("ann", "A1"),
        lambda: store.compare_and_set("m", "ann", "START", "A1"),
        lambda: store.clear(),
    ]
