"""A copy of a store while workers run, and the way back."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final, NamedTuple
from urllib.parse import quote

from . import _batches, _creating, _filesystem, _rows, _schema, _sharing
from ._blame import is_ours
from ._existing import ExistingStorage
from ._queries import LongQuery
from ._row import RawRow
from ._rows import Progress, Where
from ._schema import first_row
from ._sharing import Connection
from ._sqlite_errors import NotNow, translated
from ._states import States
from ._store import Store
from .errors import LockTimeout, NoStore, NotAStateFile, StorageError

__all__ = ["Backup", "Restored", "backup", "is_of_store", "restore"]

# Eight megabytes at a time, after each of which a Ctrl-C is heard.
_STEP_PAGES: Final = 2_000

# For how long a copy may be locked by another program that writes to it.
_COPY_SECONDS: Final = 1.0

# A pair that has changed since the beginning is left alone. A time in the future is no sign of
# that: it comes from a clock that was wrong. Future is what is later than the writing, under the
# lock: what a worker has set a moment before is not.
_UNCHANGED: Final = "NOT since BETWEEN ? AND ?"
_ON_CONFLICT: Final = (
    f"DO UPDATE SET state = excluded.state, since = excluded.since WHERE {_UNCHANGED}"
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
    what was there before. (A crash may leave a file beside it whose name ends in ``.unfinished``.)

    Another thread's ``os.fork`` waits for the end; a signal handler must not fork meanwhile.

    Args:
        store: which.
        destination: the copy's path.
        overwrite: whether a file that is there is replaced.
        progress: told how many pages are copied.

    Raises:
        NoStore: there is no store to copy.
        StorageError: there is no copy: the destination is there already, is the store itself, no
            regular file, or in use as a database; it cannot be written; or the copy is damaged.
    """
    target = os.path.abspath(os.fsdecode(destination))
    _refuse_destination(store.path, target, overwrite=overwrite)
    # A store of its own: the caller's may be used by a signal handler in the middle of this.
    with ExistingStorage(store.path, timeout=store.timeout, cache_size=0) as source:
        source._call(_rows.run, "SELECT 1")  # or it is missing
        # A name that nobody else takes, and not too long a one.
        unfinished = os.path.join(
            os.path.dirname(target),
            f"{os.path.basename(target)[:32]}.{os.urandom(8).hex()}.unfinished",
        )
        try:
            os.close(_creating.create_like(unfinished, store.path))
            pairs = source._call(_copy, unfinished, progress)
            _verify(unfinished, pairs)
            _creating.sync_file(unfinished)
            size_bytes = os.path.getsize(unfinished)
            _refuse_destination(store.path, target, overwrite=overwrite)  # it may be in use by now
            _give_name(unfinished, target, overwrite=overwrite)
        except OSError as error:
            if isinstance(error, StorageError) or not is_ours(error):  # but of `progress`
                raise
            if isinstance(error, FileExistsError):  # it was put there meanwhile
                raise _exists(target) from error
            raise _filesystem.storage_error(error, target) from error
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(unfinished + suffix)
    return Backup(target, pairs, size_bytes)


def restore(
    store: Store,
    source: str | os.PathLike[str],
    *,
    progress: Progress = _rows.silent,
) -> Restored:
    """Give all pairs the states of a copy, under running workers, who see it at once.

    Done in batches, through SQLite. In the end it is as if all had been restored at the instant
    that it began, and what workers have changed since then came after: such changes stay. (A first
    ``get`` is one: it stores START.) In between, a reader may see one pair restored and another
    not yet. If it is interrupted, run it again, and all is as if restored at the instant that this
    run began.

    Args:
        store: the live one.
        source: the copy; it is verified first, and not changed.
        progress: told how many rows of both are looked at, and of how many.

    Raises:
        NoStore, NotAStateFile, StorageError: the copy is missing, damaged, newer than this package,
            or the store itself, or another program keeps it locked; nothing was written.
        StorageError: as every call; the batches before have been written.
    """
    start_ms = _next_ms()
    path = os.path.realpath(os.fsdecode(source))
    if _filesystem.identity(path) == _filesystem.identity(store.path) is not None:
        raise StorageError("this is the store itself: give the path of a copy", path)
    with _as_ours(path), closing(_opened_copy(path)) as copy:
        _refuse_damaged(copy, path)
        pairs = sum(map(len, _copy_pages(copy)))  # and all of them can be read
        of = pairs + _rows.count(store)
        written = removed = looked_at = 0
        for found in _copy_pages(copy):
            for batch in _batches.batches(found):
                there = set(store._call(_rows.read, _batches.of_keys(batch)))
                changed = [row for row in batch if row not in there]
                written += _batches.in_batches(
                    store, _batches.insert, changed, _ON_CONFLICT, start_ms, _batches.NOW
                )
                looked_at += len(batch)
                progress(looked_at, of)
        unchanged = Where(_UNCHANGED, (start_ms, _batches.NOW))
        for looked_at_here, found in _rows.pages(store):
            for batch in _batches.batches(found):
                keys = _batches.of_keys(batch)
                query = f"SELECT sender, module FROM states WHERE {keys.sql}"
                kept = set(copy.execute(query, keys.parameters))
                extra = [row for row in batch if row[:2] not in kept]
                removed += _batches.in_batches(store, _batches.delete, extra, unchanged)
            progress(min(looked_at + looked_at_here, of), of)
    return Restored(pairs, written, removed)


