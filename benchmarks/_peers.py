"""All who are compared."""

from typing import Final

from ._other_peers import Diskcache, Lmdb, Memory, Redis, Shelve, Sqlitedict
from ._peer import Durability, Peer
from ._sqlite_peers import BareSqlite, BareUnderFileLock, Ours, OursUncached

__all__ = ["FILE_LOCK", "OURS", "OURS_UNCACHED", "PEERS", "REDIS", "Durability", "Peer"]

OURS: Final[type[Peer]] = Ours
OURS_UNCACHED: Final[type[Peer]] = OursUncached
REDIS: Final[type[Peer]] = Redis
FILE_LOCK: Final[type[Peer]] = BareUnderFileLock
PEERS: Final[tuple[type[Peer], ...]] = (
    Ours,
    OursUncached,
    Memory,
    Shelve,
    BareSqlite,
    Diskcache,
    Sqlitedict,
    Lmdb,
    Redis,
)
