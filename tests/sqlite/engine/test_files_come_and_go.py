"""Stores and lock files that are deleted or moved under running processes, and links to them."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.coherence import counters
from lamson_sqlite_state.sqlite.process import filesystem, new_files
from tests.helpers.actors import Actor
from tests.helpers.insides import file_of
from tests.helpers.state_files import let_readers_notice, rows


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


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (new_files, "create_parent"),
        (filesystem, "database_at"),
        (counters.Versions, "_map"),
    ],
    ids=["before the lock file", "before the database", "before the counters"],
)
def test_directory_deleted_while_its_files_are_being_made_is_made_once_more(
    owner: Any, step: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = getattr(owner, step)
    deleted: list[bool] = []

    def take_and_be_deleted(*arguments: Any) -> Any:
        result = take(*arguments)
        is_missing = not result or bool(getattr(result, "absence", False))
        if is_missing and not deleted:
            deleted.append(True)
            shutil.rmtree(os.path.dirname(path))
        return result

    monkeypatch.setattr(owner, step, take_and_be_deleted)
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        assert store.get("m", "ann") == "A1"
    assert deleted
    assert rows(path) == {("m", "ann"): "A1"}


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
    descriptor = file_of(store).write_lock.descriptor
    assert descriptor is not None
    return os.fstat(descriptor).st_ino


class TestDirectoryWatch:
    """One stat of the directory stands for four of its files."""

    @pytest.mark.parametrize("changes", [50, pytest.param(200, marks=pytest.mark.long)])
    def test_sees_a_change_within_one_tick_of_the_clock(self, path: str, changes: int) -> None:
        """Nothing is believed while the directory's time is too young to tell two changes apart."""
        with SQLiteStorage(path) as store:
            for number in range(changes):
                store.set("m", "ann", f"A{number}")
                os.unlink(path)
                store.set("m", "bob", f"B{number}")
                store.close()
                assert rows(path) == {("m", "bob"): f"B{number}"}
                os.unlink(path)

    def test_is_not_fooled_by_who_sets_the_directorys_time_back(self, path: str) -> None:
        """As tar and rsync do when they restore a directory."""
        directory = os.path.dirname(path)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            found = os.stat(directory)
            file_of(store).watch._believed = file_of(store).watch.look()
            os.unlink(path)
            os.utime(directory, ns=(found.st_atime_ns, found.st_mtime_ns))
            store.set("m", "bob", "B1")
        assert rows(path) == {("m", "bob"): "B1"}

    def test_believes_a_time_only_when_it_is_older_than_the_tick(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            watch = file_of(store).watch
            stamp = watch.look()
            assert stamp is not None
            directory, inode, _ = stamp
            now_ns = os.stat(os.path.dirname(path)).st_atime_ns
            for modified_ns, is_believed in [
                (now_ns - 10_000_000_001, True),
                (now_ns + 60_000_000_000, False),  # the clock was set back
                (now_ns - now_ns % 1_000_000_000, False),  # a file system that keeps seconds
            ]:
                watch._believed = None
                watch.settle((directory, inode, modified_ns))
                assert (watch._believed is not None) is is_believed


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
