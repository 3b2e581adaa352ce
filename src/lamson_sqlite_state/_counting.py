"""How many senders are in which state: counted in one pass over the table, in SQLite."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from . import _rows
from ._filesystem import SIDE_FILES
from ._open_file import LOOK_SECONDS
from ._opening import WAL_LIMIT_BYTES
from ._queries import fetch
from ._row import key_of_column, row_of
from ._rows import Progress, Where
from ._selection import EVERY_ROW, Selection
from ._states import CHECKPOINT_PAGES, States
from ._store import Store
from ._wal_reset import has_wal_reset_race

__all__ = ["Files", "Limits", "StateCount", "Summary", "count_states", "file_sizes", "summary"]

# Of so many rows at a time, that a Ctrl-C need not wait for long.
_CHUNK_ROWS: Final = 100_000

# A temporary table of the connection's own. An upsert finds a row's group in its tree; GROUP BY
# would sort all rows first, which takes twice as long.
_MAKE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS state_counts"
    " (module, state, pairs, oldest, newest, PRIMARY KEY (module, state)) WITHOUT ROWID"
)
_EMPTY: Final = "DELETE FROM temp.state_counts"
_COUNT: Final = (
    "INSERT INTO temp.state_counts SELECT module, state, 1, since, since FROM main.states"
    " WHERE {where} ON CONFLICT (module, state) DO UPDATE SET pairs = pairs + 1,"
    " oldest = min(oldest, excluded.oldest), newest = max(newest, excluded.newest)"
)
_READ: Final = "SELECT module, state, pairs, oldest, newest FROM temp.state_counts"


class StateCount(NamedTuple):
    """The pairs of one module that are in one state.

    Attributes:
        module: as it was given to the store.
        state: theirs.
        pairs: how many.
        oldest_ms: since when the first of them has been in this state (Unix time in ms).
        newest_ms: likewise the last.
    """

    module: object
    state: str
    pairs: int
    oldest_ms: int
    newest_ms: int


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
class Summary:
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
    states: tuple[StateCount, ...]
    pairs: int
    senders: int
    oldest_ms: int | None
    files: Files
    sqlite_version: str
    has_wal_reset_race: bool
    limits: Limits


def summary(store: Store, progress: Progress = _rows.silent) -> Summary:
    """Count what is in a store.

    Each row is counted as it was at some moment of the counting: a million rows take two thirds
    of a second (benchmarks/results/operator.md). Nobody is held up by it.

    Args:
        store: which.
        progress: told how many rows are counted.

    Raises:
        StorageError: as every call.
    """
    states = count_states(store, progress=progress)
    senders = 0
    for chunk in _rows.chunks(store, _CHUNK_ROWS):
        where = chunk.where
        sql = f"SELECT count(DISTINCT sender) FROM states WHERE {where.sql}"
        ((found,),) = store._call(_rows.run, sql, where.parameters)
        senders += found
    return Summary(
        path=store.path,
        states=states,
        pairs=sum(each.pairs for each in states),
        senders=senders,
        oldest_ms=min((each.oldest_ms for each in states), default=None),
        files=file_sizes(store.path),
        sqlite_version=sqlite3.sqlite_version,
        has_wal_reset_race=has_wal_reset_race(),
        limits=_limits(store),
    )


def count_states(
    store: Store, selection: Selection = EVERY_ROW, progress: Progress = _rows.silent
) -> tuple[StateCount, ...]:
    """Count the pairs that are meant, per module and state, and by these. See `summary`.

    Raises:
        NotAStateFile: another tool has put in what no store writes.
        StorageError: as every call.
    """
    where = selection.where
    counts: dict[tuple[str | bytes, str], tuple[int, int, int]] = {}
    looked_at = 0
    for chunk in _rows.chunks(store, _CHUNK_ROWS):
        condition = chunk.where.and_(where.sql, *where.parameters)
        for module, state, *numbers in store._call(_count_chunk, condition):
            pairs, oldest, newest = numbers
            for since in (oldest, newest):
                row_of(("", module, state, since), store.path)  # or no store has written it
            if (module, state) in counts:
                others, older, newer = counts[module, state]
                pairs, oldest, newest = pairs + others, min(oldest, older), max(newest, newer)
            counts[module, state] = pairs, oldest, newest
        looked_at += chunk.rows
        progress(looked_at, None)
    return tuple(
        StateCount(key_of_column(module, store.path), state, *counts[module, state])
        for module, state in sorted(counts, key=lambda key: (type(key[0]) is bytes, *key))
    )


def file_sizes(path: str) -> Files:
    """Return the sizes of a database and of all that stands beside it and belongs to it."""
    sizes: dict[str, int] = {}
    for suffix in ("", *SIDE_FILES):
        with contextlib.suppress(OSError):
            sizes[path + suffix] = os.stat(path + suffix).st_size
    return Files(sizes)


def _count_chunk(states: States, where: Where) -> list[Any]:
    count = _COUNT.format(where=where.sql)
    return states.database.read(
        fetch, (_MAKE, _EMPTY, count, _READ), ((), (), where.parameters, ())
    )


def _limits(store: Store) -> Limits:
    arguments = store.__getstate__()
    return Limits(
        timeout_seconds=float(str(arguments["timeout"])),
        synchronous=str(arguments["synchronous"]),
        file_mode=f"{arguments['file_mode']:o}",
        cache_pairs=int(str(arguments["cache_size"])),
        look_ms=round(LOOK_SECONDS * 1000),
        checkpoint_pages=CHECKPOINT_PAGES,
        log_bytes=WAL_LIMIT_BYTES,
    )
