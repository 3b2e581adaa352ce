"""How each of the library's defences is switched off, for good, in this process and its forks.

What each is, by what it shows and what must catch it stands in `sabotages`.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from lamson_sqlite_state import LockTimeout, SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.coherence import cache, counters
from lamson_sqlite_state.sqlite.engine import (
    database,
    driver_errors,
    open_checks,
    open_database,
    schema,
    states_table,
    store_handle,
)
from lamson_sqlite_state.sqlite.process import backoff, filesystem, fork, write_lock

__all__ = [
    "cache_ignores_versions",
    "clear_tells_nobody",
    "close_closes_nothing",
    "compare_then_set",
    "driver_errors_come_through",
    "endless_patience",
    "errors_swallowed",
    "keep_connection_over_fork",
    "lock_outlives_its_holder",
    "no_checkpoints",
    "no_file_lock",
    "no_look_before_writing",
    "no_look_for_edits",
    "nothing",
    "now_and_then_a_crash",
    "reads_take_the_lock",
    "reopen_beside_a_deleted_log",
    "since_in_seconds",
    "since_with_every_set",
    "start_overwrites",
    "timeout_comes_late",
    "unequal_patience",
    "version_read_late",
]

_LATE_SECONDS: Final = 0.0005
_UNFAIR_SECONDS: Final = 0.05
_MUCH_LATER_SECONDS: Final = 5.0
_CRASH_EVERY: Final = 500


def _replace(owner: Any, name: str, new: object) -> None:
    getattr(owner, name)  # a sabotage of what has another name by now would be none
    setattr(owner, name, new)


def no_file_lock() -> None:
    def try_lock(lock: write_lock.WriteLock) -> bool:
        if lock.descriptor is None:
            lock._open()
        lock.is_held = True
        return True

    _replace(write_lock.WriteLock, "try_lock", try_lock)


def lock_outlives_its_holder() -> None:
    # What a lock is that is no more than a file with a name.
    def try_lock(lock: write_lock.WriteLock) -> bool:
        if not lock.is_held:
            os.makedirs(os.path.dirname(lock.path), exist_ok=True)
            try:
                os.close(os.open(lock.path, os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                return False
            lock.is_held = True
            lock.unlock_file = partial(remove, lock)
        return True

    def remove(lock: write_lock.WriteLock) -> None:
        lock.unlock_file = partial(bool)
        os.unlink(lock.path)

    _replace(write_lock.WriteLock, "try_lock", try_lock)
    _replace(write_lock.WriteLock, "is_in_place", lambda _lock: True)


def keep_connection_over_fork() -> None:
    def close(handle: store_handle.StoreHandle) -> None:
        if handle.database is not None:
            handle.database.close()

    _replace(store_handle.StoreHandle, "close", close)
    _replace(store_handle.StoreHandle, "close_for_fork", lambda _handle: None)
    _replace(store_handle.StoreHandle, "inherited_identity", None)
    fork.close_before_fork.clear()


def cache_ignores_versions() -> None:
    mapped = counters.Versions._map

    def map_privately(versions: counters.Versions) -> bool:
        is_mapped = mapped(versions)
        if versions.counters is not None:
            versions.counters = memoryview(bytearray(versions.counters)).cast("Q")
        return is_mapped

    _replace(counters.Versions, "_map", map_privately)


def version_read_late() -> None:
    keep = cache.Cache.keep

    def keep_late(
        self: cache.Cache, entries: Any, key: cache.Key, state: str, stripe: int, _version: int
    ) -> None:
        time.sleep(_LATE_SECONDS)  # as when another process comes in between
        keep(self, entries, key, state, stripe, self.current[1][stripe])

    _replace(cache.Cache, "keep", keep_late)


def clear_tells_nobody() -> None:
    def commit(
        _versions: object,
        _stripes: object,
        _lock: object,
        cursor: sqlite3.Cursor,
        sql: str,
        parameters: Sequence[object] = (),
    ) -> tuple[int, int]:
        return cursor.execute(sql, parameters).rowcount, 1

    _replace(counters.Versions, "commit", commit)


def no_look_before_writing() -> None:
    watch = filesystem.DirectoryWatch
    _replace(watch, "look", lambda _watch: None)
    _replace(watch, "is_unchanged", lambda _watch: True)


def no_look_for_edits() -> None:
    def believe(self: database.Database, _connection: Any, now: float) -> None:
        cache, counters = self.file.cache, self.file.versions.counters
        if not cache.goes_by(counters):
            cache.empty(counters)
        cache.note_look(now)

    _replace(database.Database, "_look_for_edits", believe)


def reopen_beside_a_deleted_log() -> None:
    _replace(database.Database, "_mend", lambda self, _connection: self.file.disconnect())
    _replace(open_checks, "refuse_unsafe", lambda *_arguments, **_options: True)


def reads_take_the_lock() -> None:
    read = states_table.StatesTable.read

    def read_locked(self: states_table.StatesTable, key: cache.Key, is_fresh: bool) -> str | None:
        self.database.locked(lambda _connection, _now_ms: 0)
        return read(self, key, is_fresh)

    _replace(states_table.StatesTable, "read", read_locked)


def endless_patience() -> None:
    init = backoff.Backoff.__init__

    def start(self: backoff.Backoff, _timeout_seconds: float, queue: Any) -> None:
        init(self, float("inf"), queue)

    _replace(backoff.Backoff, "__init__", start)


def timeout_comes_late() -> None:
    wait = backoff.Backoff.wait

    def wait_on(self: backoff.Backoff, *arguments: Any) -> None:
        try:
            wait(self, *arguments)
        except LockTimeout:
            time.sleep(_MUCH_LATER_SECONDS)
            raise

    _replace(backoff.Backoff, "wait", wait_on)


def now_and_then_a_crash() -> None:
    read, first_process = states_table.StatesTable.read, os.getpid()

    def read_or_die(self: states_table.StatesTable, key: cache.Key, is_fresh: bool) -> str | None:
        if time.monotonic_ns() % _CRASH_EVERY == 0 and os.getpid() != first_process:
            os.abort()
        return read(self, key, is_fresh)

    _replace(states_table.StatesTable, "read", read_or_die)


def unequal_patience() -> None:
    wait = backoff.Backoff.wait

    def nap(self: backoff.Backoff, *arguments: Any) -> None:
        if os.getpid() % 2:
            time.sleep(_UNFAIR_SECONDS)
        wait(self, *arguments)

    _replace(backoff.Backoff, "wait", nap)


def start_overwrites() -> None:
    _replace(schema, "INSERT_START", schema.INSERT_START.replace("OR IGNORE", "OR REPLACE"))


def compare_then_set() -> None:
    def compare_and_set(
        self: SQLiteStorage, module: object, sender: object, expected: str, state: str
    ) -> bool:
        if self.get(module, sender) != expected:
            return False
        self.set(module, sender, state)
        return True

    _replace(SQLiteStorage, "compare_and_set", compare_and_set)


def errors_swallowed() -> None:
    write = SQLiteStorage.set

    def set_silently(self: SQLiteStorage, module: object, sender: object, state: str) -> None:
        with contextlib.suppress(StorageError):
            write(self, module, sender, state)

    _replace(SQLiteStorage, "set", set_silently)


def driver_errors_come_through() -> None:
    def untranslated(error: sqlite3.Error, path: str, *, is_writing: bool) -> Exception:
        is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        return driver_errors.translated(error, path, is_writing=is_writing) if is_busy else error

    _replace(open_database, "translated", untranslated)


def no_checkpoints() -> None:
    prepare = open_checks.prepare

    def without(connection: Any, *arguments: Any, **options: Any) -> bool:
        is_ready = prepare(connection, *arguments, **options)
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        return is_ready

    _replace(open_checks, "prepare", without)
    _replace(states_table, "CHECKPOINT_PAGES", 0)
    _replace(states_table, "_LAZY_CHECKPOINT_PAGES", 0)


def close_closes_nothing() -> None:
    _replace(store_handle.StoreHandle, "close", lambda _store: None)


def since_in_seconds() -> None:
    for name in ("SET", "COMPARE_AND_SET_FROM_START"):
        sql = getattr(schema, name).replace("(?, ?, ?, ?)", "(?, ?, ?, ? / 1000)")
        _replace(schema, name, sql)
    _replace(states_table.StatesTable.write, "__defaults__", (schema.SET, None))


def since_with_every_set() -> None:
    sql = schema.SET.removesuffix(" WHERE state <> excluded.state")
    _replace(states_table.StatesTable.write, "__defaults__", (sql, None))
    _replace(cache.Cache, "_usable", lambda _cache, _counters: cache._ODD_COUNTERS)


def nothing() -> None:
    pass
