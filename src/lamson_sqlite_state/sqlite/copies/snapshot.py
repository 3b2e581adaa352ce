"""Opens, verifies and reads a copy of a store, and changes no file of it or beside it."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Final

from ... import sqlite_uri
from ...errors import NoStore, NotAStateFile, StorageError
from ...keys.rows import RawRow
from ..bulk import scan
from ..bulk.long_query import rows_unless_signalled
from ..engine import lock_probe, schema
from ..engine.driver_errors import translated_errors
from ..process import filesystem
from ..process.store_paths import StorePaths
from ..storage import SQLiteStorage

# So long is waited for another program that has the copy locked.
_COPY_SECONDS: Final = 1.0


def refuse_damaged(copy: sqlite3.Connection, path: str) -> None:
    """Do nothing where a copy is a whole store, or a database made of the .dump of a store.

    Args:
        copy: a connection to the copy. A transaction is open on it afterwards.
        path: the path of the copy, for errors.

    Raises:
        NotAStateFile, NoStore, SchemaTooNew: the copy is no whole store.
    """
    copy.execute("PRAGMA trusted_schema = OFF")  # anybody may have put triggers and views into it
    copy.execute("BEGIN")  # all reads see one instant, even if the copy is a store in use
    if not schema.is_unmarked(copy):
        schema.is_sound(copy, path)
        if not schema.is_marked_as_store(copy):
            raise NoStore("this is an empty database", "give the path of a copy", path)
    ((problem,),) = rows_unless_signalled(copy, "PRAGMA integrity_check(1)")
    if problem != "ok":
        problem = f"the copy is damaged ({' '.join(problem.split())})"  # on one line
        raise NotAStateFile(problem, "use another one", path, code="damaged")


@contextlib.contextmanager
def whole_copy(
    source: str | os.PathLike[str], store: SQLiteStorage
) -> Iterator[sqlite3.Connection]:
    """Give a connection to a verified copy of a store.

    Args:
        source: the path of the copy.
        store: the live store, which may not be its own copy.

    Raises:
        NoStore, NotAStateFile, SchemaTooNew, StorageError: the file is no copy, or a damaged one.
    """
    path = os.path.realpath(os.fsdecode(source))
    if filesystem.identity(path) == filesystem.identity(store.path) is not None:
        problem = "this is the store itself"
        raise StorageError(problem, "give the path of a copy", path, code="in-use")
    with translated_errors(path), contextlib.closing(opened_copy(path)) as copy:
        refuse_damaged(copy, path)
        yield copy


def opened_copy(path: str) -> sqlite3.Connection:
    """Return a connection to a copy of a store, for reading only.

    Raises:
        NoStore: the file is missing or empty.
        StorageError: the file cannot be a copy of a store.
    """
    found = filesystem.database_at(path)
    if found.identity is None or found.absence:
        raise NoStore(found.absence, "give the path of a copy", path)
    # Without a journal beside it, no other process writes to the copy. Then it need not be locked,
    # and may be on a read-only disk. But this process may be about to write to it.
    is_at_rest = not journals(path) and not lock_probe.has_open(os.getpid(), found.identity)
    mode = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    return connect(path, mode)


def journals(path: str) -> list[str]:
    """Return the journals beside a database, which is in use then, or was in use in a crash."""
    paths = StorePaths(path)
    return list(filter(os.path.lexists, (paths.wal, paths.journal)))


def connect(path: str, parameters: str) -> sqlite3.Connection:
    """Return a connection that waits a moment for another program that has locked the file."""
    return sqlite_uri.connect(
        path, parameters, factory=sqlite3.Connection, timeout_seconds=_COPY_SECONDS
    )


def copy_pages(copy: sqlite3.Connection) -> Iterator[list[RawRow]]:
    """Yield the rows of a copy in the order of the primary key, some thousands at a time."""
    cursor = copy.execute("SELECT sender, module, state, since FROM states ORDER BY sender, module")
    while found := cursor.fetchmany(scan.CHUNK_ROWS):
        yield found
