"""The states in the file: read, written, and kept in the cache.

What is read and written goes through the cache, which the counters of `counters` keep right as
to all that this package writes.

Not thread-safe: the store's RLock guards every call. Nothing here waits: a call that meets
another process at work raises `Busy`, so that the store can let its lock go meanwhile.
"""

import contextlib
import operator
import sqlite3
import time
from collections.abc import Callable, Collection
from typing import Final, TypeAlias

from ...interface import ROUTE_FIRST_STATE
from ..coherence.cache import Key
from ..coherence.counters import EVERY_STRIPE, FIRST_VERSION, LARGEST_VERSION, stripe_of
from ..process.clock import Clock
from ..process.write_lock import UNLOCK_NONE
from . import schema
from .connections import Connection
from .database import Database

Parameters: TypeAlias = tuple[object, ...]

CHECKPOINT_PAGES: Final = 1000
_LAZY_CHECKPOINT_PAGES: Final = 4000

# One batch of many fills a log so fast that workers would wait for its checkpoint, of up to 30 ms,
# again and again: of so many pages it takes a few.
_BULK_CHECKPOINT_PAGES: Final = 200

_SELECT_STATE: Final = (schema.SELECT_STATE,)

_rowcount: Final = operator.attrgetter("rowcount")  # -1 of a statement that changes no rows


