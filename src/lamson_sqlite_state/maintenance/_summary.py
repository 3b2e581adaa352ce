"""Sums up a store: its states, its files, its limits, the version of SQLite."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple

from ..sqlite.coherence.cache import LOOK_SECONDS
from ..sqlite.engine.open_checks import WAL_LIMIT_BYTES
from ..sqlite.engine.states_table import CHECKPOINT_PAGES
from ..sqlite.process.store_paths import StorePaths
from ..sqlite.storage import SQLiteStorage
from ._counting import Count

# The versions of SQLite that have the WAL-reset race: from each first one up to the corrected one.
_RACING: Final = (((3, 7, 0), (3, 44, 6)), ((3, 45, 0), (3, 50, 7)), ((3, 51, 0), (3, 51, 3)))


class Files(NamedTuple):
    """The files of a store.

    Attributes:
        bytes: the size of each existing file, by its path.
    """

    bytes: dict[str, int]

    @property
    def total_bytes(self) -> int:
        """The size of all files together."""
        return sum(self.bytes.values())


class Limits(NamedTuple):
    """The limits that this process has for a store. Other processes may have others.

    Attributes:
        timeout_seconds: how long a call may wait for other writers.
        synchronous: "FULL" or "NORMAL".
        file_mode: the permissions of new files, as octal digits.
        cache_pairs: how many pairs each process keeps in memory at most.
        look_ms: how long another tool's edit may go unnoticed.
        checkpoint_pages: after how many pages SQLite copies the log into the database.
        log_bytes: to what size SQLite then truncates the log.
    """

    timeout_seconds: float
    synchronous: str
    file_mode: str
    cache_pairs: int
    look_ms: int
    checkpoint_pages: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Summary(Generic[Count]):
    """What is in a store, at a glance.

    Attributes:
        path: the database file.
        states: how many pairs of which module are in which state, sorted by module and state.
        pairs: how many pairs there are.
        senders: how many different senders there are.
        oldest_ms: since when the longest unchanged pair has been in its state (Unix time in ms);
            None if there is no pair.
        files: the sizes of all files.
        sqlite_version: the version of SQLite in this process.
        has_wal_reset_race: whether this SQLite can damage a database when one connection commits
            while another copies the log. This package's writers prevent that by their lock. Other
            programs that write to the file do not.
        limits: the limits that this process has.
    """

    path: str
    states: tuple[Count, ...]
    pairs: int
    senders: int
    oldest_ms: int | None
    files: Files
    sqlite_version: str
    has_wal_reset_race: bool
    limits: Limits


def summarize(store: SQLiteStorage, states: tuple[Count, ...], senders: int) -> Summary[Count]:
    """Return the counts together with the files and the limits of the store."""
    return Summary(
        path=store.path,
        states=states,
        pairs=sum(each.pairs for each in states),
        senders=senders,
        oldest_ms=min((each.oldest_ms for each in states), default=None),
        files=_files(store.path),
        sqlite_version=sqlite3.sqlite_version,
        has_wal_reset_race=has_wal_reset_race(),
        limits=_limits(store),
    )


def _files(path: str) -> Files:
    sizes: dict[str, int] = {}
    for file in (path, *StorePaths(path).companions):
        with contextlib.suppress(OSError):
            sizes[file] = os.path.getsize(file)
    return Files(sizes)


def _limits(store: SQLiteStorage) -> Limits:
    return Limits(
        timeout_seconds=float(store.timeout),
        synchronous=store._settings.synchronous,
        file_mode=f"{store._settings.file_mode:o}",
        cache_pairs=store._settings.cache_size,
        look_ms=round(LOOK_SECONDS * 1000),
        checkpoint_pages=CHECKPOINT_PAGES,
        log_bytes=WAL_LIMIT_BYTES,
    )


def has_wal_reset_race(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether a version of SQLite can corrupt a database that two processes write to.

    A commit and a checkpoint at the same instant can do that
    (https://www.sqlite.org/wal.html#walresetbug). This package cannot cause it, because all its
    commits and checkpoints take turns under the file lock. Other programs that write to the store
    can.

    Args:
        version: the three numbers of the version; by default, the SQLite of this process.
    """
    return any(first <= tuple(version[:3]) < corrected for first, corrected in _RACING)
