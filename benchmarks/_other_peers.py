"""What else people keep such states in: each as its documentation shows.

What takes a single key gets the one that Salmon's own storages use, ``repr([module, sender])``.
"""

import os
import shelve
from collections.abc import Iterable
from typing import Any, ClassVar

import diskcache
import lmdb
import redis
import sqlitedict
from salmon.routing import MemoryStorage, ShelveStorage

from ._files import Pair
from ._peer import START, SYNCHRONOUS, TIMEOUT_SECONDS, Durability, Peer, Settings

__all__ = ["Diskcache", "Lmdb", "Memory", "Redis", "Shelve", "Sqlitedict"]


class Memory(Peer):
    name = "MemoryStorage"
    settings: ClassVar[Settings] = {"synced": None, "not synced": "none: a dict"}

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        storage = MemoryStorage()
        self.get = self.meet = storage.get
        self.set = storage.set

    def close(self) -> None:
        pass


class Shelve(Peer):
    name = "ShelveStorage"
    settings: ClassVar[Settings] = {"synced": None, "not synced": "closed after each call"}

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        self._path = os.path.join(directory, "shelf")
        storage = ShelveStorage(self._path)
        self.get = self.meet = storage.get
        self.set = storage.set

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        with shelve.open(self._path) as shelf:
            for module, sender in pairs:
                # As ShelveStorage.get and set make it.
                shelf[repr([module.encode("ascii"), sender])] = state

    def close(self) -> None:
        pass


class Diskcache(Peer):
    name = "diskcache"
    settings: ClassVar[Settings] = {
        "synced": "sqlite_synchronous=2",
        "not synced": "sqlite_synchronous=1, its default",
    }

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        self._cache = cache = diskcache.Cache(
            os.path.join(directory, "diskcache"),
            timeout=TIMEOUT_SECONDS,
            sqlite_synchronous={"synced": 2, "not synced": 1}[durability],
            eviction_policy="none",  # a state that is evicted would be lost
        )

        def read(module: str, sender: str) -> str:
            return str(cache.get(repr([module, sender]), START))

        def meet(module: str, sender: str) -> str:
            key = repr([module, sender])
            state = cache.get(key)
            if state is None:
                cache.add(key, START)
                state = cache.get(key)
            return str(state)

        def write(module: str, sender: str, state: str) -> None:
            cache.set(repr([module, sender]), state, retry=True)

        self.get, self.meet, self.set = read, meet, write

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        with self._cache.transact():
            super().fill(pairs, state)

    def close(self) -> None:
        self._cache.close()


class Sqlitedict(Peer):
    """It has SQLite in a thread; with autocommit, a write returns when that has committed it."""

    name = "sqlitedict"
    # It sends "PRAGMA synchronous=OFF" itself, with which nothing is ever synced.
    settings: ClassVar[Settings] = {
        "synced": "autocommit, WAL, and PRAGMA synchronous=FULL sent over its connection",
        "not synced": "autocommit, WAL, and PRAGMA synchronous=NORMAL sent over its connection",
    }

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        self._states = states = sqlitedict.SqliteDict(
            os.path.join(directory, "sqlitedict"),
            autocommit=True,
            journal_mode="WAL",
            outer_stack=False,
        )
        asked = SYNCHRONOUS[durability]
        states.conn.execute(f"PRAGMA synchronous = {asked}")
        states.conn.execute(f"PRAGMA busy_timeout = {int(TIMEOUT_SECONDS * 1e3)}")
        if states.conn.select_one("PRAGMA synchronous") != ({"FULL": 2, "NORMAL": 1}[asked],):
            raise RuntimeError("sqlitedict did not take the setting of its durability")

        def read(module: str, sender: str) -> str:
            return str(states.get(repr([module, sender]), START))

        def meet(module: str, sender: str) -> str:
            return str(states.setdefault(repr([module, sender]), START))

        def write(module: str, sender: str, state: str) -> None:
            states[repr([module, sender])] = state

        self.get, self.meet, self.set = read, meet, write

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        self._states.conn.execute("BEGIN")
        for module, sender in pairs:
            self._states.conn.execute(
                f'REPLACE INTO "{self._states.tablename}" (key, value) VALUES (?, ?)',
                (repr([module, sender]), self._states.encode(state)),
            )
        self._states.commit()

    def close(self) -> None:
        self._states.close()


class Lmdb(Peer):
    name = "LMDB"
    settings: ClassVar[Settings] = {
        "synced": "sync=True",
        "not synced": "sync=False, metasync=False; a power cut may damage the file",
    }

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        is_synced = durability == "synced"
        self._environment = environment = lmdb.open(
            os.path.join(directory, "lmdb"), map_size=1 << 30, sync=is_synced, metasync=is_synced
        )

        def read(module: str, sender: str) -> str:
            with environment.begin() as transaction:
                state = transaction.get(repr([module, sender]).encode())
            return START if state is None else bytes(state).decode()

        def meet(module: str, sender: str) -> str:
            key = repr([module, sender]).encode()
            with environment.begin() as transaction:
                state = transaction.get(key)
            if state is None:
                with environment.begin(write=True) as transaction:
                    transaction.put(key, START.encode(), overwrite=False)
                    state = transaction.get(key)
            return bytes(state or b"").decode()

        def write(module: str, sender: str, state: str) -> None:
            with environment.begin(write=True) as transaction:
                transaction.put(repr([module, sender]).encode(), state.encode())

        self.get, self.meet, self.set = read, meet, write

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        with self._environment.begin(write=True) as transaction:
            for module, sender in pairs:
                transaction.put(repr([module, sender]).encode(), state.encode())

    def close(self) -> None:
        self._environment.close()


class Redis(Peer):
    """A server on the same machine, over a Unix socket."""

    name = "Redis"
    settings: ClassVar[Settings] = {
        "synced": "appendfsync always",
        "not synced": "appendfsync everysec",
    }

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        self._client: Any = redis.Redis(unix_socket_path=socket, decode_responses=True)
        client = self._client

        def read(module: str, sender: str) -> str:
            return str(client.get(repr([module, sender])) or START)

        def meet(module: str, sender: str) -> str:
            key = repr([module, sender])
            return str(client.get(key) or client.set(key, START, nx=True, get=True) or START)

        def write(module: str, sender: str, state: str) -> None:
            client.set(repr([module, sender]), state)

        self.get, self.meet, self.set = read, meet, write

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for module, sender in pairs:
            pipeline.set(repr([module, sender]), state)
        pipeline.execute()

    def close(self) -> None:
        self._client.close()