class StatesTable:
    """The table of states.

    Args:
        database: the file it is in.
        synchronous: "FULL" or "NORMAL", as the database has it.

    Attributes:
        database: the same.
    """

    def __init__(self, database: Database, synchronous: str) -> None:
        self.database = database
        self._cache = database.cache
        self._set_synchronous = f"PRAGMA synchronous = {synchronous}"

    def read(self, key: Key, is_fresh: bool) -> str | None:
        """Return the state of a pair, or None. Takes no file lock unless it must create.

        Args:
            key: the pair.
            is_fresh: whether the last look was a moment ago, so that none is due yet.

        Raises:
            Busy: see there.
            StorageError: nothing was read.
        """
        database, cache = self.database, self._cache
        try:
            while True:
                connection = database.connection
                if connection is None or not is_fresh:
                    connection = database.look()
                    cached = cache.find(key)
                    if cached is not None:
                        return cached
                stripe = stripe_of(key[0])
                # The version is read before the database is: see `counters`. The counters are
                # in no variable, as an error's traceback would keep it, and their file open.
                entries, version = cache.current[0], cache.current[1][stripe]
                cursor: sqlite3.Cursor | None = None
                try:
                    cursor = connection.spare_cursor or connection.cursor()
                    connection.spare_cursor = None
                    row = next(map(next, map(cursor.execute, _SELECT_STATE, (key,))), None)
                    connection.spare_cursor = cursor
                except sqlite3.ProgrammingError:
                    database.reopen_if_closed(connection)
                else:
                    if row is None:
                        return None
                    state: str = row[0]
                    cache.keep(entries, key, state, stripe, version)
                    return state
                finally:
                    cursor = None  # as with the counters: it would keep a closed connection open
        except (sqlite3.Error, OSError) as error:
            database.raise_storage_error(error, is_writing=False)

    def write(
        self,
        key: Key,
        state: str,
        sql: str = schema.SET,
        parameters_at: Callable[[int], Parameters] | None = None,
    ) -> int:
        """Give a pair a state, or run another statement that changes states of its sender.

        It is done under the write lock, and has committed when this returns. All caches are told
        of it: the sender's counter is odd while it is done, see `counters`.

        A signal handler may use or close the store between any two lines; other threads wait.
        So a counter is stored, and the statement started, with no call between that and the
        test that the lock was neither let go of nor used since. (A finalizer may even run
        within the statement.) A write inside another write leaves its counters odd. And all
        is written out here, as in seven calls it would take a tenth longer.

        Args:
            key: the pair.
            state: the pair's from then on, if it is the statement that sets it.
            sql: the statement; it commits by itself.
            parameters_at: makes the parameters of another statement from the time of writing
                (Unix time in ms).

        Returns:
            How many rows it inserted or changed.

        Raises:
            Busy: see there; nothing was written.
            StorageError: nothing was written, unless its code is "outcome-unknown". The
                counter stays odd.
        """
        database, cache = self.database, self._cache
        lock, versions = database.write_lock, database.versions
        depth = lock.depth
        lock.depth = depth + 1
        try:
            while True:
                connection = database.connection
                if (
                    connection is None
                    or versions.counters is None
                    or not cache.revalidated_at <= Clock.monotonic() < cache.revalidate_at
                    or not lock.try_lock()
                    or not database.watch.is_unchanged()
                ):
                    connection = database.locked_connection()
                now_ms = time.time_ns() // 1_000_000
                cursor: sqlite3.Cursor | None = None
                try:
                    if lock.depth > 1:
                        self._leave_no_laziness(connection)
                    if parameters_at is None:
                        parameters: Parameters = (*key, state, now_ms)
                    else:
                        parameters = parameters_at(now_ms)
                    entries = cache.current[0]
                    is_text = type(key[0]) is type(key[1]) is str
                    entry = entries.get(key) if is_text else None
                    stripe = stripe_of(key[0]) if entry is None else entry[1]
                    cursor = connection.spare_cursor or connection.cursor()
                    connection.spare_cursor = None
                    write_sequence = versions.write_sequence = versions.write_sequence + 1
                    lock_generation, counters = lock.lock_generation, versions.counters
                    if not lock.is_held or counters is None:
                        continue
                    before = counters[stripe]
                    counters[stripe] = version = before | 1
                    changed: int = cursor.execute(sql, parameters).rowcount
                    connection.spare_cursor = cursor
                    if (
                        versions.write_sequence == write_sequence
                        and lock.lock_generation == lock_generation
                        and lock.depth == 1
                    ):
                        # It may have its old value again if nothing was written while it was odd.
                        if changed or version == before:
                            version = (version + 1) & LARGEST_VERSION or FIRST_VERSION
                        else:
                            version = before
                        counters[stripe] = version
                        if parameters_at is None:
                            cache.keep(entries, key, state, stripe, version)
                    return changed
                except sqlite3.ProgrammingError:
                    database.reopen_if_closed(connection)
                finally:
                    counters = cursor = None  # as in read
        except (sqlite3.Error, OSError) as error:
            database.raise_storage_error(error, is_writing=True)
        finally:
            # As `WriteLock` says: no call before the lock is let go of.
            lock.depth = depth
            if not depth:
                lock.lock_generation += 1
                lock.is_held = False
                try:
                    lock.unlock_file()
                except OSError as error:
                    lock.let_go_by_closing(error)
                except BaseException:  # of a handler that ran in an audit hook
                    lock.descriptor, lock.unlock_file = None, UNLOCK_NONE
                    lock.close_file()
                    raise

    def clear(self) -> int:
        """Delete all rows.

        Raises:
            Busy, StorageError: as `write`.
        """
        return self.database.locked(self._clear)

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
            How many rows it inserted, changed or deleted.

        Raises:
            Busy, StorageError: as `write`.
        """
        return self.database.locked(self._change, stripes, sql, parameters_at)

    def insert_start(self, key: Key) -> bool:
        """Store START where the pair has no state, and say whether it had none.

        Returns without waiting for the disk: a power cut may undo it. Nobody has anything in
        a cache of a pair that has no row, so no counter moves.

        Raises:
            Busy, StorageError: as `write`.
        """
        return bool(self.database.locked(self._insert_start, key))

    # What is done with the write lock held. None: the store was closed meanwhile.

    def _clear(self, connection: Connection, _now_ms: int) -> int | None:
        if self.database.write_lock.depth > 1:
            self._leave_no_laziness(connection)
        return self.database.versions.commit_to(
            EVERY_STRIPE, self.database.write_lock, connection, schema.CLEAR
        )

    def _change(
        self,
        connection: Connection,
        now_ms: int,
        stripes: Collection[int],
        sql: str,
        parameters_at: Callable[[int], Parameters],
    ) -> int | None:
        if self.database.write_lock.depth > 1:
            self._leave_no_laziness(connection)
        connection.execute(f"PRAGMA wal_autocheckpoint = {_BULK_CHECKPOINT_PAGES}")
        try:
            return self.database.versions.commit_to(
                stripes, self.database.write_lock, connection, sql, parameters_at(now_ms)
            )
        finally:
            with contextlib.suppress(sqlite3.ProgrammingError):  # a signal handler has closed it
                connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def _leave_no_laziness(self, connection: Connection) -> None:
        # We may be in a finalizer that runs in the middle of _run_lazily.
        connection.execute(self._set_synchronous)

    def _insert_start(self, connection: Connection, now_ms: int, key: Key) -> int:
        stripe = stripe_of(key[0])
        entries, version = self._cache.current[0], self._cache.current[1][stripe]
        changed = self._run_lazily(connection, schema.INSERT_START, (*key, now_ms))
        if changed:
            self._cache.keep(entries, key, ROUTE_FIRST_STATE, stripe, version)
        return changed

    def _run_lazily(self, connection: Connection, sql: str, parameters: Parameters) -> int:
        # One call into C, as in first_row: a signal handler finds `synchronous` as it should
        # be, and no statement half read. The checkpoint, which syncs, is left to the next
        # real write; not for ever, as the log must not grow without bound.
        script = (
            (f"PRAGMA wal_autocheckpoint = {_LAZY_CHECKPOINT_PAGES}", ()),
            ("PRAGMA synchronous = NORMAL", ()),
            (sql, parameters),
            (self._set_synchronous, ()),
            (f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}", ()),
        )
        try:
            changed: int = max(map(_rowcount, map(connection.execute, *zip(*script, strict=True))))
        except BaseException:
            self.database.close()  # in the middle of the script: start afresh
            raise
        return changed
