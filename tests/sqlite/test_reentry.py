"""Handlers that strike at a chosen line: what test_signals finds by chance, one by one."""

import contextlib
import fcntl
import functools
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import filelock
import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.engine import connections, open_checks, recovery, schema
from lamson_sqlite_state.sqlite.process import (
    clock,
    descriptors,
    filesystem,
    fork,
    new_files,
    write_lock,
)
from tests.helpers.actors import Actor
from tests.helpers.insides import connection_of, file_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(tmp_path / "states") as store:
        yield store
    with closing(sqlite3.connect(tmp_path / "states")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture
def open_store(store: SQLiteStorage) -> SQLiteStorage:
    store.set("m", "ann", "A1")
    store.set("m", "ann", "A2")
    return store


class Strike:
    """Has a handler run once, before or after a call that the package makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.count = 0

    def at(self, owner: Any, name: str, handler: Callable[[], object], *, after: bool) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if self.count:
                return real(*arguments, **options)
            self.count += 1
            if not after:
                handler()
                return real(*arguments, **options)
            result = real(*arguments, **options)
            handler()
            return result

        self._monkeypatch.setattr(owner, name, call)


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Iterator[Strike]:
    strike = Strike(monkeypatch)
    yield strike
    assert strike.count == 1, "the handler was never called"


def lock_is_free(store: SQLiteStorage) -> bool:
    """Ask through a descriptor of its own: a fork would close the store, and free its lock."""
    try:
        with filelock.FileLock(store.path + ".lock", timeout=0):
            return True
    except filelock.Timeout:
        return False


def close_and_set(store: SQLiteStorage) -> None:
    store.close()
    store.set("m", "handler", "H1")


def close_set_and_close(store: SQLiteStorage) -> None:
    close_and_set(store)
    store.close()


HANDLERS: dict[str, Callable[[SQLiteStorage], object]] = {
    "sets": lambda store: store.set("m", "handler", "H1"),
    "gets a new pair": lambda store: store.get("m", "unknown to all"),
    "closes": SQLiteStorage.close,
    "closes and sets": close_and_set,
    "closes, sets, closes": close_set_and_close,
}

PLACES = [
    (write_lock, "lock_descriptor"),
    (time, "time_ns"),
    (clock.Clock, "monotonic"),
    (filesystem.DirectoryWatch, "look"),
]

PLACES_OF_OPENING = [
    *PLACES,
    (new_files, "create_parent"),
    (filesystem, "database_at"),
    (filesystem, "identity"),
    (open_checks, "refuse_unsafe"),
    (open_checks, "prepare"),
    (open_checks, "side_files_here"),
    (open_checks, "first_row"),
    (connections.Connection, "to"),
]


def use(store: SQLiteStorage) -> None:
    store.set("m", "ann", "A3")
    assert store.get("m", "ann") == "A3"
    assert store.get("m", "new") == "START"
    assert store.compare_and_set("m", "new", "START", "N1")
    assert store.get("m", "new") == "N1"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", HANDLERS)
class TestHandler:
    @pytest.mark.parametrize(("owner", "name"), PLACES, ids=lambda value: str(value)[-25:])
    def test_at_a_line_of_a_call_does_no_harm(
        self,
        owner: Any,
        name: str,
        what: str,
        after: bool,
        open_store: SQLiteStorage,
        strike: Strike,
    ) -> None:
        strike.at(owner, name, lambda: HANDLERS[what](open_store), after=after)
        use(open_store)
        assert "sets" not in what or open_store.get("m", "handler") == "H1"
        assert lock_is_free(open_store)

    @pytest.mark.parametrize(
        ("owner", "name"), PLACES_OF_OPENING, ids=lambda value: str(value)[-25:]
    )
    def test_at_a_line_of_opening_does_no_harm(
        self, owner: Any, name: str, what: str, after: bool, store: SQLiteStorage, strike: Strike
    ) -> None:
        strike.at(owner, name, lambda: HANDLERS[what](store), after=after)
        use(store)
        assert "sets" not in what or store.get("m", "handler") == "H1"
        assert lock_is_free(store)


def test_handler_that_writes_leaves_the_lock_to_the_call_it_interrupted(
    open_store: SQLiteStorage, strike: Strike
) -> None:
    found = []

    def write_and_look() -> None:
        open_store.set("m", "handler", "H1")
        found.append(lock_is_free(open_store))

    strike.at(time, "time_ns", write_and_look, after=True)
    open_store.set("m", "ann", "A3")
    assert found == [False]
    assert lock_is_free(open_store)


def test_write_within_a_write_is_as_durable_as_any(open_store: SQLiteStorage) -> None:
    """A finalizer may run in the middle of the START insert, which has `synchronous` lowered."""
    connection = connection_of(open_store)
    assert connection is not None
    connection.execute("PRAGMA synchronous = NORMAL")
    file_of(open_store).write_lock.depth += 1
    try:
        open_store.set("m", "handler", "H1")
    finally:
        file_of(open_store).write_lock.depth -= 1
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_store_closed_after_any_statement_has_no_file_open(
    open_store: SQLiteStorage,
) -> None:
    """A statement that is half read keeps the files of a closed connection open, over a fork."""
    left_open: list[str] = []

    def close_once(_frame: object, event: str, function: Any) -> None:
        if event == "c_return" and function.__name__ in ("execute", "fetchone"):
            sys.setprofile(None)
            open_store.close()
            for descriptor in os.listdir("/proc/self/fd"):
                with contextlib.suppress(FileNotFoundError):
                    left_open.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    for call in (
        lambda: open_store.get("m", "ann"),
        lambda: open_store.get("m", "yet unknown"),
        lambda: open_store.set("m", "ann", "A3"),
    ):
        sys.setprofile(close_once)
        try:
            call()
        finally:
            sys.setprofile(None)
    # The interrupted call may still look at its counters, which have no lock to lose.
    versions = f"{open_store.path}.versions"
    assert not [name for name in left_open if name.startswith(open_store.path) and name != versions]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interrupt_at_the_lock_leaves_it_free(
    after: bool, open_store: SQLiteStorage, strike: Strike
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    strike.at(write_lock, "lock_descriptor", interrupt, after=after)
    with pytest.raises(KeyboardInterrupt):
        open_store.set("m", "ann", "A3")
    assert lock_is_free(open_store)
    use(open_store)


def test_lock_of_a_store_that_a_handler_opens_meanwhile_is_not_kept(
    open_store: SQLiteStorage, strike: Strike, tmp_path: Path
) -> None:
    """It has the number of the descriptor that the interrupted call was about to lock."""
    number = file_of(open_store).write_lock.descriptor
    with SQLiteStorage(tmp_path / "other") as other:

        def close_and_open_another() -> None:
            open_store.close()
            other.set("m", "ann", "O1")
            assert file_of(other).write_lock.descriptor == number

        strike.at(write_lock, "lock_descriptor", close_and_open_another, after=False)
        use(open_store)
        assert lock_is_free(other)
        assert other.get("m", "ann") == "O1"
    assert lock_is_free(open_store)


def test_statement_does_not_run_without_the_lock(open_store: SQLiteStorage) -> None:
    """A handler that closes the store releases it, right before the counters are touched."""
    file, cursor = file_of(open_store), connection_of(open_store).cursor()
    assert file.versions.commit((1,), file.write_lock, cursor, schema.CLEAR) is None
    assert open_store.get("m", "ann") == "A2"


def test_write_after_a_start_that_found_the_file_locked_is_as_durable_as_any(
    tmp_path: Path,
) -> None:
    """Another tool's transaction keeps the START out, which has `synchronous` lowered by then."""
    path = str(tmp_path / "states")
    with SQLiteStorage(path, timeout=0) as store:
        store.set("m", "ann", "A1")
        with closing(sqlite3.connect(path)) as tool:
            tool.execute("BEGIN IMMEDIATE")
            with pytest.raises(LockTimeout):
                store.get("m", "new")
        store.set("m", "ann", "A2")
        assert connection_of(store).execute("PRAGMA synchronous").fetchone() == (2,)


def test_lock_that_a_handler_takes_as_it_is_closed_is_not_held(
    open_store: SQLiteStorage, strike: Strike
) -> None:
    """The interrupted call would go on to write without it."""
    lock = file_of(open_store).write_lock

    def close() -> None:
        assert lock.try_lock()
        lock.close()
        assert lock.is_held == (not lock_is_free(open_store))

    strike.at(descriptors, "has_mark", lambda: open_store.set("m", "ann", "H1"), after=True)
    lock.hold(close)
    assert lock_is_free(open_store)
    use(open_store)


def test_exit_of_a_handler_that_closes_as_the_lock_is_let_go_of_is_not_lost(
    open_store: SQLiteStorage,
) -> None:
    """Nor is a file closed that was given the number of the lock's descriptor meanwhile."""
    lock = file_of(open_store).write_lock
    assert lock.descriptor is not None
    number, unlock_file, taken = lock.descriptor, lock.unlock_file, []

    def close_and_exit() -> None:  # in an audit hook, that is
        lock.unlock_file = unlock_file
        open_store.close()
        taken.append(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, number))
        raise SystemExit

    lock.unlock_file = functools.partial(close_and_exit)
    with pytest.raises(SystemExit):
        open_store.set("m", "ann", "A3")
    os.close(*taken)  # which fails if that was done
    use(open_store)


