"""Whether all is well with a store, and what is to be done where it is not."""

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from ...errors import NetworkFilesystem, NotAStateFile, SchemaTooNew, StorageError, UnsafeFork
from ..bulk.callbacks import raising_through
from ..engine import old_shelf
from ..process import filesystem, remedies
from ..process.filesystem import Identity
from . import _files, _integrity, _locks, _permissions, _rows, _side_files
from ._finding import Finding, from_error
from ._reader import Copy, ReadOnlyStore, is_database, is_switched

__all__ = ["Finding", "Progress", "check"]

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and how much there is, if it is known."""

_NOT_OURS: Final = "give another path; if this was a store, restore a backup"

# Files have the wrong owner for a moment after they were created.
_SECOND_LOOK_SECONDS: Final = 0.02


def check(
    path: str | os.PathLike[str],
    *,
    progress: Progress = lambda _what, _done, _total: None,
) -> list[Finding]:
    """Return what is wrong with a store; nothing is where it is empty.

    It may be asked while workers run: it writes nothing, creates and deletes nothing, and no
    worker's call waits for it. (SQLite itself makes the -wal and -shm of a store that nobody has
    open, and deletes them afterwards. What a crash has left of them is left.) It takes a second
    for a million rows, another one where somebody holds a lock meanwhile, and the same little
    memory for any number.

    An exception that a signal handler raises (Ctrl-C) ends it within a fraction of a second, and so
    does one that ``progress`` raises, but for SQLite's integrity check, which is ended first.

    Args:
        path: the store's file.
        progress: is called now and then, from the thread that called this, with what is being
            done ("files", "locks", "integrity", "rows"), with how many rows are done, and with
            how many there are, or None.

    Raises:
        StorageError: there is no file, or it may not be looked for.
        UnsafeFork: the store was open here when C code forked this process.
        ValueError: the path is empty, ":memory:" or holds a NUL.
    """
    store = ReadOnlyStore(os.fspath(path))
    with raising_through(progress) as told:
        try:
            return list(_found(store, told))
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            if isinstance(error, FileNotFoundError) and error.filename == store.path:
                raise old_shelf.no_store("no such file", store.path) from error
            raise remedies.storage_error(error, error.filename or store.path) from error
        finally:
            store.close()


def _found(store: ReadOnlyStore, progress: Progress) -> Iterator[Finding]:
    path = store.path
    progress("files", 0, None)
    found = os.stat(path)
    is_several_files = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
    if not is_several_files:
        try:
            filesystem.database_at(path)
        except NotAStateFile as error:
            yield from_error("integrity", error)
            return
    identity = found.st_dev, found.st_ino
    if not is_database(path, identity):
        # A path that was mistyped, perhaps: how other files are to be kept is not for us to say.
        shelf = list(_files.itself_a_shelf(path))
        yield from shelf or [
            Finding("integrity", "this is not an SQLite database", _NOT_OURS, path)
        ]
        return
    is_in_use = _side_files.is_in_use(path, identity)
    yield from _seen_twice(lambda: _about_files(path, has_users=is_in_use))
    journals = list(_side_files.hot_journal(path))
    yield from journals
    progress("locks", 0, None)
    yield from _locks.refused(path)
    held, has_no_readers = _locks.held(path, identity, lambda: progress("locks", 0, None))
    yield from held
    if journals or is_several_files:
        return  # opening it would do harm
    if has_no_readers:
        return  # as a process keeps them out; nor has it to have an index that others could use
    if not found.st_size:
        yield Finding(
            "schema",
            "the file is empty, no store has been made of it yet",
            "have a worker use it, or restore a backup",
            path,
        )
        return
    lost = list(_side_files.lost(path, identity))
    yield from lost
    if not lost:
        yield from _about_contents(store, identity, progress)


def _about_files(path: str, *, has_users: bool) -> Iterator[Finding]:
    files = _files.files_of(path)
    yield from _files.of_place(path, files)
    yield from _files.with_links(path, files)
    yield from _files.misplaced(path)
    yield from _permissions.of_another(path, files)
    yield from _permissions.shut_to_the_owner(path, files)
    yield from _permissions.open_to_others(path, files)
    yield from _side_files.spoilt_versions(path, files)
    yield from _side_files.left_over(path, has_users=has_users)


def _seen_twice(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    found = list(look())
    if found:
        time.sleep(_SECOND_LOOK_SECONDS)
        again = {(finding.subject, finding.path) for finding in look()}
        yield from (finding for finding in found if (finding.subject, finding.path) in again)


def _about_contents(
    store: ReadOnlyStore, identity: Identity, progress: Progress
) -> Iterator[Finding]:
    path = store.path
    progress("integrity", 0, None)
    reader = store if is_switched(path, identity) else Copy(path)
    try:
        defects = list(_integrity.defects(reader, path))
        yield from defects
        if defects:
            return  # what else is wrong follows from it
        yield from _integrity.oddities(reader, path)
        odd_table = list(_integrity.odd_table(reader, path))
        yield from odd_table
        if not odd_table:
            yield from _rows.unreadable(
                reader, path, _under_lock(path), lambda done, total: progress("rows", done, total)
            )
    except UnsafeFork:
        raise
    except NetworkFilesystem:
        pass  # it is among the findings
    except SchemaTooNew as error:
        yield from_error("schema", error)
    except NotAStateFile as error:
        shelf = [] if error.code == "damaged" else list(_files.itself_a_shelf(path))
        yield from shelf or [from_error("integrity", error)]
    except StorageError as error:
        if filesystem.identity(path) is None:
            raise old_shelf.no_store("no such file", path) from error
        yield from_error("SQLite", error, before="the rows could not be looked at: ")


def _under_lock(path: str) -> tuple[str, ...]:
    # Other programs that write take turns with the workers if they take the file lock too. Where
    # there is none, flock(1) would make one that may be nobody's but its user's.
    return ("flock", f"{path}.lock") if os.path.isfile(f"{path}.lock") else ()
