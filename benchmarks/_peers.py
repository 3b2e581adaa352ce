"""What people keep such states in today: one adapter each, with the two calls of a storage.

Each does what its documentation shows, at the durability it is asked for. What takes
a single key gets the one that Salmon's own storages use, ``repr([module, sender])``.
"""

import os
import shelve
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any, ClassVar, Final, Literal, TypeAlias

import diskcache
import lmdb
import redis
import sqlitedict
from filelock import FileLock
from salmon.routing import MemoryStorage, ShelveStorage

from lamson_sqlite_state import SQLiteStorage, _schema

from ._files import Pair, Synchronous, bare_connection, open_store

__all__ = ["FILE_LOCK", "OURS", "OURS_UNCACHED", "PEERS", "REDIS", "Durability", "Peer"]

Durability: TypeAlias = Literal["synced", "not synced"]

Settings: TypeAlias = Mapping[Durability, str | None]

_START: Final = "START"
_TIMEOUT_SECONDS: Final = 30.0
_SYNCHRONOUS: Final[Mapping[Durability, Synchronous]] = {"synced": "FULL", "not synced": "NORMAL"}


class Peer(ABC):
    """One way to keep states.

    Args:
        directory: where its files are, or will be.
        durability: what a `set` has reached when it returns: the disk, or the system's memory,
            where a crash of the process does not touch it.
        socket: of the Redis server that runs at this durability.
    """

    name: ClassVar[str]
    settings: ClassVar[Settings]
    """How it is set to each durability; None where it does not offer it."""

    get: Callable[[str, str], str]
    """The state of a pair, or START."""
    set: Callable[[str, str, str], None]
    meet: Callable[[str, str], str]
    """The state of a pair; if it is unknown, START is stored at one instant."""

    @abstractmethod
    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None: ...

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        """Store all of these, as fast as it can be done."""
        for module, sender in pairs:
            self.set(module, sender, state)

    @abstractmethod
    def close(self) -> None: ...


class _Ours(Peer):
    name = "lamson-sqlite-state"
    settings: ClassVar[Settings] = {
        "synced": "synchronous FULL",
        "not synced": "synchronous NORMAL",
    }
    cache_size: ClassVar = 65_536

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        path = os.path.join(directory, "states")
        self._store: SQLiteStorage = open_store(path, _SYNCHRONOUS[durability], self.cache_size)
        self.get = self.meet = self._store.get
        self.set = self._store.set

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        self.get(_START, _START)
        self._store.close()
        with closing(bare_connection(self._store.path, "NORMAL")) as connection:
            connection.execute("BEGIN")
            for module, sender in pairs:
                connection.execute(_schema.SET, (sender, module, state, 0))
            connection.execute("COMMIT")

    def close(self) -> None:
        self._store.close()


class _OursUncached(_Ours):
    name = "the same, cache off"
    cache_size = 0


class _Memory(Peer):
    name = "MemoryStorage"
    settings: ClassVar[Settings] = {"synced": None, "not synced": "none: a dict"}

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        storage = MemoryStorage()
        self.get = self.meet = storage.get
        self.set = storage.set

    def close(self) -> None:
        pass


class _Shelve(Peer):
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


class _BareSqlite(Peer):
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
        self._connection = connection = bare_connection(path, _SYNCHRONOUS[durability])
        execute = connection.execute

        def read(module: str, sender: str) -> str:
            row = execute(_schema.SELECT_STATE, (sender, module)).fetchone()
            return str(row[0]) if row else _START

        def meet(module: str, sender: str) -> str:
            row = execute(_schema.SELECT_STATE, (sender, module)).fetchone()
            if row:
                return str(row[0])
            execute(_schema.INSERT_START, (sender, module, time.time_ns() // 1_000_000))
            return read(module, sender)

        def write(module: str, sender: str, state: str) -> None:
            execute(_schema.SET, (sender, module, state, time.time_ns() // 1_000_000))

        self.get, self.meet, self.set = read, meet, write

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        self._connection.execute("BEGIN")
        super().fill(pairs, state)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class _BareUnderFileLock(_BareSqlite):
    """The obvious way to share it: filelock's lock with its default polling every 50 ms."""

    name = "sqlite3 under FileLock"

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        super().__init__(directory, durability, socket)
        lock = FileLock(os.path.join(directory, "by-hand.lock"), timeout=_TIMEOUT_SECONDS)
        unlocked = self.set

        def write(module: str, sender: str, state: str) -> None:
            with lock:
                unlocked(module, sender, state)

        self.set = write


class _Diskcache(Peer):
    name = "diskcache"
    settings: ClassVar[Settings] = {
        "synced": "sqlite_synchronous=2",
        "not synced": "sqlite_synchronous=1, its default",
    }

    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None:
        self._cache = cache = diskcache.Cache(
            os.path.join(directory, "diskcache"),
            timeout=_TIMEOUT_SECONDS,
            sqlite_synchronous={"synced": 2, "not synced": 1}[durability],
            eviction_policy="none",  # a state that is evicted would be lost
        )

        def read(module: str, sender: str) -> str:
            return str(cache.get(repr([module, sender]), _START))

        def meet(module: str, sender: str) -> str:
            key = repr([module, sender])
            state = cache.get(key)
            if state is None:
                cache.add(key, _START)
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


class _Sqlitedict(Peer):
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
        asked = _SYNCHRONOUS[durability]
        states.conn.execute(f"PRAGMA synchronous = {asked}")
        states.conn.execute(f"PRAGMA busy_timeout = {int(_TIMEOUT_SECONDS * 1e3)}")
        if states.conn.select_one("PRAGMA synchronous") != ({"FULL": 2, "NORMAL": 1}[asked],):
            raise RuntimeError("sqlitedict did not take the setting of its durability")

        def read(module: str, sender: str) -> str:
            return str(states.get(repr([module, sender]), _START))

        def meet(module: str, sender: str) -> str:
            return str(states.setdefault(repr([module, sender]), _START))

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


class _Lmdb(Peer):
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
            return _START if state is None else bytes(state).decode()

        def meet(module: str, sender: str) -> str:
            key = repr([module, sender]).encode()
            with environment.begin() as transaction:
                state = transaction.get(key)
            if state is None:
                with environment.begin(write=True) as transaction:
                    transaction.put(key, _START.encode(), overwrite=False)
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


class _Redis(Peer):
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
            return str(client.get(repr([module, sender])) or _START)

        def meet(module: str, sender: str) -> str:
            key = repr([module, sender])
            return str(client.get(key) or client.set(key, _START, nx=True, get=True) or _START)

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


OURS: Final[type[Peer]] = _Ours
OURS_UNCACHED: Final[type[Peer]] = _OursUncached
REDIS: Final[type[Peer]] = _Redis
FILE_LOCK: Final[type[Peer]] = _BareUnderFileLock
PEERS: Final[tuple[type[Peer], ...]] = (
    _Ours,
    _OursUncached,
    _Memory,
    _Shelve,
    _BareSqlite,
    _Diskcache,
    _Sqlitedict,
    _Lmdb,
    _Redis,
)
