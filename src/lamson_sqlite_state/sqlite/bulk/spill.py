"""A temporary database on disk, for rows that are too many for memory."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ...errors import StorageError


@contextmanager
def spill_database() -> Iterator[sqlite3.Connection]:
    """Give a database without a name, which only this connection sees and which ends with it.

    SQLite writes to the disk only what its cache of some MiB has no room for.

    Raises:
        StorageError: the disk has no room for the database, or there is no directory for it.
    """
    try:
        with closing(sqlite3.Connection("", isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StorageError(
            f"a temporary file of SQLite's cannot be used ({error})",
            "free some space there, or have SQLITE_TMPDIR name another directory",
            tempfile.gettempdir(),
            code="no-temporary-file",
        ) from error
