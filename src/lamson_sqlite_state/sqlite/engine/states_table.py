"""Reads and writes the states in the file, through the cache.

The counters of `coherence` keep the cache right whenever this package writes. For the writes of
other tools, see `database`.

Not thread-safe: the store's RLock guards every call. No call here waits for another process. If one
is at work, the call raises `Busy`, so that the store can release its RLock before it waits.
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

# A commit that makes the log so many pages long also makes a checkpoint.
CHECKPOINT_PAGES: Final = 1000
_LAZY_CHECKPOINT_PAGES: Final = 4000

# Batches fill the log so fast that workers would wait again and again for a checkpoint of 1000
# pages, which takes up to 30 ms. A checkpoint of so many pages takes a few ms.
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
        """Return the state of a pair, or None if it has none.

        This takes the write lock only if the store must be made, or if one of its files was deleted
        or replaced.

        Args:
            key: the pair.
            is_fresh: whether the cache is fresh (`Cache.is_fresh`), and does not have the pair.

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
            key: the pair. Of another statement than `schema.SET`, only the sender counts.
            state: the pair's new state. Another statement does not use it.
            sql: the statement; it commits by itself.
            parameters_at: makes the parameters of another statement from the time of writing
                (Unix time in ms).

        Returns:
            How many rows the statement inserted, changed or deleted.

        Raises:
            Busy: nothing was written.
            StorageError: nothing was written, unless the code is "outcome-unknown".
        """
        return self.database.locked(self._write, key, state, sql, parameters_at)

    def change(
        self, stripes: Collection[int], sql: str, parameters_at: Callable[[int], Parameters]
    ) -> int:
        """Run a statement that may change the states of many senders.

        The statement runs under the write lock, and has committed when this returns.

        Args:
            stripes: the stripes of all these senders.
            sql: the statement; it commits by itself.
            parameters_at: makes the statement's parameters from the time of writing (Unix time in
                ms). No earlier write has a later time, unless the clock was set back, because each
                write asks for the time under the write lock.

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
        """Store START if the pair has no state, and say whether it had none.

        This does not sync the log, so a power cut may undo the START. No counter moves, because no
        cache has a valid entry of a pair without a row.

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
            # The counter is read before the database: see `coherence.counters`. No variable refers
            # to the counters, because an error's traceback would keep it, and their file open.
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

    # Database.locked calls the methods below with the write lock held. If they return None, they
    # have changed no row, because a signal handler has closed the store or written to it.

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
        # A cached entry has the stripe, whose computation takes 2 % of a write. Only keys of text
        # are looked up, because Python can be told (-bb) to refuse to compare text and bytes.
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
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed by a signal handler
                connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return None if committed is None else committed[0]

    def _insert_start(self, connection: Connection, now_ms: int, key: Key) -> int:
        stripe = stripe_of(key[0])
        entries, version = self._cache.current[0], self._cache.current[1][stripe]
        try:
            # A checkpoint waits for the disk, so it is left to the next write of another kind. But
            # at 4000 pages it is made here, because the log must not grow without bound.
            changed = run_in_c(
                connection,
                (f"PRAGMA wal_autocheckpoint = {_LAZY_CHECKPOINT_PAGES}", ()),
                ("PRAGMA synchronous = NORMAL", ()),
                (schema.INSERT_START, (*key, now_ms)),
                (self._file.set_synchronous, ()),
                (f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}", ()),
            )
        except BaseException:
            self._file.close()  # the script may have left the connection with other settings
            raise
        if changed:
            self._cache.keep(entries, key, ROUTE_FIRST_STATE, stripe, version)
        return changed