class TestMissingFileOfAHandler:
    """Taken for ours it would say that the database is gone."""

    missing = FileNotFoundError("the handler's own")

    def fail(self) -> None:
        raise self.missing

    def test_is_not_taken_for_the_database(self, open_store: SQLiteStorage, strike: Strike) -> None:
        strike.at(os, "stat", self.fail, after=True)
        with pytest.raises(FileNotFoundError) as caught:
            open_store.close()
        assert caught.value is self.missing
        assert open_store.get("m", "ann") == "A2"

    def test_is_not_taken_for_a_descriptor_that_is_gone(
        self, store: SQLiteStorage, strike: Strike
    ) -> None:
        with Actor(store.path) as other:
            other.set("m", "ann", "A1")
            strike.at(os, "listdir", self.fail, after=True)
            with pytest.raises(FileNotFoundError) as caught:
                store.get("m", "ann")
            assert caught.value is self.missing
            assert store.get("m", "ann") == "A1"


class TestDaemon:
    """Whatever starts a daemon closes all descriptors, those of an open store too."""

    def close_lock_descriptor(self, store: SQLiteStorage) -> None:
        descriptor = file_of(store).write_lock.descriptor
        assert descriptor is not None
        os.close(descriptor)

    def test_that_closed_the_lock_file_can_write(self, open_store: SQLiteStorage) -> None:
        self.close_lock_descriptor(open_store)
        use(open_store)
        assert lock_is_free(open_store)

    def test_that_closed_the_lock_file_can_close(self, open_store: SQLiteStorage) -> None:
        self.close_lock_descriptor(open_store)
        open_store.close()
        use(open_store)


