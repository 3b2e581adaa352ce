"""A copy of a store as a file: opened without changing anything beside it, and verified."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Final

from ... import sqlite_uri
from ...errors import NoStore, NotAStateFile, StorageError
from ...keys.rows import RawRow
from ..bulk import scan
from ..engine import lock_probe, schema
from ..engine.driver_errors import translated_errors
from ..engine.queries import rows_unless_signalled
from ..process import filesystem
from ..storage import SQLiteStorage

# For how long a copy may be locked by another program that writes to it.
_COPY_SECONDS: Final = 1.0


def refuse_damaged(copy: sqlite3.Connection, path: str) -> None:
    """Do nothing where this is a whole store, or what sqlite3's .dump has made of one.

    Raises:
        NotAStateFile, NoStore, SchemaTooNew: it is not.
    """
    copy.execute("PRAGMA trusted_schema = OFF")  # anybody may have put triggers and views into it
    copy.execute("BEGIN")  # all that is read is of one instant, should it be a store in use
    if not schema.is_unmarked(copy):
        schema.is_sound(copy, path)
        if not schema.is_marked_as_store(copy):
            raise NoStore("this is an empty database", "give the path of a copy", path)
    ((problem,),) = rows_unless_signalled(copy, "PRAGMA integrity_check(1)")
    if problem != "ok":
        problem = " ".join(problem.split())  # it may have lines
        problem = f"the copy is damaged ({problem})"
        raise NotAStateFile(problem, "use another one", path, code="damaged")


@contextlib.contextmanager
def whole_copy(
    source: str | os.PathLike[str], store: SQLiteStorage
) -> Iterator[sqlite3.Connection]:
    """Give a connection to a verified copy of a store.

    Args:
        source: where it is.
        store: the live one, which is none.

    Raises:
        NoStore, NotAStateFile, SchemaTooNew, StorageError: it is no copy, or a damaged one.
    """
    path = os.path.realpath(os.fsdecode(source))
    if filesystem.identity(path) == filesystem.identity(store.path) is not None:
        problem = "this is the store itself"
        raise StorageError(problem, "give the path of a copy", path, code="in-use")
    with translated_errors(path), contextlib.closing(opened_copy(path)) as copy:
        refuse_damaged(copy, path)
        yield copy


def opened_copy(path: str) -> sqlite3.Connection:
    """Return a connection to a copy of a store, which it only reads.

    Raises:
        StorageError: it is no copy of a store.
    """
    found = filesystem.database_at(path)
    if found.identity is None or found.absence:
        raise NoStore(found.absence, "give the path of a copy", path)
    # Without a log nobody has it open. Then it need not be locked, and may be on a read-only disk.
    is_at_rest = not os.path.lexists(f"{path}-wal") and not os.path.lexists(f"{path}-journal")
    # But by this process it may be about to be written.
    is_at_rest = is_at_rest and not lock_probe.has_open(os.getpid(), found.identity)
    mode = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    return connect(path, mode)


def connect(path: str, parameters: str) -> sqlite3.Connection:
    """Return a connection to a file that another program may have locked for a moment."""
    return sqlite_uri.connect(
        path, parameters, factory=sqlite3.Connection, timeout_seconds=_COPY_SECONDS
    )


def copy_pages(copy: sqlite3.Connection) -> Iterator[list[RawRow]]:
    """Yield the rows of a copy in the order of its key, some at a time."""
    cursor = copy.execute("SELECT sender, module, state, since FROM states ORDER BY sender, module")
    while found := cursor.fetchmany(scan.CHUNK_ROWS):
        yield found
