"""The states in the file: read, written, and kept in the cache.

What is read and written goes through the cache, which the counters of `_coherence` keep right as
to all that this package writes.

Not thread-safe: the store's RLock guards every call. Nothing here waits: a call that meets
another process at work raises `NotNow`, so that the store can let its lock go meanwhile.
"""

import operator
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from . import _schema
from ._cache import Key
from ._coherence import stripe_of
from ._database import Database
from ._schema import first_row
from ._sharing import Connection
from .interface import ROUTE_FIRST_STATE

__all__ = ["Parameters", "States"]

Parameters: TypeAlias = tuple[object, ...]

_CHECKPOINT_PAGES: Final = 1000
_LAZY_CHECKPOINT_PAGES: Final = 4000

_rowcount: Final = operator.attrgetter("rowcount")  # -1 of a statement that changes no rows


class States:
    """The table of states.

    Args:
        database: the file it is in.
        synchronous: "FULL" or "NORMAL", as the database has it.
    """

    def __init__(self, database: Database, synchronous: str) -> None:
        self._database = database
        self._cache = database.cache
        self._set_synchronous = f"PRAGMA synchronous = {synchronous}"

    def read(self, key: Key) -> str | None:
        """Return the state of a pair, or None. Takes no file lock unless it must create.

        Raises:
            NotNow: see there.
            StorageError: nothing was read.
        """
        database = self._database
        try:
            while True:
                connection = database.connection
                if connection is None or time.monotonic() >= self._cache.valid_until:
                    connection = database.look()
                    cached = self._cache.find(key)
                    if cached is not None:
                        return cached
                try:
                    return self._select(connection, key)
                except sqlite3.ProgrammingError:
                    database.reopen_if_closed(connection)
        except (sqlite3.Error, OSError) as error:
            database.raise_ours(error, is_writing=False)

    def write(
        self,
        sql: str,
        parameters_at: Callable[[int], Parameters],
        stripes: Sequence[int],
        key: Key | None = None,
        state: str = "",
    ) -> int:
        """Run one statement under the write lock; it has committed when this returns.

        Args:
            sql: the statement.
            parameters_at: makes its parameters from the time of writing (Unix time in ms).
            stripes: of all senders whose states it may change.
            key: the pair that has ``state`` after it, whatever it had before; or None.
            state: see there.

        Returns:
            How many rows it inserted or changed.

        Raises:
            NotNow: see there; nothing was written.
            StorageError: nothing was written, unless the message says that this is unknown.
        """
        database = self._database

        def work(connection: Connection, now_ms: int) -> int | None:
            entries = self._cache.current[0]
            if database.write_lock.holds > 1:
                # We may be in a finalizer that runs in the middle of _run_lazily.
                connection.execute(self._set_synchronous)
            written = database.versions.commit(
                database.write_lock, stripes, connection, sql, parameters_at(now_ms)
            )
            if written is None:
                return None
            changed, version = written
            if key is not None and version is not None:
                self._cache.keep(entries, key, state, stripes[0], version)
            return changed

        return database.locked(work)

    def insert_start(self, key: Key) -> bool:
        """Store START where the pair has no state, and say whether it had none.

        Returns without waiting for the disk: a power cut may undo it. Nobody has anything in
        a cache of a pair that has no row, so no counter moves.

        Raises:
            NotNow, StorageError: as `write`.
        """

        def work(connection: Connection, now_ms: int) -> int:
            stripe = stripe_of(key[0])
            entries, version = self._cache.current[0], self._cache.current[1][stripe]
            changed = self._run_lazily(connection, _schema.INSERT_START, (*key, now_ms))
            if changed:
                self._cache.keep(entries, key, ROUTE_FIRST_STATE, stripe, version)
            return changed

        return bool(self._database.locked(work))

    def _select(self, connection: Connection, key: Key) -> str | None:
        stripe = stripe_of(key[0])
        # Before the database is read: see `_coherence`. The counters are in no variable, as an
        # error's traceback would keep it, and the file open with it.
        entries, version = self._cache.current[0], self._cache.current[1][stripe]
        row = first_row(connection, _schema.SELECT_STATE, key)
        if row is None:
            return None
        state: str = row[0]
        self._cache.keep(entries, key, state, stripe, version)
        return state

    def _run_lazily(self, connection: Connection, sql: str, parameters: Parameters) -> int:
        # One call into C, as in first_row: a signal handler finds `synchronous` as it should
        # be, and no statement half read. The checkpoint, which syncs, is left to the next
        # real write; not for ever, as the log must not grow without bound.
        script = (
            (f"PRAGMA wal_autocheckpoint = {_LAZY_CHECKPOINT_PAGES}", ()),
            ("PRAGMA synchronous = NORMAL", ()),
            (sql, parameters),
            (self._set_synchronous, ()),
            (f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}", ()),
        )
        try:
            changed: int = max(map(_rowcount, map(connection.execute, *zip(*script, strict=True))))
        except BaseException:
            self._database.close()  # in the middle of the script: start afresh
            raise
        return changed
