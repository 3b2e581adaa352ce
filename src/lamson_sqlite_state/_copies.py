"""A copy of a store while workers run, and the way back."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple
from urllib.parse import quote

from . import _filesystem, _rows, _schema, _sharing
from ._existing import ExistingStorage
from ._onlooker import patiently
from ._row import RawRow
from ._rows import Progress, Where
from ._schema import first_row
from ._sharing import Connection
from ._sqlite_errors import translated
from ._states import States
from ._store import Store
from .errors import NoStore, NotAStateFile, StorageError

__all__ = ["Backup", "Restored", "backup", "restore"]

# Eight megabytes at a time, after each of which a Ctrl-C is heard.
_STEP_PAGES: Final = 2_000

# A pair that has changed since the beginning is left alone. A time in the future is no sign of
# that: it comes from a clock that was wrong.
_ON_CONFLICT: Final = (
    "DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE (state <> excluded.state OR since <> excluded.since)"
    " AND NOT since BETWEEN ? AND ?"
)


class Backup(NamedTuple):
    """A verified copy.

    Attributes:
        path: where it is.
        pairs: how many there are in it.
        bytes: its size.
    """

    path: str
    pairs: int
    bytes: int


class Restored(NamedTuple):
    """What a restore has changed.

    Attributes:
        pairs: how many there are in the copy.
        written: how many pairs were given their state, or the time of it, from the copy.
        removed: how many pairs that are not in the copy were removed.
    """

    pairs: int
    written: int
    removed: int


def backup(
    store: Store,
    destination: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress = _rows.silent,
) -> Backup:
    """Copy a store to one file, as it is at one instant, and verify the copy.

    SQLite's backup reads one snapshot of the store; workers read and write meanwhile. The copy has
    no log beside it: it may be moved, and opened as a store. It has the owner and the mode of the
    store. Only once it is verified and on the disk does it get its name: an interruption leaves
    what was there before.

    Another thread's ``os.fork`` waits for the end; a signal handler must not fork meanwhile.

    Args:
        store: which.
        destination: the copy's path.
        overwrite: whether a file that is there is replaced.
        progress: told how many pages are copied.

    Raises:
        StorageError: there is no copy: the destination is there already, is the store itself, or is
            in use as a database; it cannot be written; or the copy is damaged.
    """
    _rows.count(store)  # whether there is one is told before anything is made
    target = os.path.abspath(os.fsdecode(destination))
    _refuse_destination(store.path, target, overwrite=overwrite)
    unfinished = f"{target}.{os.getpid()}.unfinished"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
        os.close(_filesystem.create_like(unfinished, store.path))
        # A store of its own: the caller's may be used by a signal handler in the middle of this.
        with ExistingStorage(store.path, timeout=store.timeout, cache_size=0) as source:
            pairs = source._call(_copy, unfinished, progress)
        _verify(unfinished, pairs)
        _filesystem.sync_file(unfinished)
        _give_name(unfinished, target, overwrite=overwrite)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise _filesystem.storage_error(error, error.filename or target) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    return Backup(target, pairs, os.path.getsize(target))


def restore(
    store: Store,
    source: str | os.PathLike[str],
    *,
    progress: Progress = _rows.silent,
) -> Restored:
    """Give all pairs the states of a copy, under running workers, who see it at once.

    Done in batches, through SQLite. In the end it is as if all had been restored at the instant
    that it began, and what workers have changed since then came after: such changes stay. In
    between, a reader may see one pair restored and another not yet. If it is interrupted, run it
    again.

    Args:
        store: the live one.
        source: the copy; it is verified first, and not changed.
        progress: told how many rows of both are looked at, and of how many.

    Raises:
        NoStore, NotAStateFile, StorageError: the copy is missing, damaged, newer than this package,
            or the store itself; nothing was written.
        StorageError: as every call; the batches before have been written.
    """
    start_ms = time.time_ns() // 1_000_000
    path = os.path.realpath(os.fsdecode(source))
    if _filesystem.identity(path) == _filesystem.identity(store.path) is not None:
        raise StorageError("this is the store itself: give the path of a copy", path)
    with closing(_opened_copy(path)) as copy, _as_ours(path):
        _refuse_damaged(copy, path)
        (pairs,) = first_row(copy, "SELECT count(*) FROM states")
        of = pairs + _rows.count(store)
        written = removed = looked_at = 0
        for found in _copy_pages(copy):
            looked_at += len(found)
            there = set(store._call(_rows.read, _range(found)))
            changed = [row for row in found if row not in there]
            written += _rows.in_batches(
                store, _rows.insert, changed, _ON_CONFLICT, start_ms, _now_ms()
            )
            progress(looked_at, of)
        for chunk in _rows.chunks(store):
            old = chunk.where.and_("NOT since BETWEEN ? AND ?", start_ms, _now_ms())
            query = f"SELECT sender, module FROM states WHERE {chunk.where.sql}"
            kept = set(copy.execute(query, chunk.where.parameters))
            extra = [row for row in store._call(_rows.read, old) if row[:2] not in kept]
            removed += _rows.in_batches(store, _rows.delete, extra, old)
            looked_at += chunk.rows
            progress(min(looked_at, of), of)
    return Restored(pairs, written, removed)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _refuse_destination(store: str, target: str, *, overwrite: bool) -> None:
    family = {store + suffix for suffix in ("", "-wal", "-shm", ".lock", ".versions")}
    found = _filesystem.identity(target)
    if os.path.realpath(target) in family or found == _filesystem.identity(store) is not None:
        raise StorageError("this belongs to the store itself: give another path", target)
    if os.path.isdir(target):
        raise StorageError("this is a directory: give the path of a file in it", target)
    for side_file in (f"{target}-wal", f"{target}-journal"):
        if os.path.lexists(side_file):
            # A log that is left there would be replayed into the copy.
            raise StorageError(
                f"{os.path.basename(side_file)} stands beside it, so it is a database in use, or "
                "one that has crashed: give another path",
                target,
            )
    if os.path.lexists(target) and not overwrite:
        raise StorageError(
            "the file is there already: give another path, or overwrite it (--force)", target
        )


def _copy(states: States, target: str, progress: Progress) -> int:
    def work(connection: Connection) -> int:
        def told(_status: int, remaining: int, total: int) -> None:
            progress(total - remaining, total)

        connection.execute("BEGIN")  # one snapshot for all steps, or each write would start it anew
        try:
            (pairs,) = first_row(connection, "SELECT count(*) FROM states")
            with closing(sqlite3.connect(target, isolation_level=None)) as copy, _as_ours(target):
                connection.backup(copy, pages=_STEP_PAGES, progress=told, sleep=0)
                first_row(copy, "PRAGMA journal_mode = DELETE")  # one file, with no log
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        return int(pairs)

    return states.database.read(work)


def _verify(path: str, pairs: int) -> None:
    with closing(_opened_copy(path)) as copy, _as_ours(path):
        _refuse_damaged(copy, path)
        if first_row(copy, "SELECT count(*) FROM states") != (pairs,):
            raise NotAStateFile("the copy has not as many states as the store: try again", path)


def _refuse_damaged(copy: sqlite3.Connection, path: str) -> None:
    """Do nothing where this is a whole store.

    Raises:
        NotAStateFile, NoStore, SchemaTooNew: it is not.
    """
    _schema.is_sound(copy, path)
    if not _schema.is_ours(copy):
        raise NoStore("this is an empty database: give the path of a copy", path)
    ((problem,),) = patiently(copy, "PRAGMA integrity_check(1)", lambda: None)
    if problem != "ok":
        raise NotAStateFile(f"the copy is damaged ({problem}): use another one", path)


def _opened_copy(path: str) -> sqlite3.Connection:
    found = _filesystem.database_at(path)
    if found is None or found[1] == 0:
        problem = "no such file" if found is None else "this file is empty"
        raise NoStore(f"{problem}: give the path of a copy", path)
    # Without a log nobody has it open. Then it need not be locked, and may be on a read-only disk.
    is_at_rest = not os.path.lexists(f"{path}-wal") and not os.path.lexists(f"{path}-journal")
    # Closing it unlocked would drop the locks of any other connection here: see _sharing.
    is_at_rest = is_at_rest and not _sharing.has_open(os.getpid(), found[0])
    mode = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    try:
        return sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?{mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    except sqlite3.Error as error:
        raise translated(error, path, is_writing=False) from error


def _copy_pages(copy: sqlite3.Connection) -> Iterator[list[RawRow]]:
    cursor = copy.execute("SELECT sender, module, state, since FROM states ORDER BY sender, module")
    while found := cursor.fetchmany(_rows.CHUNK_ROWS):
        yield found


def _range(rows: list[RawRow]) -> Where:
    # Of senders, so that it is in the order of the primary key.
    return Where("sender BETWEEN ? AND ?", (rows[0][0], rows[-1][0]))


@contextlib.contextmanager
def _as_ours(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path, is_writing=False) from error


def _give_name(unfinished: str, target: str, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(unfinished, target)
    else:
        # Unlike a renaming, this does not replace a file that was put there meanwhile.
        os.link(unfinished, target)
        os.unlink(unfinished)
    _filesystem.sync_directory(os.path.dirname(target))
