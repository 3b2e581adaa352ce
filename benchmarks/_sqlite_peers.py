"""SQLite by three ways: the package, a bare connection, and one under a lock by hand."""

import os
import time
from collections.abc import Iterable
from contextlib import closing
from typing import ClassVar

from filelock import FileLock

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.engine import schema

from ._files import Pair, bare_connection, open_store
from ._peer import START, SYNCHRONOUS, TIMEOUT_SECONDS, Durability, Peer, Settings

__all__ = ["BareSqlite", "BareUnderFileLock", "Ours", "OursUncached"]


class Ours(Peer):
    name = "lamson-sqlite-state"
    settings: ClassVar[Settings] = {
        "synced": "synchronous FULL",
        "not synced": "synchronous NORMAL",
    }
    cache_size: ClassVar = 65_536

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        path = os.path.join(directory, "states")
        self._store: SQLiteStorage = open_store(path, SYNCHRONOUS[durability], self.cache_size)
        self.get = self.meet = self._store.get
        self.set = self._store.set

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        self.get(START, START)
        self._store.close()
        with closing(bare_connection(self._store.path, "NORMAL")) as connection:
            connection.execute("BEGIN")
            for module, sender in pairs:
                connection.execute(schema.SET, (sender, module, state, 0))
            connection.execute("COMMIT")

    def close(self) -> None:
        self._store.close()


class OursUncached(Ours):
    name = "the same, cache off"
    cache_size = 0


class BareSqlite(Peer):
    """A connection that stays open, and nothing beside it."""

    name = "bare sqlite3"
    settings: ClassVar[Settings] = {
        "synced": "WAL, synchronous FULL",
        "not synced": "WAL, synchronous NORMAL",
    }

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        path = os.path.join(directory, "states")
        if not os.path.exists(path):
            with SQLiteStorage(path) as store:  # for the table only
                store.get("", "")
        self._connection = connection = bare_connection(path, SYNCHRONOUS[durability])
        execute = connection.execute

        def read(module: str, sender: str) -> str:
            row = execute(schema.SELECT_STATE, (sender, module)).fetchone()
            return str(row[0]) if row else START

        def meet(module: str, sender: str) -> str:
            row = execute(schema.SELECT_STATE, (sender, module)).fetchone()
            if row:
                return str(row[0])
            execute(schema.INSERT_START, (sender, module, time.time_ns() // 1_000_000))
            return read(module, sender)

        def write(module: str, sender: str, state: str) -> None:
            execute(schema.SET, (sender, module, state, time.time_ns() // 1_000_000))

        self.get, self.meet, self.set = read, meet, write

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        self._connection.execute("BEGIN")
        super().fill(pairs, state)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class BareUnderFileLock(BareSqlite):
    """The obvious way to share it: filelock's lock with its default polling every 50 ms."""

    name = "sqlite3 under FileLock"

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        super().__init__(directory, durability, socket)
        lock = FileLock(os.path.join(directory, "by-hand.lock"), timeout=TIMEOUT_SECONDS)
        unlocked = self.set

        def write(module: str, sender: str, state: str) -> None:
            with lock:
                unlocked(module, sender, state)

        self.set = write
