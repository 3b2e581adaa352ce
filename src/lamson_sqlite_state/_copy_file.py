"""A copy of a store as a file: opened without changing anything beside it, and verified."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from . import _filesystem, _rows, _schema, _sharing
from ._queries import rows_unless_signalled
from ._row import RawRow
from ._sqlite_errors import translated_errors
from ._store import Store
from .errors import NoStore, NotAStateFile, StorageError

__all__ = ["connect", "copy_pages", "opened_copy", "refuse_damaged", "whole_copy"]

# For how long a copy may be locked by another program that writes to it.
_COPY_SECONDS: Final = 1.0


def refuse_damaged(copy: sqlite3.Connection, path: str) -> None:
    """Do nothing where this is a whole store, or what sqlite3's .dump has made of one.

    Raises:
        NotAStateFile, NoStore, SchemaTooNew: it is not.
    """
    copy.execute("PRAGMA trusted_schema = OFF")  # anybody may have put triggers and views into it
    copy.execute("BEGIN")  # all that is read is of one instant, should it be a store in use
    if not _schema.is_unmarked(copy):
        _schema.is_sound(copy, path)
        if not _schema.is_ours(copy):
            raise NoStore("this is an empty database", "give the path of a copy", path)
    ((problem,),) = rows_unless_signalled(copy, "PRAGMA integrity_check(1)")
    if problem != "ok":
        problem = " ".join(problem.split())  # it may have lines
        problem = f"the copy is damaged ({problem})"
        raise NotAStateFile(problem, "use another one", path, code="damaged")


@contextlib.contextmanager
def whole_copy(source: str | os.PathLike[str], store: Store) -> Iterator[sqlite3.Connection]:
    """Give a connection to a verified copy of a store.

    Args:
        source: where it is.
        store: the live one, which is none.

    Raises:
        NoStore, NotAStateFile, SchemaTooNew, StorageError: it is no copy, or a damaged one.
    """
    path = os.path.realpath(os.fsdecode(source))
    if _filesystem.identity(path) == _filesystem.identity(store.path) is not None:
        problem = "this is the store itself"
        raise StorageError(problem, "give the path of a copy", path, code="in-use")
    with translated_errors(path), contextlib.closing(opened_copy(path)) as copy:
        refuse_damaged(copy, path)
        yield copy


def opened_copy(path: str) -> sqlite3.Connection:
    found = _filesystem.database_at(path)
    if found is None or found[1] == 0:
        problem = "no such file" if found is None else "this file is empty"
        raise NoStore(problem, "give the path of a copy", path)
    # Without a log nobody has it open. Then it need not be locked, and may be on a read-only disk.
    is_at_rest = not os.path.lexists(f"{path}-wal") and not os.path.lexists(f"{path}-journal")
    # But by this process it may be about to be written.
    is_at_rest = is_at_rest and not _sharing.has_open(os.getpid(), found[0])
    mode = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    return connect(path, mode)


def connect(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.Connection(
        f"file:{quote(os.fsencode(path))}?{mode}",
        uri=True,
        timeout=_COPY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def copy_pages(copy: sqlite3.Connection) -> Iterator[list[RawRow]]:
    cursor = copy.execute("SELECT sender, module, state, since FROM states ORDER BY sender, module")
    while found := cursor.fetchmany(_rows.CHUNK_ROWS):
        yield found
