"""A store at a glance: the states, the files, the limits, the version of SQLite."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple

from ..sqlite.coherence.cache import LOOK_SECONDS
from ..sqlite.engine.open_checks import WAL_LIMIT_BYTES
from ..sqlite.engine.table import CHECKPOINT_PAGES
from ..sqlite.process.filesystem import SIDE_FILES
from ..sqlite.storage import SQLiteStorage
from ._counting import Count

# The versions of SQLite with the WAL-reset race: each range ends before the version that has it
# corrected.
_RACING: Final = (((3, 7, 0), (3, 44, 6)), ((3, 45, 0), (3, 50, 7)), ((3, 51, 0), (3, 51, 3)))


class Files(NamedTuple):
    """What stands on the disk.

    Attributes:
        bytes: the size of each file that is there, by its path.
    """

    bytes: dict[str, int]

    @property
    def total_bytes(self) -> int:
        """The size of all together."""
        return sum(self.bytes.values())


class Limits(NamedTuple):
    """The limits that are in force for the store that was asked; other processes may have others.

    Attributes:
        timeout_seconds: how long a call may wait for other writers.
        synchronous: "FULL" or "NORMAL".
        file_mode: permissions of new files, as octal digits.
        cache_pairs: how many pairs at most each process keeps in memory.
        look_ms: for how long another tool's edit may go unnoticed.
        checkpoint_pages: after how many pages the log is copied into the database.
        log_bytes: to what size the log is cut back then.
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
        path: the file.
        states: how many pairs of which module are in which state, by module and state.
        pairs: how many there are in all.
        senders: how many different ones.
        oldest_ms: since when the one has been in its state that has been longest (Unix time in ms);
            None without any.
        files: the sizes of all files.
        sqlite_version: of the library in this process.
        has_wal_reset_race: whether that one can damage a database in which one connection commits
            while another copies the log. This package's writers keep that from happening, by
            their lock; other programs that write to the file do not.
        limits: see there.
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
    """Add to the counts what the files and the arguments of a store tell."""
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
    for suffix in ("", *SIDE_FILES):
        with contextlib.suppress(OSError):
            sizes[path + suffix] = os.stat(path + suffix).st_size
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
    """Whether a version of SQLite can corrupt a database that it checkpoints in two processes.

    A commit and a checkpoint at one instant can do that (https://www.sqlite.org/wal.html#walresetbug).
    This package cannot cause it, because all its commits and checkpoints take turns under the file
    lock. Other programs that write to the store can.

    Args:
        version: its three numbers; by default those of the SQLite that Python uses here.
    """
    return any(first <= tuple(version[:3]) < corrected for first, corrected in _RACING)
