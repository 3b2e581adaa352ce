"""A place for what is too much for memory: a temporary file of SQLite's."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

from ...errors import StorageError


@contextmanager
def spill_database() -> Iterator[sqlite3.Connection]:
    """Give a database without a name, which nobody else sees and which goes with the process.

    Only what does not fit into its cache, some MiB, is written to the disk.

    Raises:
        StorageError: there is no room for it, or no place.
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
