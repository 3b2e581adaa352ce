"""`check` of sound stores, at work and after crashes; what it leaves alone; how it ends."""

import errno
import os
import signal
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError, UnsafeFork
from lamson_sqlite_state.maintenance._summary import has_wal_reset_race
from lamson_sqlite_state.sqlite.check import Finding, _integrity, check
from tests.helpers.actors import Actor
from tests.helpers.checking import (
    NEEDS_LINUX,
    NEEDS_ROOT,
    make_store,
    only,
    stages,
    states_of_files,
)
from tests.helpers.children import forked, in_child
from tests.helpers.state_files import states

NOBODY = 65534


def write_until_told(path: str, number: int, stop: int, started: int) -> int:
    """Write until a pipe ends; return how often."""
    os.set_blocking(stop, False)
    with SQLiteStorage(path) as store:
        for turn in range(10_000_000):
            store.set("m", f"sender {turn % 50}", f"S{number} {turn}")
            if turn == 0:
                os.write(started, b".")
            try:
                if not os.read(stop, 1):
                    return turn
            except BlockingIOError:
                continue
    raise AssertionError("nobody said stop")


@pytest.mark.many_syncs  # a disk that keeps a writer waiting for a second is a finding
def test_a_store_that_four_processes_write_to_is_sound_each_time(path: str) -> None:
    make_store(path)
    stopped, stop = os.pipe()
    begun, begin = os.pipe()

    def write(number: int) -> int:
        os.close(stop)
        return write_until_told(path, number, stopped, begin)

    with (
        forked(write, 1) as one,
        forked(write, 2) as two,
        forked(write, 3) as three,
        forked(write, 4) as four,
    ):
        for _ in range(4):
            assert os.read(begun, 1)
        try:
            findings = [check(path) for _ in range(20)]
        finally:
            os.close(stop)
        assert all(child.wait() for child in (one, two, three, four))
    for descriptor in (stopped, begun, begin):
        os.close(descriptor)
    assert findings == [[]] * 20


def test_a_store_whose_workers_were_all_killed_is_sound_and_left_as_it_is(path: str) -> None:
    make_store(path)
    begun, begin = os.pipe()
    stopped, stop = os.pipe()
    with (
        forked(write_until_told, path, 1, stopped, begin) as one,
        forked(write_until_told, path, 2, stopped, begin) as two,
    ):
        assert os.read(begun, 1)
        assert os.read(begun, 1)
        one.kill()
        two.kill()
    for descriptor in (begun, begin, stopped, stop):
        os.close(descriptor)
    before = states_of_files(path)
    assert os.path.getsize(f"{path}-wal")
    assert check(path) == []
    assert states_of_files(path) == before


def test_a_log_without_its_index_is_sound_and_left_as_it_is(path: str, first: Actor) -> None:
    first.set("m", "ann", "A1")
    first.kill()
    os.unlink(f"{path}-shm")
    before = states_of_files(path)
    assert check(path) == []
    assert states_of_files(path) == before
    assert states(path) == {"ann": "A1"}


def test_a_store_that_nobody_has_open_is_left_as_it_is(path: str) -> None:
    make_store(path)
    os.unlink(f"{path}.lock")
    os.unlink(f"{path}.versions")
    before = states_of_files(path)
    assert check(path) == []
    assert states_of_files(path) == before


def test_a_copy_that_nobody_has_opened_yet_is_sound_and_not_switched(path: str) -> None:
    make_store(path, ann="A1")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    before = states_of_files(path)
    assert check(path) == []
    assert states_of_files(path) == before


def check_there(store: SQLiteStorage) -> list[Finding]:
    return check(store.path)


def test_a_process_that_uses_the_store_and_checks_it_keeps_its_locks(
    path: str, first: Actor
) -> None:
    """Closing any descriptor of a file drops all locks that the process has on it."""
    first.set("m", "ann", "A1")
    assert first.call(check_there) == []
    os.unlink(f"{path}-wal")  # only by the locks do others see that the log was in use
    with pytest.raises(StorageError, match="deleted under a process"):
        SQLiteStorage(path, timeout=0.05).get("m", "ann")
    first.set("m", "ann", "A2")
    first.close()
    assert states(path) == {"ann": "A2"}


