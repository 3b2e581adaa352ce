"""A copy of a store while workers run."""

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
from ..engine.table import StatesTable
from ..process import filesystem, new_files, remedies
from ..storage import ExistingStorage, SQLiteStorage
from . import atomic_file
from .snapshot import connect, opened_copy, refuse_damaged

# Eight megabytes at a time, after each of which a Ctrl-C is heard.
_STEP_PAGES: Final = 2_000


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


def backup(
    store: SQLiteStorage,
    destination: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress = scan.silent,
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
    unfinished_name = new_files.unfinished_name(target)
    longest = max(unfinished_name, target, key=lambda name: len(os.fsencode(name)))
    filesystem.refuse_long_path(target, database=longest)
    _refuse_in_use(store.path, target)
    atomic_file.refuse(target, overwrite=overwrite)  # before the store is opened
    # A store of its own: the caller's may be used by a signal handler in the middle of this.
    with (
        ExistingStorage(store.path, timeout=store.timeout, cache_size=0) as source,
        raising_through(progress) as told,
    ):
        source._handle.run(scan.run, "SELECT 1")  # or it is missing
        with atomic_file.placed(target, overwrite=overwrite) as unfinished:
            try:
                os.close(new_files.create_like(unfinished, store.path))
                pairs = source._handle.run(_copy, unfinished, told)
                _verify(unfinished, pairs)
                new_files.sync_file(unfinished)
                size_bytes = os.path.getsize(unfinished)
            except StorageError as error:
                if error.path != unfinished:
                    raise
                raise type(error)(error.problem, error.remedy, target, code=error.code) from error
            except OSError as error:
                raise remedies.storage_error(error, target) from error
            _refuse_in_use(store.path, target)  # as it may be by now
    return Backup(target, pairs, size_bytes)


def is_of_store(path: str, store: str) -> bool:
    """Whether a path leads to a store, or to what belongs to it, or would be taken for that.

    SQLite takes a file that is called STORE-journal for the store's, writes it back and deletes it.
    """
    store = os.path.realpath(store)
    names = ("", *filesystem.SIDE_FILES, *filesystem.MAKESHIFT_FILES, "-journal")
    family = {store + suffix for suffix in names}
    found = filesystem.identity(path)
    return os.path.realpath(path) in family or found == filesystem.identity(store) is not None


def _refuse_in_use(store: str, target: str) -> None:
    if is_of_store(target, store):
        problem = "this belongs to the store itself"
        raise StorageError(problem, "give another path", target, code="in-use")
    # Also of what a link leads to: who uses it under this name would go on there.
    for name in (target, os.path.realpath(target)):
        for side_file in (f"{name}-wal", f"{name}-journal"):
            if not os.path.lexists(side_file):
                continue
            # A log that is left there would be replayed into the copy.
            problem = (
                f"{os.path.basename(side_file)} stands beside it, so it is a database in use, or "
                "one that has crashed"
            )
            raise StorageError(problem, "give another path", target, code="in-use")


def _copy(states: StatesTable, target: str, progress: Progress) -> int:
    def work(connection: Connection) -> int:
        def told(_status: int, remaining: int, total: int) -> None:
            # Or the whole file would be left to the end, and every write that a worker syncs then
            # would wait for it.
            try:
                os.fsync(on_disk.fileno())
            except OSError as error:
                raise remedies.storage_error(error, target) from error
            progress(total - remaining, total)

        connection.execute("BEGIN")  # one snapshot for all steps, or each write would start it anew
        try:
            (pairs,) = first_row(connection, "SELECT count(*) FROM states")
            # Closing a file drops the locks of a connection to it: this one is closed after that.
            with (
                open(target, "rb") as on_disk,
                translated_errors(target),
                closing(connect(target, "mode=rw")) as copy,
            ):
                connection.backup(copy, pages=_STEP_PAGES, progress=told, sleep=0)
                first_row(copy, "PRAGMA journal_mode = DELETE")  # one file, with no log
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        return int(pairs)

    return states.database.read(work)


def _verify(path: str, pairs: int) -> None:
    with translated_errors(path), closing(opened_copy(path)) as copy:
        refuse_damaged(copy, path)
        if first_row(copy, "SELECT count(*) FROM states") != (pairs,):
            problem = "the copy has not as many states as the store"
            raise NotAStateFile(problem, "try again", path, code="damaged")
