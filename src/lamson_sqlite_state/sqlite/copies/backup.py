"""Backup: copies a store to a file, while workers run."""

import contextlib
import os
import sqlite3
from contextlib import closing
from typing import Final, NamedTuple

from ...errors import NotAStateFile, StorageError
from ..bulk import scan
from ..bulk.callbacks import raising_through
from ..bulk.scan import Progress
from ..engine.connections import Connection
from ..engine.driver_errors import translated_errors
from ..engine.queries import first_row
from ..process import filesystem, new_files, remedies
from ..process.store_paths import StorePaths
from ..storage import ExistingStorage, SQLiteStorage
from . import atomic_file, snapshot

# Eight megabytes. A Ctrl-C is heard between two steps.
_STEP_PAGES: Final = 2_000


class Backup(NamedTuple):
    """A verified copy.

    Attributes:
        path: the absolute path of the copy.
        pairs: how many pairs the copy has.
        bytes: the size of the copy.
    """

    path: str
    pairs: int
    bytes: int


def backup(
    store: SQLiteStorage,
    destination: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress = scan.silent,
) -> Backup:
    """Copy a store to one file, as it is at one instant, and verify the copy.

    SQLite reads one snapshot of the store, while workers read and write. The copy has the owner and
    the mode of the store, and no log beside it, so it may be moved, and opened as a store. It gets
    its name once it is verified and on the disk. An interruption leaves what was there before. (A
    crash may leave a file beside it whose name ends in ``.unfinished``.)

    Another thread's ``os.fork`` waits until this returns. A signal handler must not fork meanwhile.

    Args:
        store: the store.
        destination: the path of the copy.
        overwrite: whether to replace a file that has this path already.
        progress: is told how many pages are copied, and how many there are.

    Raises:
        NoStore: there is no store to copy.
        StorageError: the destination exists, belongs to the store itself, is no regular file, or is
            a database in use; it cannot be written; or the copy is damaged. There is no copy then.
    """
    target = os.path.abspath(os.fsdecode(destination))
    _refuse(store.path, target, overwrite=overwrite)  # before the store is opened
    # The copy is read by a store of its own, because a signal handler may use the caller's store
    # in the middle of the work.
    with (
        ExistingStorage(store.path, timeout=store.timeout, cache_size=0) as source,
        raising_through(progress) as told,
    ):
        scan.count(source._handle)  # raises NoStore before anything is created
        with atomic_file.placed(target, overwrite=overwrite) as unfinished:
            pairs, size_bytes = _write(source, unfinished, target, told)
            _refuse_in_use(store.path, target)  # again, because it may be in use by now
    return Backup(target, pairs, size_bytes)


def is_of_store(path: str, store: str) -> bool:
    """Whether a path leads to a store or one of its files, or has the name of such a file.

    SQLite takes a file STORE-journal for the store's journal: it writes the content into the store
    and deletes the file.
    """
    if os.path.realpath(path) in StorePaths(os.path.realpath(store)).all:
        return True
    return filesystem.identity(path) == filesystem.identity(store) is not None


def _refuse(store: str, target: str, *, overwrite: bool) -> None:
    unfinished = new_files.unfinished_name(target)
    longest = max(unfinished, target, key=lambda name: len(os.fsencode(name)))
    filesystem.refuse_long_path(target, database=longest)
    _refuse_in_use(store, target)
    atomic_file.refuse(target, overwrite=overwrite)


def _refuse_in_use(store: str, target: str) -> None:
    if is_of_store(target, store):
        problem = "this belongs to the store itself"
        raise StorageError(problem, "give another path", target, code="in-use")
    # A program may use the file under its other name, if this one is a link.
    found = snapshot.journals(target) or snapshot.journals(os.path.realpath(target))
    if found:  # SQLite would replay it into the copy
        problem = (
            f"{os.path.basename(found[0])} stands beside it, so it is a database in use, or one "
            "that has crashed"
        )
        raise StorageError(problem, "give another path", target, code="in-use")


def _write(
    source: SQLiteStorage, unfinished: str, target: str, progress: Progress
) -> tuple[int, int]:
    """Write and verify the copy; return how many pairs it has, and its size in bytes."""
    try:
        os.close(new_files.create_like(unfinished, source.path))
        pairs = source._handle.run(lambda states: states.database.read(_copy, unfinished, progress))
        _verify(unfinished, pairs)
        new_files.sync_file(unfinished)
        return pairs, os.path.getsize(unfinished)
    except StorageError as error:
        if error.path == unfinished:
            raise type(error)(error.problem, error.remedy, target, code=error.code) from error
        raise
    except OSError as error:
        raise remedies.storage_error(error, target) from error


def _copy(connection: Connection, target: str, progress: Progress) -> int:
    def told(_status: int, remaining: int, total: int) -> None:
        # Synced step by step, because a sync of the whole file at the end would keep every write
        # waiting that a worker syncs then.
        try:
            os.fsync(on_disk.fileno())
        except OSError as error:
            raise remedies.storage_error(error, target) from error
        progress(total - remaining, total)

    # One snapshot for all steps, because SQLite's backup begins anew after another's write.
    connection.execute("BEGIN")
    try:
        (pairs,) = first_row(connection, "SELECT count(*) FROM states")
        # `on_disk` is closed last, because closing it drops all of SQLite's locks on the file.
        with (
            open(target, "rb") as on_disk,
            translated_errors(target),
            closing(snapshot.connect(target, "mode=rw")) as copy,
        ):
            connection.backup(copy, pages=_STEP_PAGES, progress=told, sleep=0)
            first_row(copy, "PRAGMA journal_mode = DELETE")  # one file, with no log
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
    return int(pairs)


def _verify(path: str, pairs: int) -> None:
    with translated_errors(path), closing(snapshot.opened_copy(path)) as copy:
        snapshot.refuse_damaged(copy, path)
        if first_row(copy, "SELECT count(*) FROM states") != (pairs,):
            problem = "the copy has not as many states as the store"
            raise NotAStateFile(problem, "try again", path, code="damaged")