class TestFailedRescue:
    """The log was deleted and no copy can be made: reading goes on, and so does trying."""

    def test_by_sqlite_keeps_what_only_this_connection_has(
        self, open_store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_arguments: object) -> None:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

        os.unlink(open_store.path + "-wal")
        with monkeypatch.context() as patch:
            patch.setattr(recovery, "replace_by_copy", fail)
            self.fails_and_reads_on(open_store, "free some space")
        self.is_whole_again(open_store)

    def test_by_the_system_keeps_it_too(self, open_store: SQLiteStorage) -> None:
        os.unlink(open_store.path + "-wal")
        os.mkdir(open_store.path + ".rescue")
        self.fails_and_reads_on(open_store, r"\.rescue: ")
        os.rmdir(open_store.path + ".rescue")
        self.is_whole_again(open_store)

    def fails_and_reads_on(self, store: SQLiteStorage, message: str) -> None:
        for _ in range(3):
            with pytest.raises(StorageError, match=message):
                store.set("m", "ann", "NEVER")
            store._cache.revalidate_at = 0.0
            assert store.get("m", "ann") == "A2"

    def is_whole_again(self, store: SQLiteStorage) -> None:
        store.set("m", "bob", "B1")
        assert store.get("m", "ann") == "A2"


def test_exit_closes_every_store_while_threads_still_run(open_store: SQLiteStorage) -> None:
    fork._at_exit()
    assert not os.path.exists(open_store.path + "-wal")
    use(open_store)


def test_stores_that_appear_while_they_are_counted_are_counted() -> None:
    class Growing(set[int]):
        def __iter__(self) -> Iterator[int]:
            for number in range(3):
                if number == 1 and len(self) == 1:
                    self.add(2)
                    raise RuntimeError("Set changed size during iteration")
                yield number

    assert fork.snapshot(Growing({1})) == [0, 1, 2]  # type: ignore[arg-type]
