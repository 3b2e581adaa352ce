"""A database that is replaced, restored or moved under running processes, and its log."""

import os
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from lamson_sqlite_state.sqlite.engine import connections, recovery
from lamson_sqlite_state.sqlite.process import filesystem
from tests.helpers.actors import Actor
from tests.helpers.children import in_child
from tests.helpers.state_files import let_readers_notice, make_backup, rows


class TestReplacedDatabase:
    def test_is_what_every_process_reads_and_writes_from_then_on(
        self, path: str, first: Actor, second: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        os.rename(make_backup(path, ann="OLD", bob="OLD", zoe="OLD"), path)
        first.set("m", "ann", "A2")
        let_readers_notice(first, second)
        assert (second.get("m", "ann"), second.get("m", "bob")) == ("A2", "OLD")
        second.set("m", "bob", "B2")
        first.close()
        second.close()
        assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B2", ("m", "zoe"): "OLD"}

    def test_just_as_a_process_opens_it_is_not_given_the_log_of_the_old_one(
        self, path: str, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SQLite would write that log into the new database as it closes it again."""
        first.set("m", "ann", "A1")
        backup = make_backup(path, ann="OLD", bob="OLD")
        connect = connections.Connection.to

        def replace_and_connect(*arguments: Any, **options: Any) -> connections.Connection:
            if os.path.exists(backup):
                os.rename(backup, path)
            return connect(*arguments, **options)

        monkeypatch.setattr(connections.Connection, "to", replace_and_connect)
        with SQLiteStorage(path, timeout=0) as store:
            with pytest.raises(LockTimeout, match="the file was replaced under a process"):
                store.get("m", "ann")
            let_readers_notice(first)
            assert first.get("m", "ann") == "OLD"
            assert [store.get("m", sender) for sender in ("ann", "bob")] == ["OLD", "OLD"]

    def test_is_seen_by_a_process_that_only_reads(self, path: str, first: Actor) -> None:
        first.set("m", "ann", "A1")
        os.rename(make_backup(path, ann="OLD"), path)
        let_readers_notice(first)
        assert first.get("m", "ann") == "OLD"

    def test_is_waited_for_by_a_reader_while_writers_have_the_lock(
        self, path: str, first: Actor
    ) -> None:
        """Else it would read the old file for as long as it never found the lock free."""
        first.set("m", "ann", "A1")
        os.rename(make_backup(path, ann="OLD"), path)
        let_readers_notice(first)
        with FileLock(path + ".lock"):
            first.begin(SQLiteStorage.get, "m", "ann")
            assert first.is_busy(0.05)
        assert first.result() == "OLD"

    def test_is_read_without_the_lock_once_another_process_has_mended_it(
        self, path: str, first: Actor, second: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        os.rename(make_backup(path, ann="OLD"), path)
        second.set("m", "bob", "B2")
        with FileLock(path + ".lock"):
            let_readers_notice(first)
            assert first.get("m", "ann") == "OLD"
            assert first.get("m", "bob") == "B2"

    def test_is_closed_by_many_at_once(self, path: str, first: Actor, second: Actor) -> None:
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        for _ in range(50):
            os.unlink(path)
            first.begin(SQLiteStorage.close)
            second.close()
            first.result()
            first.set("m", "ann", "A2")
            assert second.get("m", "ann") == "A2"

    def test_does_not_take_its_log_for_that_of_the_one_before(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file system may give the next file the inode number that was freed by closing."""
        forget = connections.forget
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            log = os.stat(path + "-wal")

            def forget_and_free_the_number(connection: connections.Connection) -> None:
                forget(connection)
                Path(path + "-wal").write_bytes(b"another process's")
                monkeypatch.setattr(filesystem, "identity", lambda _: (log.st_dev, log.st_ino))

            os.unlink(path)
            monkeypatch.setattr(recovery, "forget", forget_and_free_the_number)
            store.close()
            monkeypatch.undo()
            assert Path(path + "-wal").read_bytes() == b"another process's"
            os.unlink(path + "-wal")

    def test_is_not_waited_for_long_where_a_writer_is_stopped(
        self, path: str, first: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        os.rename(make_backup(path, ann="OLD"), path)
        let_readers_notice(first)
        with FileLock(path + ".lock"):
            assert first.get("m", "ann") == "A1"
            let_readers_notice(first)
            assert first.get("m", "ann") == "A1"
        let_readers_notice(first)
        assert first.get("m", "ann") == "OLD"

    def test_keeps_no_reader_without_patience_from_reading(self, path: str) -> None:
        with Actor(path, timeout=0) as reader:
            reader.set("m", "ann", "A1")
            os.rename(make_backup(path, ann="OLD"), path)
            let_readers_notice(reader)
            with FileLock(path + ".lock"):
                assert reader.get("m", "ann") == "A1"

    def test_does_not_get_the_log_of_the_one_before(self, path: str, first: Actor) -> None:
        """SQLite would replay a left-over log into whatever database has the name."""
        first.set("m", "ann", "A1")
        os.rename(make_backup(path, zoe="OLD"), path)
        first.set("m", "cho", "C1")
        first.kill()
        assert rows(path) == {("m", "zoe"): "OLD", ("m", "cho"): "C1"}

    def test_keeps_its_log_when_the_last_one_closes_the_database_before(
        self, path: str, first: Actor, second: Actor
    ) -> None:
        """SQLite deletes the log by its name when the last connection closes."""
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        os.rename(make_backup(path, zoe="OLD"), path)
        first.set("m", "ann", "A2")
        second.close()
        first.kill()
        assert rows(path) == {("m", "ann"): "A2", ("m", "zoe"): "OLD"}

    def test_opened_by_a_new_process_does_not_get_the_log_of_the_one_before(
        self, path: str, first: Actor, second: Actor
    ) -> None:
        """The new process never had the old database open, so it must ask who has the log."""
        first.set("m", "ann", "A1")
        os.rename(make_backup(path, zoe="OLD"), path)
        second.begin(SQLiteStorage.set, "m", "bob", "B1")
        assert second.is_busy(0.1)
        first.set("m", "ann", "A2")
        second.result()
        second.close()
        first.close()
        assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B1", ("m", "zoe"): "OLD"}

    @pytest.mark.parametrize("how", ["close", "fork"])
    def test_does_not_get_the_log_of_one_that_is_closed_unseen(self, how: str, path: str) -> None:
        """No call has noticed yet, and SQLite leaves the log of a moved database behind."""
        store = SQLiteStorage(path, synchronous="NORMAL")
        for number in range(50):
            store.set("m", f"sender {number}", "NEW")
        os.rename(make_backup(path, zoe="OLD"), path)
        if how == "close":
            store.close()
        else:
            in_child(nothing)
        assert store.get("m", "zoe") == "OLD"
        store.close()
        assert rows(path) == {("m", "zoe"): "OLD"}

    def test_is_told_from_one_whose_lock_was_dropped_by_copying_it(
        self, path: str, first: Actor, second: Actor
    ) -> None:
        """A nightly shutil.copy in the program itself closes a descriptor of the database."""
        first.set("m", "ann", "A1")
        first.call(copy_aside)
        second.set("m", "bob", "B1")
        first.set("m", "ann", "A2")
        assert (first.get("m", "bob"), second.get("m", "ann")) == ("B1", "A2")
        second.close()
        first.close()
        assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B1"}

    @pytest.mark.parametrize("exits", [12, pytest.param(40, marks=pytest.mark.long)])
    def test_is_told_from_one_whose_last_user_is_exiting(self, path: str, exits: int) -> None:
        """The kernel closes a dead process's files one by one, the database before its -shm."""
        with SQLiteStorage(path) as store:
            for number in range(exits):
                reading, writing = os.pipe()
                pid = os.fork()
                if pid == 0:
                    set_and_exit_slowly(store, f"child {number}", writing)
                assert os.read(reading, 1) == b"1"
                store.set("m", "parent", f"{number}")
                assert os.waitpid(pid, 0)[1] == 0
                os.close(reading)
                os.close(writing)
                assert store.get("m", f"child {number}") == "HERE"
                store.close()

    def test_opened_by_an_instance_in_the_same_process_does_not_get_it_either(
        self, path: str
    ) -> None:
        with SQLiteStorage(path) as one, SQLiteStorage(path) as other:
            one.set("m", "ann", "A1")
            os.rename(make_backup(path, zoe="OLD"), path)
            other.set("m", "bob", "B1")
            one.set("m", "ann", "A2")
        assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B1", ("m", "zoe"): "OLD"}

    def test_that_was_moved_away_is_whole(self, path: str, first: Actor) -> None:
        first.set("m", "ann", "A1")
        os.rename(path, path + ".aside")
        first.set("m", "bob", "B1")
        first.close()
        assert rows(path + ".aside") == {("m", "ann"): "A1"}
        assert rows(path) == {("m", "bob"): "B1"}


def nothing() -> None:
    """Be a child for a moment."""


def set_and_exit_slowly(store: SQLiteStorage, sender: str, acknowledgements: int) -> None:
    """Exit with so many files between the database and its -shm that both are seen apart."""
    try:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4000), most))
        for_lock_and_database = os.dup(0), os.dup(0)
        for _ in range(min(most, 4000) - 100):
            os.dup(0)
        for descriptor in for_lock_and_database:
            os.close(descriptor)
        store.set("m", sender, "HERE")
        os.write(acknowledgements, b"1")
        os._exit(0)
    finally:
        os._exit(1)


def copy_aside(store: SQLiteStorage) -> None:
    shutil.copy(store.path, store.path + ".copy")
