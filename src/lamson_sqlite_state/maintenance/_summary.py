"""How many senders are in which state: counted in one pass over the table, in SQLite."""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from ..keys.rows import key_of_column, row_of
from ..sqlite.bulk import scan
from ..sqlite.bulk.scan import Columns, Progress, Where
from ..sqlite.coherence.cache import LOOK_SECONDS
from ..sqlite.engine.open_checks import WAL_LIMIT_BYTES
from ..sqlite.engine.queries import fetch
from ..sqlite.engine.table import CHECKPOINT_PAGES, StatesTable
from ..sqlite.process.filesystem import SIDE_FILES
from ..sqlite.storage import SQLiteStorage
from .excerpts import COUNTED, Excerpt, counted_of
from .selection import EVERY_ROW, Selection

# Of so many rows at a time, that a Ctrl-C need not wait for long.
_CHUNK_ROWS: Final = 100_000

# A temporary table of the connection's own. An upsert finds a row's group in its tree; GROUP BY
# would sort all rows first, which takes twice as long.
_MAKE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS {table}"
    " ({names}, pairs, oldest, newest, PRIMARY KEY ({names})) WITHOUT ROWID"
)
_EMPTY: Final = "DELETE FROM temp.{table}"
_COUNT: Final = (
    "INSERT INTO temp.{table} SELECT {columns}, 1, since, since FROM main.states"
    " WHERE {where} ON CONFLICT ({names}) DO UPDATE SET pairs = pairs + 1,"
    " oldest = min(oldest, excluded.oldest), newest = max(newest, excluded.newest)"
)
_READ: Final = "SELECT {names}, pairs, oldest, newest FROM temp.{table}"

_WHOLE: Final = Columns("module, state", ("module", "state"))
_TABLES: Final = {_WHOLE: "state_counts", COUNTED: "excerpt_counts"}

# The versions of SQLite with the WAL-reset race: each range up to the one that was corrected.
_RACING: Final = (((3, 7, 0), (3, 44, 6)), ((3, 45, 0), (3, 50, 7)), ((3, 51, 0), (3, 51, 3)))


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


class CountExcerpt(NamedTuple):
    """A `StateCount` for a screen: of a long module or state, only its ends."""

    module: Excerpt
    state: Excerpt
    pairs: int
    oldest_ms: int
    newest_ms: int


Count = TypeVar("Count", StateCount, CountExcerpt)


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


def summary(store: SQLiteStorage, progress: Progress = scan.silent) -> Summary[StateCount]:
    """Count what is in a store.

    Each row is counted as it was at some moment of the counting: a million rows take two thirds
    of a second (benchmarks/results/operator.md). Nobody is held up by it.

    Args:
        store: which.
        progress: told how many rows are counted.

    Raises:
        StorageError: as every call.
    """
    return _summary(store, count_states(store, progress=progress))


def summary_excerpts(
    store: SQLiteStorage, progress: Progress = scan.silent
) -> Summary[CountExcerpt]:
    """Do as `summary` for a screen: see `count_excerpts`."""
    return _summary(store, count_excerpts(store, progress=progress))


def _summary(store: SQLiteStorage, states: tuple[Count, ...]) -> Summary[Count]:
    senders = 0
    for chunk in scan.chunks(store._handle, _CHUNK_ROWS):
        where = chunk.where
        sql = f"SELECT count(DISTINCT sender) FROM states WHERE {where.sql}"
        ((found,),) = store._handle.run(scan.run, sql, where.parameters)
        senders += found
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


def count_states(
    store: SQLiteStorage, selection: Selection = EVERY_ROW, progress: Progress = scan.silent
) -> tuple[StateCount, ...]:
    """Count the pairs that are meant, per module and state, and by these. See `summary`.

    Raises:
        NotAStateFile: another tool has put in what no store writes.
        StorageError: as every call.
    """
    counts = _counts(store, selection, progress, _WHOLE)
    return tuple(
        StateCount(key_of_column(key[0], store.path), key[1], *counts[key])
        for key in sorted(counts, key=_order)
    )


def count_excerpts(
    store: SQLiteStorage, selection: Selection = EVERY_ROW, progress: Progress = scan.silent
) -> tuple[CountExcerpt, ...]:
    """Do as `count_states` for a screen: of modules and states of more than 4 KiB, read the ends.

    Those that have the same ends and the same length are counted as one.
    """
    counts = _counts(store, selection, progress, COUNTED)
    return tuple(
        CountExcerpt(*counted_of(key, store.path), *counts[key])
        for key in sorted(counts, key=_order)
    )


def _counts(
    store: SQLiteStorage, selection: Selection, progress: Progress, columns: Columns
) -> dict[tuple[Any, ...], tuple[int, int, int]]:
    where = selection.where
    counts: dict[tuple[Any, ...], tuple[int, int, int]] = {}
    looked_at = 0
    for chunk in scan.chunks(store._handle, _CHUNK_ROWS):
        condition = chunk.where.and_(where.sql, *where.parameters)
        for *names, pairs, oldest, newest in store._handle.run(_count_chunk, columns, condition):
            # Of the beginning of a module, which is no literal, the end comes third.
            module = "" if any(names[2:3]) else names[0]
            for since in (oldest, newest):
                row_of(("", module, names[1], since), store.path)  # or no store has written it
            key = tuple(names)
            others, older, newer = counts.get(key, (0, oldest, newest))
            counts[key] = others + pairs, min(oldest, older), max(newest, newer)
        looked_at += chunk.rows
        progress(looked_at, None)
    return counts


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return type(key[0]) is bytes, *key


def _files(path: str) -> Files:
    sizes: dict[str, int] = {}
    for suffix in ("", *SIDE_FILES):
        with contextlib.suppress(OSError):
            sizes[path + suffix] = os.stat(path + suffix).st_size
    return Files(sizes)


def _count_chunk(states: StatesTable, columns: Columns, where: Where) -> list[Any]:
    parts = {
        "table": _TABLES[columns],
        "names": ", ".join(columns.names),
        "columns": columns.sql,
        "where": where.sql,
    }
    statements = [each.format(**parts) for each in (_MAKE, _EMPTY, _COUNT, _READ)]
    return states.database.read(fetch, statements, ((), (), where.parameters, ()))


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
