"""The -wal and -shm of a database, deleted by hand under running processes."""

import os
import resource
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.engine import open_checks
from tests.helpers.actors import Actor
from tests.helpers.state_files import let_readers_notice, rows


def delete(*suffixes: str) -> Callable[[str], None]:
    def mishap(path: str) -> None:
        for suffix in suffixes:
            os.unlink(path + suffix)

    mishap.__name__ = "deleting " + " and ".join(f"states{suffix}" for suffix in suffixes)
    return mishap


LOSING_A_SIDE_FILE = [delete("-wal"), delete("-shm"), delete("-wal", "-shm")]


@pytest.mark.parametrize("mishap", LOSING_A_SIDE_FILE, ids=lambda mishap: mishap.__name__)
class TestDeletedSideFile:
    def test_loses_no_acknowledged_write_of_any_process(
        self, mishap: Callable[[str], None], path: str, first: Actor, second: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        mishap(path)
        first.set("m", "ann", "A2")
        let_readers_notice(second)
        assert second.get("m", "ann") == "A2"
        second.set("m", "bob", "B2")
        let_readers_notice(first)
        assert (first.get("m", "ann"), first.get("m", "bob")) == ("A2", "B2")
        with Actor(path) as third:
            assert (third.get("m", "ann"), third.get("m", "bob")) == ("A2", "B2")
            third.set("m", "cho", "C1")
        first.close()
        second.close()
        assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B2", ("m", "cho"): "C1"}

    def test_is_mended_by_the_next_read_where_nobody_writes(
        self, mishap: Callable[[str], None], path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        mishap(path)
        let_readers_notice(first)
        assert first.get("m", "ann") == "A1"
        first.kill()  # so that only the file can tell
        assert rows(path) == {("m", "ann"): "A1"}

    def test_keeps_a_new_process_out_until_it_is_mended(
        self, mishap: Callable[[str], None], path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        mishap(path)
        with Actor(path) as late:
            late.begin(SQLiteStorage.set, "m", "bob", "B1")
            assert late.is_busy(0.1)  # it would start a second log, and lose A1
            while late.is_busy(0):  # now and then a look finds the other at the lock
                let_readers_notice(first)
                assert first.get("m", "ann") == "A1"
            late.result()
            assert late.get("m", "ann") == "A1"
        first.close()
        assert rows(path) == {("m", "ann"): "A1", ("m", "bob"): "B1"}

    def test_of_a_process_that_never_mends_it_is_an_error_that_says_so(
        self, mishap: Callable[[str], None], path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        mishap(path)
        with pytest.raises(StorageError, match="deleted under a process that has the database"):
            SQLiteStorage(path, timeout=0.05).get("m", "ann")

    def test_left_by_a_crash_is_no_hindrance(
        self, mishap: Callable[[str], None], path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        first.kill()
        mishap(path)
        with SQLiteStorage(path, timeout=0) as store:
            store.set("m", "bob", "B1")
            assert store.get("m", "bob") == "B1"

    def test_of_an_instance_in_the_same_process_keeps_its_locks(
        self, mishap: Callable[[str], None], path: str
    ) -> None:
        """Probing for users opens the database, and closing that would drop our own locks."""
        with SQLiteStorage(path) as one, SQLiteStorage(path, timeout=0.05) as other:
            one.set("m", "ann", "A1")
            mishap(path)
            with pytest.raises(StorageError, match="deleted"):
                other.get("m", "ann")
            one.set("m", "ann", "A2")
            assert other.get("m", "ann") == "A2"


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_deleted_while_another_process_opens_the_database_loses_nothing(
    ending: str, path: str, first: Actor, second: Actor
) -> None:
    """Two processes would have two logs, or two indexes of one log, and not know of each other."""
    first.set("m", "ann", "A1")
    second.call(delete_after, "refuse_unsafe", path + ending)
    second.begin(SQLiteStorage.set, "m", "bob", "B1")
    assert second.is_busy(0.05)  # until the other one has mended it
    first.set("m", "ann", "A2")
    second.result()
    first.set("m", "cho", "C1")
    assert second.get("m", "ann") == "A2"
    first.kill()
    second.kill()
    assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B1", ("m", "cho"): "C1"}


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_deleted_as_soon_as_the_database_is_open_is_made_anew(
    ending: str, path: str, first: Actor
) -> None:
    first.call(delete_after, "prepare", path + ending)
    first.set("m", "ann", "A1")
    assert os.path.exists(path + ending)
    first.kill()
    assert rows(path) == {("m", "ann"): "A1"}


def test_a_signal_handler_that_comes_while_others_are_asked_about_opens_all_the_same(
    path: str, first: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that it interrupts has the index open, and goes on only after it."""
    first.set("m", "ann", "A1")
    asked: list[str] = []
    with SQLiteStorage(path, timeout=1) as store:
        pread = os.pread

        def pread_and_be_interrupted(descriptor: int, length: int, offset: int) -> bytes:
            if not asked:
                asked.append("")
                asked[0] = store.get("m", "ann")
            return pread(descriptor, length, offset)

        monkeypatch.setattr(os, "pread", pread_and_be_interrupted)
        assert store.get("m", "ann") == "A1"
    assert asked == ["A1"]


def delete_after(_store: SQLiteStorage, step: str, file: str) -> None:
    """Have a file deleted once, just after a step of the next opening."""
    take = getattr(open_checks, step)

    def take_and_delete(*arguments: Any, **options: Any) -> Any:
        answer = take(*arguments, **options)
        setattr(open_checks, step, take)
        os.unlink(file)
        return answer

    setattr(open_checks, step, take_and_delete)


def test_a_crash_in_the_middle_of_mending_leaves_a_sound_database(path: str) -> None:
    """Without its log nothing could put right what was half written into it."""
    pid = os.fork()
    if not pid:
        store = SQLiteStorage(path)
        for number in range(40):
            store.set("m", f"ann {number}", "A" * 1_000)
        os.unlink(f"{path}-wal")
        # The kernel kills who writes the fourth page of a file, be it the database or a copy.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 4096, 3 * 4096))
        store.set("m", "ann 0", "B")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGXFSZ
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A")
    assert rows(path)["m", "ann"] == "A"


def test_a_crash_before_the_copy_has_the_name_loses_nothing_where_the_log_was_there(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.fork()
    if not pid:
        store = SQLiteStorage(path)
        store.set("m", "ann", "A")
        os.unlink(f"{path}-shm")
        monkeypatch.setattr(os, "rename", lambda *_: os._exit(7))
        store.set("m", "bob", "B")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert rows(path) == {("m", "ann"): "A"}
