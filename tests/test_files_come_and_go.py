"""Files that are deleted, replaced, restored or moved under running processes."""

import os
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError

from .actors import Actor
from .children import in_child


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "states")


@pytest.fixture
def first(path: str) -> Iterator[Actor]:
    with Actor(path) as actor:
        yield actor


@pytest.fixture
def second(path: str) -> Iterator[Actor]:
    with Actor(path) as actor:
        yield actor


def let_readers_notice(*actors: Actor) -> None:
    """Return when the time within which a reader need not look has passed in each process."""
    for actor in actors:
        actor.call(make_the_next_read_look)


def make_the_next_read_look(store: SQLiteStorage) -> None:
    assert store._database is not None
    store._database._look_due = 0.0


def rows(path: str) -> dict[tuple[str, str], str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = connection.execute("SELECT module, sender, state FROM states").fetchall()
    return {(module, sender): state for module, sender, state in found}


def make_backup(path: str, **states: str) -> str:
    """Return the path of a whole store beside ``path`` in which each sender has its state."""
    backup = f"{path}.backup"
    with SQLiteStorage(backup) as store:
        for sender, state in states.items():
            store.set("m", sender, state)
    os.unlink(f"{backup}.lock")
    return backup


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

    def test_is_seen_by_a_process_that_only_reads(self, path: str, first: Actor) -> None:
        first.set("m", "ann", "A1")
        os.rename(make_backup(path, ann="OLD"), path)
        let_readers_notice(first)
        assert first.get("m", "ann") == "OLD"

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

    def test_is_told_from_one_whose_last_user_is_exiting(self, path: str) -> None:
        """The kernel closes a dead process's files one by one, the database before its -shm."""
        with SQLiteStorage(path) as store:
            for number in range(40):
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


@pytest.mark.parametrize("what", ["database", "everything", "directory", "moved directory"])
def test_deleted_store_is_made_anew_by_the_next_write_and_shared(
    what: str, path: str, first: Actor, second: Actor
) -> None:
    first.set("m", "ann", "A1")
    second.set("m", "bob", "B1")
    if what == "database":
        os.unlink(path)
    elif what == "everything":
        for name in os.listdir(os.path.dirname(path)):
            os.unlink(os.path.join(os.path.dirname(path), name))
    elif what == "directory":
        shutil.rmtree(os.path.dirname(path))
    else:
        os.rename(os.path.dirname(path), os.path.dirname(path) + ".old")
    first.set("m", "ann", "A2")
    second.set("m", "bob", "B2")
    let_readers_notice(first, second)
    assert first.get("m", "bob") == "B2"
    assert second.get("m", "ann") == "A2"
    first.close()
    second.close()
    assert rows(path) == {("m", "ann"): "A2", ("m", "bob"): "B2"}


class TestDeletedLockFile:
    def test_is_made_anew_and_shared(self, path: str, first: Actor, second: Actor) -> None:
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        os.unlink(path + ".lock")
        first.set("m", "ann", "A2")
        made = os.stat(path + ".lock").st_ino
        second.set("m", "bob", "B2")
        assert os.stat(path + ".lock").st_ino == made
        assert first.call(lock_inode) == second.call(lock_inode) == made

    def test_that_was_replaced_is_the_one_all_lock(
        self, path: str, first: Actor, second: Actor
    ) -> None:
        first.set("m", "ann", "A1")
        second.set("m", "bob", "B1")
        Path(path + ".lock.new").touch()
        os.rename(path + ".lock.new", path + ".lock")
        first.set("m", "ann", "A2")
        second.set("m", "bob", "B2")
        now = os.stat(path + ".lock").st_ino
        assert first.call(lock_inode) == second.call(lock_inode) == now


def lock_inode(store: SQLiteStorage) -> int:
    """Return the inode of the descriptor that the store locks."""
    assert store._database is not None
    descriptor = store._database._write_lock._descriptor
    assert descriptor is not None
    return os.fstat(descriptor).st_ino


class TestDirectoryWatch:
    """One stat of the directory stands for four of its files."""

    def test_sees_a_change_within_one_tick_of_the_clock(self, path: str) -> None:
        """Nothing is believed while the directory's time is too young to tell two changes apart."""
        with SQLiteStorage(path) as store:
            for number in range(200):
                store.set("m", "ann", f"A{number}")
                os.unlink(path)
                store.set("m", "bob", f"B{number}")
                store.close()
                assert rows(path) == {("m", "bob"): f"B{number}"}
                os.unlink(path)

    def test_believes_a_time_only_when_it_is_older_than_the_tick(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            database = store._database
            assert database is not None
            stamp = database._watch.look()
            assert stamp is not None
            directory, inode, _ = stamp
            now_ns = os.stat(os.path.dirname(path)).st_atime_ns
            for modified_ns, is_believed in [
                (now_ns - 10_000_000_001, True),
                (now_ns + 60_000_000_000, False),  # the clock was set back
                (now_ns - now_ns % 1_000_000_000, False),  # a file system that keeps seconds
            ]:
                database._watch._believed = None
                database._watch.settle((directory, inode, modified_ns))
                assert (database._watch._believed is not None) is is_believed


def test_two_paths_to_one_file_share_one_lock(tmp_path: Path) -> None:
    (tmp_path / "releases" / "7").mkdir(parents=True)
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "7")
    direct = str(tmp_path / "releases" / "7" / "states")
    (tmp_path / "link").symlink_to(direct)
    with (
        Actor(str(tmp_path / "current" / "states")) as by_directory,
        Actor(str(tmp_path / "link")) as by_file,
        Actor(direct) as by_name,
    ):
        actors = (by_directory, by_file, by_name)
        for number, actor in enumerate(actors):
            actor.set("m", f"sender {number}", "HERE")
        assert len({actor.call(lock_inode) for actor in actors}) == 1
        assert by_file.call(resolved_path) == direct
    assert sorted(os.listdir(tmp_path)) == ["current", "link", "releases"]
    assert set(rows(direct).values()) == {"HERE"}


def resolved_path(store: SQLiteStorage) -> str:
    return store.path


def test_hard_linked_database_is_refused(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        store.close()
        os.link(path, path + ".too")
        with pytest.raises(StorageError, match=r"2 names \(hard links\)") as caught:
            store.get("m", "ann")
        assert caught.value.path == path
        os.unlink(path + ".too")
        assert store.get("m", "ann") == "A1"