def is_of_store(path: str, store: str) -> bool:
    """Whether a path leads to a store, or to a file that stands beside it and belongs to it."""
    store = os.path.realpath(store)
    family = {store + suffix for suffix in ("", "-wal", "-shm", ".lock", ".versions")}
    found = _filesystem.identity(path)
    return os.path.realpath(path) in family or found == _filesystem.identity(store) is not None


def _next_ms() -> int:
    """Return the time (Unix time in ms) at the beginning of a millisecond.

    What was written before this was called has an earlier one, what comes after it a later or
    the same.
    """
    next_ms = time.time_ns() // 1_000_000 + 1
    while time.time_ns() // 1_000_000 < next_ms:
        time.sleep(0.0002)
    return next_ms


def _refuse_destination(store: str, target: str, *, overwrite: bool) -> None:
    if is_of_store(target, store):
        raise StorageError("this belongs to the store itself: give another path", target)
    if os.path.isdir(target):
        raise StorageError("this is a directory: give the path of a file in it", target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise StorageError("this is no regular file: give another path", target)
    for side_file in (f"{target}-wal", f"{target}-journal"):
        if os.path.lexists(side_file):
            # A log that is left there would be replayed into the copy.
            raise StorageError(
                f"{os.path.basename(side_file)} stands beside it, so it is a database in use, or "
                "one that has crashed: give another path",
                target,
            )
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)


def _exists(target: str) -> StorageError:
    return StorageError(
        "the file is there already: give another path, or overwrite it (--force)", target
    )


def _copy(states: States, target: str, progress: Progress) -> int:
    def work(connection: Connection) -> int:
        def told(_status: int, remaining: int, total: int) -> None:
            progress(total - remaining, total)

        connection.execute("BEGIN")  # one snapshot for all steps, or each write would start it anew
        try:
            (pairs,) = first_row(connection, "SELECT count(*) FROM states")
            with _as_ours(target), closing(_connect(target, "mode=rw")) as copy:
                connection.backup(copy, pages=_STEP_PAGES, progress=told, sleep=0)
                first_row(copy, "PRAGMA journal_mode = DELETE")  # one file, with no log
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        return int(pairs)

    return states.database.read(work)


def _verify(path: str, pairs: int) -> None:
    with _as_ours(path), closing(_opened_copy(path)) as copy:
        _refuse_damaged(copy, path)
        if first_row(copy, "SELECT count(*) FROM states") != (pairs,):
            raise NotAStateFile("the copy has not as many states as the store: try again", path)


def _refuse_damaged(copy: sqlite3.Connection, path: str) -> None:
    """Do nothing where this is a whole store.

    Raises:
        NotAStateFile, NoStore, SchemaTooNew: it is not.
    """
    copy.execute("PRAGMA trusted_schema = OFF")  # anybody may have put triggers and views into it
    copy.execute("BEGIN")  # all that is read is of one instant, should it be a store in use
    _schema.is_sound(copy, path)
    if not _schema.is_ours(copy):
        raise NoStore("this is an empty database: give the path of a copy", path)
    ((problem,),) = LongQuery(copy, "PRAGMA integrity_check(1)").rows()
    if problem != "ok":
        problem = " ".join(problem.split())  # it may have lines
        raise NotAStateFile(f"the copy is damaged ({problem}): use another one", path)


def _opened_copy(path: str) -> sqlite3.Connection:
    found = _filesystem.database_at(path)
    if found is None or found[1] == 0:
        problem = "no such file" if found is None else "this file is empty"
        raise NoStore(f"{problem}: give the path of a copy", path)
    # Without a log nobody has it open. Then it need not be locked, and may be on a read-only disk.
    is_at_rest = not os.path.lexists(f"{path}-wal") and not os.path.lexists(f"{path}-journal")
    # But by this process it may be about to be written.
    is_at_rest = is_at_rest and not _sharing.has_open(os.getpid(), found[0])
    mode = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    return _connect(path, mode)


def _connect(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?{mode}",
        uri=True,
        timeout=_COPY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _copy_pages(copy: sqlite3.Connection) -> Iterator[list[RawRow]]:
    cursor = copy.execute("SELECT sender, module, state, since FROM states ORDER BY sender, module")
    while found := cursor.fetchmany(_rows.CHUNK_ROWS):
        yield found


@contextlib.contextmanager
def _as_ours(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        ours = translated(error, path, is_writing=False)
        if isinstance(ours, NotNow):
            ours = LockTimeout(f"{ours.culprit}: end that program", path)
        raise ours from error


def _give_name(unfinished: str, target: str, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(unfinished, target)
    # Unlike a renaming, a link does not replace a file that was put there meanwhile.
    elif _creating.link_if_possible(unfinished, target):
        os.unlink(unfinished)
    else:
        # Nor does a new file, where the file system has one name for each.
        os.close(_creating.create_file(target, 0o600))
        try:
            os.replace(unfinished, target)
        except BaseException:
            os.unlink(target)
            raise
    _creating.sync_directory(os.path.dirname(target))
