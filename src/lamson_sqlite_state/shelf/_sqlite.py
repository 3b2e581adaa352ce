"""Reads shelves of dbm.sqlite3 (Python 3.13): a table ``Dict`` of keys and values."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from ..errors import NotAShelf, StorageError
from ..sqlite_uri import connect
from ._file import Source, damaged, reading_error
from ._key import refused, too_long
from ._record import LONGEST_BYTES, UNREAD_KEY, Reader, Record

_START: Final = b"SQLite format 3\0"

_TABLES: Final = "SELECT count(*) FROM sqlite_master"
_HAS_TABLE: Final = """
    SELECT count(*) FROM sqlite_master AS made, pragma_table_info('Dict') AS its
    WHERE made.name = 'Dict' AND made.sql LIKE 'CREATE TABLE%'
    AND its.name IN ('key', 'value')"""
# sum(1), because count(*) is one step of SQLite's, which nothing can interrupt.
_COUNT: Final = "SELECT sum(1) FROM Dict"
# A key or value that is too long, or not bytes, is not read: length() and typeof() need the head of
# the row only.
_RECORDS: Final = f"""
    SELECT CASE WHEN key_bytes <= {LONGEST_BYTES} THEN key END,
    CASE WHEN value_bytes <= {LONGEST_BYTES} THEN value END, key_bytes, value_bytes
    FROM (SELECT key, value,
        CASE typeof(key) WHEN 'blob' THEN length(key) END AS key_bytes,
        CASE typeof(value) WHEN 'blob' THEN length(value) END AS value_bytes FROM Dict)
    """

_SIDE_FILES: Final = ("-wal", "-journal")
_STEPS_AT_ONCE: Final = 10_000
_STEPS_A_BYTE: Final = 4  # a row takes some 20 steps, and no fewer bytes than that


class Sqlite(Reader):
    """The records of a table ``Dict``, in the order of their rows.

    SQLite creates side files even for a reader, so the file is opened as one that cannot change
    (``immutable``). Where a log or journal has changes that are not in the file yet, copies of both
    are read. The copies are in a temporary directory, which is removed when the reader is closed.

    Args:
        source: the file; closed at once, because SQLite opens it itself.

    Raises:
        NotAShelf: another program wrote the file, or it is damaged.
        StorageError: the file or its log may not be read or copied, or is being written to.
    """

    kind = "dbm.sqlite3"

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        source.close()  # before SQLite opens the file: closing it later would drop SQLite's locks
        self._path = path = source.path
        with ExitStack() as self._opened:
            try:
                self.files = (path, *(path + end for end in _SIDE_FILES if _is_filled(path + end)))
                self._size = sum(map(os.path.getsize, self.files))
                self._open(path, "mode=ro&immutable=1")
                if len(self.files) > 1 and self._may_be_a_shelf():
                    self._connection.close()
                    self._open(self._copy(), "mode=rw")
                self._count = self._counted()
            except OSError as error:
                raise reading_error(error, path) from error
            self._opened = self._opened.pop_all()

    @staticmethod
    def wrote(start: bytes) -> bool:
        """Whether a file begins as those of SQLite do."""
        return start.startswith(_START)

    def count(self) -> int:
        """Return how many rows the table has; see `Reader`."""
        return self._count

    def records(self) -> Iterator[Record]:
        """Read from the beginning; see `Reader`."""
        with self._translated() as connection:
            for key, value, key_bytes, value_bytes in connection.execute(_RECORDS):
                if key is not None and value is not None:
                    yield key, value
                elif key_bytes is None or value_bytes is None:
                    yield refused(key or UNREAD_KEY, "it is not kept as bytes")
                else:
                    yield too_long(key or UNREAD_KEY, key_bytes, value_bytes)

    def close(self) -> None:
        """Close the file, and remove the copies. A second time, do nothing."""
        self._opened.close()

    def _open(self, path: str, how: str) -> None:
        try:
            self._connection = connect(path, how, factory=sqlite3.Connection)
            self._opened.enter_context(closing(self._connection))
            # Generated columns must not call functions with side effects.
            self._connection.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.Error as error:
            raise damaged(str(error), self._path) from error

    def _may_be_a_shelf(self) -> bool:
        # Asked before anything is copied, because a store of this package often has a log, and may
        # stand at the shelf's path. Until the first checkpoint, the table may be in the log only.
        try:
            with self._translated() as connection:
                tables = connection.execute(_TABLES).fetchone()[0]
                return tables == 0 or self._has_table(connection)
        except NotAShelf:  # without its journal, a shelf may contradict itself too
            return True

    def _counted(self) -> int:
        with self._translated() as connection:
            if not self._has_table(connection):
                raise NotAShelf(
                    "this is an SQLite database, but dbm.sqlite3 did not write it",
                    "give another path",
                    self._path,
                )
            return connection.execute(_COUNT).fetchone()[0] or 0

    def _has_table(self, connection: sqlite3.Connection) -> bool:
        found: tuple[int] = connection.execute(_HAS_TABLE).fetchone()
        return found == (2,)

    @contextmanager
    def _translated(self) -> Iterator[sqlite3.Connection]:
        # A damaged tree may contain itself, and looks endless. So a query is stopped that takes
        # more steps than all rows for which the file has room.
        steps_left = _STEPS_A_BYTE * self._size + 10 * _STEPS_AT_ONCE

        def spend() -> bool:
            nonlocal steps_left
            steps_left -= _STEPS_AT_ONCE
            return steps_left < 0

        try:
            self._connection.set_progress_handler(spend, _STEPS_AT_ONCE)
            yield self._connection
        except sqlite3.ProgrammingError as error:
            raise ValueError("the shelf is closed") from error
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise damaged(str(error), self._path) from error

    def _copy(self) -> str:
        for path in self.files:
            Source(path).close()  # raises an error that names the file which may not be read
        before = _stamps(self.files)
        failure = None
        copy = ""
        try:
            directory = self._opened.enter_context(tempfile.TemporaryDirectory(prefix="shelf-"))
            copy = os.path.join(directory, "shelf")
            for path in self.files:
                shutil.copyfile(path, copy + path.removeprefix(self._path))
        except OSError as error:
            failure = error
        if _stamps(self.files) != before:
            raise StorageError(
                "a program writes to this shelf",
                "stop the mail server first",
                self._path,
                code="in-use",
            ) from failure
        if failure is not None:
            raise StorageError(
                f"it has a log, so a copy must be read, and none could be made ({failure})",
                "set TMPDIR to a directory with room for it",
                self._path,
                code="no-temporary-file",
            ) from failure
        return copy


def _is_filled(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _stamps(paths: tuple[str, ...]) -> list[tuple[int, int]] | None:
    try:
        return [(found.st_size, found.st_mtime_ns) for found in map(os.stat, paths)]
    except FileNotFoundError:  # the last program to close the file deletes its log
        return None
