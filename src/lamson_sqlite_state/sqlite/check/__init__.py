"""Checks a store: finds what is wrong with it, and says what to do about it.

`_LOOKS` lists all looks of a check, in order, and says after which findings a check ends early.
"""

import os
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from ...errors import NetworkFilesystem, NotAStateFile, SchemaTooNew, StorageError, UnsafeFork
from ..bulk.callbacks import raising_through
from ..engine import old_shelf
from ..process import filesystem, remedies
from ..process.store_paths import StorePaths
from . import _files, _integrity, _locks, _permissions, _rows, _side_files
from ._look import Finding, Progress, Target, from_error
from ._reader import ReadOnlyStore

__all__ = ["Finding", "Progress", "check"]

# Files have the wrong owner or a second name for a moment after they were created.
_SECOND_LOOK_SECONDS: Final = 0.02


class _Depth(IntEnum):
    """How deep into a store a look goes. A look needs that all is well with the depths above.

    Attributes:
        END: no look goes here: the check is over.
        PATH: the path leads to a file.
        FILES: the file is an SQLite database or empty. It is not opened.
        DATABASE: the database can be opened without waiting, and without harm to its states.
        TABLE: SQLite finds the database whole.
        ROWS: the table is as it was made, so that its rows can be read page by page.
    """

    END = 0
    PATH = 1
    FILES = 2
    DATABASE = 3
    TABLE = 4
    ROWS = 5


class _Look(NamedTuple):
    """One look of a check.

    Attributes:
        stage: what the progress function is told.
        depth: how deep the look goes.
        find: the look.
        leaves: how deep later looks may still go where this look has found something.
    """

    stage: str
    depth: _Depth
    find: Callable[[Target], Iterator[Finding]]
    leaves: _Depth = _Depth.ROWS


_LOOKS: Final = (
    _Look("files", _Depth.PATH, _files.not_a_database, leaves=_Depth.END),
    _Look("files", _Depth.FILES, _files.on_a_network),
    _Look("files", _Depth.FILES, _files.mounted_alone),
    _Look("files", _Depth.FILES, _files.not_writable),
    _Look("files", _Depth.FILES, _files.hard_links, leaves=_Depth.FILES),
    _Look("files", _Depth.FILES, _files.shared_side_files),
    _Look("files", _Depth.FILES, _files.misplaced),
    _Look("files", _Depth.FILES, _permissions.of_another),
    _Look("files", _Depth.FILES, _permissions.shut_to_the_owner),
    _Look("files", _Depth.FILES, _permissions.open_to_others),
    _Look("files", _Depth.FILES, _permissions.open_directory),
    _Look("files", _Depth.FILES, _side_files.spoilt_versions),
    _Look("files", _Depth.FILES, _side_files.left_over),
    _Look("files", _Depth.FILES, _side_files.hot_journal, leaves=_Depth.FILES),
    _Look("locks", _Depth.FILES, _locks.refused),
    _Look("locks", _Depth.FILES, _locks.shut_out, leaves=_Depth.FILES),
    _Look("locks", _Depth.FILES, _locks.held),
    _Look("locks", _Depth.DATABASE, _files.empty, leaves=_Depth.END),
    _Look("locks", _Depth.DATABASE, _side_files.lost, leaves=_Depth.END),
    _Look("integrity", _Depth.DATABASE, _integrity.defects, leaves=_Depth.END),
    _Look("integrity", _Depth.TABLE, _integrity.unmarked),
    _Look("integrity", _Depth.TABLE, _integrity.triggers),
    _Look("integrity", _Depth.TABLE, _integrity.odd_table, leaves=_Depth.TABLE),
    _Look("rows", _Depth.ROWS, _rows.unreadable),
)


def check(
    path: str | os.PathLike[str],
    *,
    progress: Progress = lambda _what, _done, _total: None,
) -> list[Finding]:
    """Return the findings about a store; the list is empty where all is well.

    A check may be made while workers run: it writes nothing, creates and deletes nothing, and no
    worker's call waits for it. (SQLite itself makes the -wal and -shm of a store that nobody has
    open, and deletes them afterwards. Files that a crash has left are left.) It takes a second for
    a million rows, one or two more where somebody holds a lock, and little memory for any number.

    An exception that a signal handler raises (Ctrl-C) ends the check within a fraction of a second.
    So does one that ``progress`` raises, except that SQLite's integrity check is ended first.

    Args:
        path: the store's file.
        progress: is called now and then, from the thread that called this, with what is being
            done ("files", "locks", "integrity", "rows"), with how many rows are done, and with
            how many there are, or None.

    Raises:
        StorageError: there is no file, or this user may not look for it.
        UnsafeFork: the store was open here when C code forked this process.
        ValueError: the path is empty, ":memory:" or holds a NUL.
    """
    store = ReadOnlyStore(os.fspath(path))
    with raising_through(progress) as tell:
        try:
            found = os.stat(store.path)
            target = Target(StorePaths(store.path), (found.st_dev, found.st_ino), store, tell)
            return list(_findings(target))
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            if isinstance(error, FileNotFoundError) and error.filename == store.path:
                raise old_shelf.no_store("no such file", store.path) from error
            raise remedies.storage_error(error, error.filename or store.path) from error
        finally:
            store.close()


def _findings(target: Target) -> Iterator[Finding]:
    deepest = _Depth.ROWS
    for look in _LOOKS:
        if look.depth > deepest:
            continue
        target.tell(look.stage, 0, None)
        try:
            found = list(look.find(target))
            if found and look.stage == "files":
                found = _seen_again(found, look, target)
        except StorageError as error:
            if look.depth < _Depth.DATABASE:
                raise
            yield from _of_reading(target.path, error)
            return
        yield from found
        if found:
            deepest = min(deepest, look.leaves)


def _seen_again(found: list[Finding], look: _Look, target: Target) -> list[Finding]:
    time.sleep(_SECOND_LOOK_SECONDS)
    again = {(finding.subject, finding.path) for finding in look.find(target)}
    return [finding for finding in found if (finding.subject, finding.path) in again]


def _of_reading(path: str, error: StorageError) -> list[Finding]:
    """Return what an error says of a database that a look has read."""
    match error:
        case UnsafeFork():
            raise error
        case NetworkFilesystem():
            return []  # a look at the files has found it
        case SchemaTooNew():
            return [from_error("schema", error)]
        case NotAStateFile():
            shelf = None if error.code == "damaged" else _files.shelf(path)
            return [shelf or from_error("integrity", error)]
    if filesystem.identity(path) is None:
        raise old_shelf.no_store("no such file", path) from error
    return [from_error("SQLite", error, before="the rows could not be looked at: ")]
