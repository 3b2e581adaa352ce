"""Reads and writes the states in the file, through the cache.

What is read and written goes through the cache, which the counters of `coherence` keep right as
to all that this package writes.

Not thread-safe: the store's RLock guards every call. Nothing here waits: a call that meets
another process at work raises `Busy`, so that the store can release its RLock meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from ...interface import ROUTE_FIRST_STATE
from ..coherence.cache import Key
from ..coherence.counters import EVERY_STRIPE, stripe_of
from . import schema
from .connections import Connection
from .database import Database
from .queries import first_row, run_in_c

Parameters: TypeAlias = tuple[object, ...]

CHECKPOINT_PAGES: Final = 1000
_LAZY_CHECKPOINT_PAGES: Final = 4000

# One batch of many fills a log so fast that workers would wait for its checkpoint, of up to 30 ms,
# again and again. A checkpoint of so many pages takes a few.
_BULK_CHECKPOINT_PAGES: Final = 200


class StatesTable:
    """The table of states.

    Args:
        database: the file that the table is in.

    Attributes:
        database: the same.
    """

    def __init__(self, database: Database) -> None:
        self.database: Database = database
        self._file = database.file
        self._cache = database.file.cache
        self._lock = database.file.write_lock
        self._versions = database.file.versions

    def read(self, key: Key, is_fresh: bool) -> str | None:
        """Return the state of a pair, or None. Takes no file lock unless the store must be created.

        Args:
            key: the pair.
            is_fresh: whether the files were looked at a moment ago, so that no look is due yet.

        Raises:
            Busy: nothing was read.
            StorageError: nothing was read.
        """
        try:
            return self._read(key, is_fresh)
        except (sqlite3.Error, OSError) as error:
            self._file.raise_storage_error(error, is_writing=False)

    def write(
        self,
        key: Key,
        state: str,
        sql: str = schema.SET,
        parameters_at: Callable[[int], Parameters] | None = None,
    ) -> int:
        """Give a pair a state, or run another statement that changes states of its sender.

        The statement runs under the write lock, and has committed when this returns. The caches of
        all processes learn of it: see `Versions.commit`.

        Args:
            key: the pair.
            state: the pair's state from then on, if the statement is the one that sets it.
            sql: the statement; it commits by itself.
            parameters_at: makes the parameters of another statement from the time of writing
                (Unix time in ms).

        Returns:
            How many rows the statement inserted or changed.

        Raises:
            Busy: nothing was written.
            StorageError: nothing was written, unless the code is "outcome-unknown".
        """
        return self.database.locked(self._write, key, state, sql, parameters_at)

    def change(
        self, stripes: Collection[int], sql: str, parameters_at: Callable[[int], Parameters]
    ) -> int:
        """Run a statement that may change the states of many senders. It has committed then.

        Args:
            stripes: of all of these senders.
            sql: the statement; it commits by itself.
            parameters_at: makes its parameters from the time of writing (Unix time in ms). That of
                no write before it is later.

        Returns:
            How many rows the statement inserted, changed or deleted.

        Raises:
            Busy, StorageError: as `write`.
        """
        return self.database.locked(self._change, stripes, sql, parameters_at)

    def clear(self) -> int:
        """Delete all rows.

        Raises:
            Busy, StorageError: as `write`.
        """
        return self.database.locked(self._clear)

    def insert_start(self, key: Key) -> bool:
        """Store START where the pair has no state, and say whether it had none.

        This returns without waiting for the disk: a power cut may undo the START. No cache has
        anything of a pair that has no row, so no counter moves.

        Raises:
            Busy, StorageError: as `write`.
        """
        return bool(self.database.locked(self._insert_start, key))

    def _read(self, key: Key, is_fresh: bool) -> str | None:
        file, cache = self._file, self._cache
        while True:
            connection = file.connection
            if connection is None or not is_fresh:
                connection = self.database.revalidate()
                cached = cache.find(key)
                if cached is not None:
                    return cached
            stripe = stripe_of(key[0])
            # The version is read before the database is: see `coherence.counters`. The counters
            # are in no variable, because an error's traceback would keep their file open.
            entries, version = cache.current[0], cache.current[1][stripe]
            cursor: sqlite3.Cursor | None = None
            try:
                cursor = connection.spare_cursor or connection.cursor()
                connection.spare_cursor = None
                row = first_row(cursor, schema.SELECT_STATE, key)
                connection.spare_cursor = cursor
            except sqlite3.ProgrammingError:
                file.reopen_if_closed(connection)
                continue
            finally:
                del cursor  # a traceback would keep a closed connection's files open
            if row is None:
                return None
            state: str = row[0]
            cache.keep(entries, key, state, stripe, version)
            return state

    # Called by Database.locked, with the write lock held. None: a signal handler has closed the
    # store or written to it before anything was done.

    def _write(
        self,
        connection: Connection,
        now_ms: int,
        key: Key,
        state: str,
        sql: str,
        parameters_at: Callable[[int], Parameters] | None,
    ) -> int | None:
        parameters = (*key, state, now_ms) if parameters_at is None else parameters_at(now_ms)
        entries = self._cache.current[0]
        # An entry knows its stripe, whose computation takes 2 % of a write. Text and bytes are not
        # compared, which Python may be told to make an error of (-bb).
        entry = entries.get(key) if type(key[0]) is type(key[1]) is str else None
        stripe = stripe_of(key[0]) if entry is None else entry[1]
        cursor = connection.spare_cursor or connection.cursor()
        connection.spare_cursor = None
        try:
            committed = self._versions.commit((stripe,), self._lock, cursor, sql, parameters)
            connection.spare_cursor = cursor
        finally:
            del cursor  # a traceback would keep a closed connection's files open
        if committed is None:
            return None
        changed, version = committed
        if parameters_at is None:
            self._cache.keep(entries, key, state, stripe, version)
        return changed

    def _clear(self, connection: Connection, _now_ms: int) -> int | None:
        committed = self._versions.commit(
            EVERY_STRIPE, self._lock, connection.cursor(), schema.CLEAR
        )
        return None if committed is None else committed[0]

    def _change(
        self,
        connection: Connection,
        now_ms: int,
        stripes: Collection[int],
        sql: str,
        parameters_at: Callable[[int], Parameters],
    ) -> int | None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {_BULK_CHECKPOINT_PAGES}")
        try:
            committed = self._versions.commit(
                stripes, self._lock, connection.cursor(), sql, parameters_at(now_ms)
            )
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):  # a signal handler has closed it
                connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return None if committed is None else committed[0]

    def _insert_start(self, connection: Connection, now_ms: int, key: Key) -> int:
        stripe = stripe_of(key[0])
        entries, version = self._cache.current[0], self._cache.current[1][stripe]
        try:
            # The checkpoint, which syncs, is left to the next real write; not for ever, because the
            # log must not grow without bound.
            changed = run_in_c(
                connection,
                (f"PRAGMA wal_autocheckpoint = {_LAZY_CHECKPOINT_PAGES}", ()),
                ("PRAGMA synchronous = NORMAL", ()),
                (schema.INSERT_START, (*key, now_ms)),
                (self._file.set_synchronous, ()),
                (f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}", ()),
            )
        except BaseException:
            self._file.close()  # in the middle of the script: start afresh
            raise
        if changed:
            self._cache.keep(entries, key, ROUTE_FIRST_STATE, stripe, version)
        return changed
