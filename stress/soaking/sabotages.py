"""One defence of the library switched off inside a run: what the checks must catch.

Each sabotage patches the library in the process that forks the workers, before it forks any. A
sabotage that no check catches means that a check is missing.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from lamson_sqlite_state import LockTimeout, SQLiteStorage, StorageError
from lamson_sqlite_state import _cache as cache
from lamson_sqlite_state import _coherence as coherence
from lamson_sqlite_state import _database as database
from lamson_sqlite_state import _filesystem as filesystem
from lamson_sqlite_state import _fork as fork
from lamson_sqlite_state import _open_file as open_file
from lamson_sqlite_state import _opening as opening
from lamson_sqlite_state import _schema as schema
from lamson_sqlite_state import _sqlite_errors as sqlite_errors
from lamson_sqlite_state import _states as states
from lamson_sqlite_state import _store as store
from lamson_sqlite_state import _write_lock as write_lock

from . import checks

__all__ = ["POWER_CUT", "SABOTAGES", "Sabotage"]

POWER_CUT: Final = "power-cut"
"""The fault that strikes by itself, not in a round."""

_LATE_SECONDS: Final = 0.0005
_UNFAIR_SECONDS: Final = 0.05
_MUCH_LATER_SECONDS: Final = 5.0
_CRASH_EVERY: Final = 500


@dataclass(frozen=True)
class Sabotage:
    """A defence that is switched off.

    Args:
        about: which one, in words.
        apply: switches it off, for good, in this process and all that it forks.
        faults: by which the loss shows.
        caught_by: the checks of which at least one must fail.
    """

    about: str
    apply: Callable[[], None]
    faults: tuple[str, ...]
    caught_by: tuple[str, ...]


def _replace(owner: Any, name: str, new: object) -> None:
    getattr(owner, name)  # a sabotage of what has another name by now would be none
    setattr(owner, name, new)


def _no_file_lock() -> None:
    def try_lock(lock: write_lock.WriteLock) -> bool:
        if lock._descriptor is None:
            lock._open()
        lock.is_held = True
        return True

    def unlock(lock: write_lock.WriteLock) -> None:
        lock.epoch += 1
        lock.is_held = False

    _replace(write_lock.WriteLock, "try_lock", try_lock)
    _replace(write_lock.WriteLock, "unlock", unlock)


def _lock_outlives_its_holder() -> None:
    # What a lock is that is no more than a file with a name.
    def try_lock(lock: write_lock.WriteLock) -> bool:
        if not lock.is_held:
            os.makedirs(os.path.dirname(lock.path), exist_ok=True)
            try:
                os.close(os.open(lock.path, os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                return False
            lock.is_held = True
        return True

    def unlock(lock: write_lock.WriteLock) -> None:
        lock.epoch += 1
        if lock.is_held:
            lock.is_held = False
            os.unlink(lock.path)

    _replace(write_lock.WriteLock, "try_lock", try_lock)
    _replace(write_lock.WriteLock, "unlock", unlock)
    _replace(write_lock.WriteLock, "is_in_place", lambda _lock: True)


def _keep_connection_over_fork() -> None:
    _replace(store.Store, "close_for_fork", lambda _store: None)
    _replace(store.Store, "inherited_identity", None)
    fork.close_before_fork.clear()


def _cache_ignores_versions() -> None:
    mapped = coherence.Versions._map

    def map_privately(versions: coherence.Versions) -> bool:
        is_mapped = mapped(versions)
        if versions.counters is not None:
            versions.counters = memoryview(bytearray(versions.counters)).cast("Q")
        return is_mapped

    _replace(coherence.Versions, "_map", map_privately)


def _version_read_late() -> None:
    keep = cache.Cache.keep

    def keep_late(
        self: cache.Cache, entries: Any, key: cache.Key, state: str, stripe: int, _version: int
    ) -> None:
        time.sleep(_LATE_SECONDS)  # as when another process comes in between
        keep(self, entries, key, state, stripe, self.current[1][stripe])

    _replace(cache.Cache, "keep", keep_late)


def _clear_tells_nobody() -> None:
    def commit(_versions: object, _lock: object, connection: sqlite3.Connection, sql: str) -> int:
        return connection.execute(sql).rowcount

    _replace(coherence.Versions, "commit_to_all", commit)


def _no_look_before_writing() -> None:
    watch = filesystem.DirectoryWatch
    _replace(watch, "look", lambda _watch: None)
    _replace(watch, "is_unchanged", lambda _watch: True)


def _no_look_for_edits() -> None:
    def believe(self: database.Database, _connection: Any, now: float) -> None:
        if not self.cache.goes_by(self.versions.counters):
            self.cache.empty(self.versions.counters)
        self.cache.valid_until = now + 0.010

    _replace(database.Database, "_look_for_edits", believe)


def _reopen_beside_a_deleted_log() -> None:
    _replace(database.Database, "_mend", lambda self, _connection: self._disconnect())
    _replace(opening, "refuse_unsafe", lambda *_arguments, **_options: None)


def _reads_take_the_lock() -> None:
    read = states.States.read

    def read_locked(self: states.States, key: cache.Key, is_fresh: bool) -> str | None:
        self._database.locked(lambda _connection, _now_ms: 0)
        return read(self, key, is_fresh)

    _replace(states.States, "read", read_locked)


def _endless_patience() -> None:
    init = write_lock.Patience.__init__

    def start(self: write_lock.Patience, _timeout_seconds: float, queue: Any) -> None:
        init(self, float("inf"), queue)

    _replace(write_lock.Patience, "__init__", start)


def _timeout_comes_late() -> None:
    wait = write_lock.Patience.wait

    def wait_on(self: write_lock.Patience, *arguments: Any) -> None:
        try:
            wait(self, *arguments)
        except LockTimeout:
            time.sleep(_MUCH_LATER_SECONDS)
            raise

    _replace(write_lock.Patience, "wait", wait_on)


def _now_and_then_a_crash() -> None:
    read, first_process = states.States.read, os.getpid()

    def read_or_die(self: states.States, key: cache.Key, is_fresh: bool) -> str | None:
        if time.monotonic_ns() % _CRASH_EVERY == 0 and os.getpid() != first_process:
            os.abort()
        return read(self, key, is_fresh)

    _replace(states.States, "read", read_or_die)


def _unequal_patience() -> None:
    wait = write_lock.Patience.wait

    def nap(self: write_lock.Patience, *arguments: Any) -> None:
        if os.getpid() % 2:
            time.sleep(_UNFAIR_SECONDS)
        wait(self, *arguments)

    _replace(write_lock.Patience, "wait", nap)


def _start_overwrites() -> None:
    _replace(schema, "INSERT_START", schema.INSERT_START.replace("OR IGNORE", "OR REPLACE"))


def _compare_then_set() -> None:
    def compare_and_set(
        self: SQLiteStorage, module: object, sender: object, expected: str, state: str
    ) -> bool:
        if self.get(module, sender) != expected:
            return False
        self.set(module, sender, state)
        return True

    _replace(SQLiteStorage, "compare_and_set", compare_and_set)


def _errors_swallowed() -> None:
    write = SQLiteStorage.set

    def set_silently(self: SQLiteStorage, module: object, sender: object, state: str) -> None:
        with contextlib.suppress(StorageError):
            write(self, module, sender, state)

    _replace(SQLiteStorage, "set", set_silently)


def _driver_errors_come_through() -> None:
    def untranslated(error: sqlite3.Error, path: str, *, is_writing: bool) -> Exception:
        is_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
        return sqlite_errors.translated(error, path, is_writing=is_writing) if is_busy else error

    _replace(open_file, "translated", untranslated)


def _no_checkpoints() -> None:
    prepare = opening.prepare

    def without(connection: Any, *arguments: Any, **options: Any) -> None:
        prepare(connection, *arguments, **options)
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()

    _replace(opening, "prepare", without)
    _replace(states, "_CHECKPOINT_PAGES", 0)
    _replace(states, "_LAZY_CHECKPOINT_PAGES", 0)


def _close_closes_nothing() -> None:
    _replace(store.Store, "close", lambda _store: None)


def _since_in_seconds() -> None:
    for name in ("SET", "COMPARE_AND_SET_FROM_START"):
        sql = getattr(schema, name).replace("(?, ?, ?, ?)", "(?, ?, ?, ? / 1000)")
        _replace(schema, name, sql)
    _replace(states.States.write, "__defaults__", (schema.SET, None))


def _nothing() -> None:
    pass


SABOTAGES: Final[Mapping[str, Sabotage]] = MappingProxyType(
    {
        "no-file-lock": Sabotage(
            "writers do not lock the lock file", _no_file_lock, ("held-lock",), (checks.HELD,)
        ),
        "lock-outlives-its-holder": Sabotage(
            "the lock is a file that exists, which nobody deletes when its holder dies",
            _lock_outlives_its_holder,
            ("kill",),
            (checks.ERRORS,),
        ),
        "keep-connection-over-fork": Sabotage(
            "connections and locks are taken across forks",
            _keep_connection_over_fork,
            ("fork-storm",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED, checks.SOUND, checks.ERRORS),
        ),
        "cache-ignores-versions": Sabotage(
            "each process has counters of its own",
            _cache_ignores_versions,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "version-read-late": Sabotage(
            "what was read is kept under a version that is read after it",
            _version_read_late,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "clear-tells-nobody": Sabotage(
            "clear moves no counters", _clear_tells_nobody, ("calm",), (checks.LINEARIZABLE,)
        ),
        "no-look-before-writing": Sabotage(
            "writers do not look whether the files have kept their names",
            _no_look_before_writing,
            ("database-replaced",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED),
        ),
        "no-look-for-edits": Sabotage(
            "nobody asks whether another tool has written",
            _no_look_for_edits,
            ("edits",),
            (checks.LINEARIZABLE,),
        ),
        "reopen-beside-a-deleted-log": Sabotage(
            "where the log was deleted, the database is just opened anew",
            _reopen_beside_a_deleted_log,
            ("log-deleted",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED, checks.SOUND, checks.ERRORS),
        ),
        "reads-take-the-lock": Sabotage(
            "readers lock the lock file, too", _reads_take_the_lock, ("stop",), (checks.HELD,)
        ),
        "endless-patience": Sabotage(
            "no call gives up waiting", _endless_patience, ("stop",), (checks.HELD,)
        ),
        "timeout-comes-late": Sabotage(
            "calls give up long after their timeout",
            _timeout_comes_late,
            ("held-lock",),
            (checks.DURATION,),
        ),
        "crash": Sabotage(
            "now and then a read ends the process (abort)",
            _now_and_then_a_crash,
            ("calm",),
            (checks.ENDS,),
        ),
        "unequal-patience": Sabotage(
            "half of the processes wait longer before they try again",
            _unequal_patience,
            ("calm",),
            (checks.SHARES,),
        ),
        "start-overwrites": Sabotage(
            "the first get of a pair overwrites what another process has just set",
            _start_overwrites,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "compare-then-set": Sabotage(
            "compare_and_set is a get and a set",
            _compare_then_set,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "errors-swallowed": Sabotage(
            "set returns although nothing could be written",
            _errors_swallowed,
            ("full-disk",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED),
        ),
        "driver-errors-come-through": Sabotage(
            "errors of SQLite are not translated",
            _driver_errors_come_through,
            ("failing-syncs",),
            (checks.ERRORS,),
        ),
        "no-checkpoints": Sabotage(
            "the log is never written back", _no_checkpoints, ("calm",), (checks.SIZES,)
        ),
        "close-closes-nothing": Sabotage(
            "close leaves everything open", _close_closes_nothing, ("calm",), (checks.LEFT,)
        ),
        "since-in-seconds": Sabotage(
            "the time of a change is written in another unit",
            _since_in_seconds,
            ("calm",),
            (checks.SOUND,),
        ),
        # What follows is done by the power cuts themselves, to the stores and disks they make.
        "synchronous-off": Sabotage(
            "connections never sync, behind the library's back",
            _nothing,
            (POWER_CUT,),
            (checks.POWER,),
        ),
        "normal-as-full": Sabotage(
            "stores are opened at NORMAL, and what FULL promises is asked of them",
            _nothing,
            (POWER_CUT,),
            (checks.POWER,),
        ),
        "no-directory-syncs": Sabotage(
            "the disk forgets the names that were synced", _nothing, (POWER_CUT,), (checks.POWER,)
        ),
    }
)
"""All of them, by name."""