def test_a_missing_file_is_an_error_and_is_not_made(path: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file: give the path"):
        check(path)
    (tmp_path / "run").mkdir()
    with pytest.raises(StorageError, match="no such file"):
        check(path)
    assert os.listdir(tmp_path / "run") == []


def test_a_file_that_goes_while_it_is_checked_is_not_made_anew(path: str) -> None:
    make_store(path)

    def delete(what: str, _done: int, _total: int | None) -> None:
        if what == "locks":  # a stage may be told more than once
            Path(path).unlink(missing_ok=True)

    with pytest.raises(StorageError, match="no such file"):
        check(path, progress=delete)
    assert not os.path.exists(path)


@pytest.mark.parametrize("suffix", ["-journal", ".other"])
def test_a_database_that_opening_would_harm_is_not_opened(suffix: str, path: str) -> None:
    make_store(path)
    if suffix == ".other":
        os.link(path, path + suffix)
    else:
        Path(path + suffix).write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    before = states_of_files(path)
    assert stages(path) == {"files", "locks"}
    assert states_of_files(path) == before


def test_an_empty_file_is_a_finding_and_stays_empty(path: str, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    Path(path).touch(mode=0o600)
    assert only(path).problem == "the file is empty, no store has been made of it yet"
    assert os.path.getsize(path) == 0
    assert os.listdir(tmp_path / "run") == ["states"]


def test_what_progress_raises_comes_out(path: str) -> None:
    make_store(path)
    for stage in ("files", "locks", "integrity", "rows"):

        def interrupt(what: str, _done: int, _total: int | None, until: str = stage) -> None:
            if what == until:
                raise BrokenPipeError(errno.EPIPE, until)

        with pytest.raises(BrokenPipeError, match=stage):
            check(path, progress=interrupt)
    assert check(path) == []


def test_ctrl_c_ends_a_long_integrity_check(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that never ends stands for the check of a huge database."""
    make_store(path)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    monkeypatch.setattr(_integrity, "_INTEGRITY_CHECK", endless)
    strikers: list[threading.Thread] = []

    def strike(what: str, _done: int, _total: int | None) -> None:
        if what == "integrity":  # the query is next
            striker = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
            strikers.append(striker)
            striker.start()

    with pytest.raises(KeyboardInterrupt):
        check(path, progress=strike)
    strikers[0].join()
    monkeypatch.undo()
    assert check(path) == []


def test_a_fork_of_another_thread_waits_for_a_query(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection crosses a fork, and none is closed under its query."""
    make_store(path)
    slow = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000)"
        " SELECT 'ok' FROM n WHERE i = 300000"
    )
    monkeypatch.setattr(_integrity, "_INTEGRITY_CHECK", slow)

    def check_and_fork() -> None:
        forkers: list[threading.Thread] = []

        def fork(what: str, _done: int, _total: int | None) -> None:
            if what == "integrity":
                forkers.append(threading.Thread(target=in_child, args=(os.getpid,)))
                forkers[-1].start()

        assert check(path, progress=fork) == []
        for forker in forkers:
            forker.join()

    in_child(check_and_fork)  # a connection that is closed under its query is a crash


@NEEDS_ROOT
def test_a_user_who_may_not_read_the_store_is_told_so() -> None:
    def check_as_nobody(path: str) -> tuple[list[Finding], str]:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        found = check(path)
        with pytest.raises(StorageError) as caught:
            check(os.path.join(os.path.dirname(path), "private", "states"))
        return found, str(caught.value)

    # Only root may enter pytest's own directory.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        os.mkdir(os.path.join(directory, "private"), 0o700)
        path = os.path.join(directory, "states")
        make_store(path)
        found, error = in_child(check_as_nobody, path)
    assert [each.subject for each in found] == ["SQLite"]
    assert "could not be looked at: Permission denied" in found[0].problem
    assert "Permission denied" in error


def test_rows_are_told_of_as_they_are_read(path: str) -> None:
    with SQLiteStorage(path, synchronous="NORMAL") as store:
        for number in range(4001):
            store.set("m", f"sender {number}", "A1")
    told: list[tuple[str, int, int | None]] = []
    assert check(path, progress=lambda *stage: told.append(stage)) == []
    assert [stage for stage in told if stage[0] == "rows"] == [
        ("rows", 0, None),
        ("rows", 0, 4001),
        ("rows", 2000, 4001),
        ("rows", 4000, 4001),
        ("rows", 4001, 4001),
    ]


@NEEDS_LINUX
def test_no_worker_waits_for_a_check(path: str, first: Actor) -> None:
    """At each stage of the check, another process sets a state at once."""
    first.set("m", "ann", "A1")
    waited: list[float] = []

    def set_another(_what: str, done: int, _total: int | None) -> None:
        start = time.monotonic()
        first.set("m", "ann", f"A{len(waited)} {done}")
        waited.append(time.monotonic() - start)

    assert check(path, progress=set_another) == []
    assert len(waited) >= 4


def test_a_store_that_was_open_at_an_unhooked_fork_is_an_error(path: str) -> None:
    import ctypes

    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        pid = ctypes.CDLL(None).fork()
        if not pid:
            try:
                check(path)
            except UnsafeFork:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert store.get("m", "ann") == "A1"


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_versions_with_the_wal_reset_race_are_told(
    version: tuple[int, int, int], has_it: bool
) -> None:
    assert has_wal_reset_race(version) is has_it


def test_the_wal_reset_race_is_told_of_the_sqlite_in_use() -> None:
    assert has_wal_reset_race() is has_wal_reset_race(sqlite3.sqlite_version_info)
