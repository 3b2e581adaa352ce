"""The file of counters, lost or spoilt: made anew, and never trusted meanwhile."""

import itertools
import os
import resource
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.coherence import counters
from lamson_sqlite_state.sqlite.process import new_files
from tests.helpers.actors import Actor
from tests.helpers.cache_probes import (
    have_no_look_fall_due,
    hold_the_write_lock,
    keeps_reads,
    settle,
)
from tests.helpers.children import in_child
from tests.helpers.interruptions import interrupted
from tests.helpers.state_files import let_readers_notice, make_the_next_read_look
from tests.sqlite.engine.test_shortages import open_to_everyone


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        yield store


def spoil_by(what: str, versions: str) -> None:
    if what in ("a directory", "deleted", "a FIFO", "a link", "another"):
        os.unlink(versions)
    if what == "a directory":
        os.mkdir(versions)
    elif what == "a FIFO":
        os.mkfifo(versions)
    elif what == "a link":
        os.symlink("/dev/null", versions)
    elif what == "a link to a sound one":
        os.rename(versions, f"{versions}.elsewhere")
        os.symlink(f"{versions}.elsewhere", versions)
    elif what == "another":
        with open(versions, "wb") as file:
            file.write(bytes(32 * 1024))
    elif what in ("truncated", "too short"):
        os.truncate(versions, 0 if what == "truncated" else 4096)
    elif what == "too long":
        os.truncate(versions, 64 * 1024)
    elif what == "emptied and grown":
        os.truncate(versions, 0)
        os.truncate(versions, 32 * 1024)
    elif what == "of another layout":
        with open(versions, "r+b") as file:
            file.write(b"LSSSver\x09")


SPOILT = [
    *["deleted", "truncated", "too short", "too long", "emptied and grown", "of another layout"],
    *["a FIFO", "a link", "a link to a sound one", "another"],
]


class TestSpoiltFile:
    @pytest.mark.parametrize("what", SPOILT)
    def test_is_made_anew_by_whoever_opens_and_writes(self, path: str, what: str) -> None:
        versions = f"{path}.versions"
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        spoil_by(what, versions)
        with Actor(path) as other, SQLiteStorage(path) as store:
            assert other.get("m", "ann") == "A1"
            store.set("m", "ann", "A2")
            assert stat.S_ISREG(os.lstat(versions).st_mode)
            assert os.lstat(versions).st_size == 32 * 1024
            let_readers_notice(other)
            assert other.get("m", "ann") == "A2"
            assert other.call(keeps_reads)
            store.set("m", "ann", "A3")
            assert other.get("m", "ann") == "A3"

    @pytest.mark.parametrize("what", SPOILT)
    def test_is_made_anew_by_running_processes(
        self, path: str, first: Actor, second: Actor, what: str
    ) -> None:
        for actor in (first, second):
            actor.set("m", "ann", "A1")
        spoil_by(what, f"{path}.versions")
        let_readers_notice(first, second)
        assert first.get("m", "ann") == second.get("m", "ann") == "A1"
        for number in range(3):
            first.set("m", "ann", f"F{number}")
            assert second.get("m", "ann") == f"F{number}"
            second.set("m", "ann", f"S{number}")
            assert first.get("m", "ann") == f"S{number}"
        assert first.call(keeps_reads)
        assert second.call(keeps_reads)
        with open(f"{path}.versions", "rb") as file:
            assert file.read(8) == counters._LAYOUT.to_bytes(8, sys.byteorder)

    @pytest.mark.parametrize("what", ["deleted", "another", "a FIFO", "a link"])
    def test_is_no_excuse_to_read_what_is_outdated(
        self, path: str, first: Actor, second: Actor, what: str
    ) -> None:
        """Who makes it anew spoils the old one for all that have it mapped, before they look."""
        for actor in (first, second):
            actor.set("m", "ann", "A1")
        spoil_by(what, f"{path}.versions")
        first.set("m", "ann", "A2")
        assert second.get("m", "ann") == "A2"

    @pytest.mark.parametrize("what", ["truncated", "too short"])
    def test_is_made_anew_by_a_writer_before_it_counts(
        self, path: str, first: Actor, second: Actor, what: str
    ) -> None:
        """Touching what is no longer there would kill it, and nothing in the directory moved."""
        for actor in (first, second):
            actor.set("m", "ann", "A1")
        first.call(settle)
        let_readers_notice(first)
        spoil_by(what, f"{path}.versions")
        first.set("m", "ann", "A2")
        let_readers_notice(second)
        assert second.get("m", "ann") == "A2"

    def test_is_not_trusted_by_a_reader_that_cannot_mend_it(self, path: str) -> None:
        """Who makes it anew may never have had the old one, and so cannot spoil it."""
        with Actor(path) as writer, SQLiteStorage(path) as reader:
            writer.set("m", "ann", "A1")
            assert reader.get("m", "ann") == "A1"
            writer.close()
            os.unlink(f"{path}.versions")
            writer.set("m", "ann", "A2")
            writer.call(hold_the_write_lock)
            make_the_next_read_look(reader)
            assert reader.get("m", "ann") == "A2"
            reader._cache.revalidate_at += 60
            writer.set("m", "ann", "A3")
            assert reader.get("m", "ann") == "A3"

    def test_that_cannot_be_made_whole_is_an_error_that_says_so(self, store: SQLiteStorage) -> None:
        """A limit that leaves room for half of it takes half of it, and says nothing."""

        def scene() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            store.set("m", "ann", "A2")
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
            os.unlink(f"{store.path}.versions")
            with pytest.raises(StorageError, match=r"a limit on the size of files .* raise it"):
                store.set("m", "ann", "A3")
            make_the_next_read_look(store)
            assert store.get("m", "ann") == "A2"
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            store.set("m", "ann", "A4")
            store.close()

        in_child(scene)
        assert store.get("m", "ann") == "A4"

    def test_is_made_for_the_users_that_the_database_is_for(self, store: SQLiteStorage) -> None:
        """Whoever comes first, perhaps root with a tool, must not shut out the mail server."""
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to another user")
        os.chown(store.path, 65534, 65534)
        os.chmod(store.path, 0o660)
        os.unlink(f"{store.path}.versions")
        store.set("m", "ann", "A2")
        found = os.stat(f"{store.path}.versions")
        assert (found.st_uid, found.st_gid) == (65534, 65534)
        assert stat.S_IMODE(found.st_mode) == 0o660

    def test_is_made_for_the_group_by_a_member_of_it(self, store: SQLiteStorage) -> None:
        """Who may not give it to the owner may still give it to the group they share."""
        if os.geteuid() != 0:
            pytest.skip("only root can be one user and then another")
        directory = os.path.dirname(store.path)
        store.close()
        os.unlink(f"{store.path}.versions")
        for name in os.listdir(directory):
            os.chown(os.path.join(directory, name), 65534, 60_000)
            os.chmod(os.path.join(directory, name), 0o660)
        os.chown(directory, 65534, 60_000)
        os.chmod(directory, 0o770)

        def scene() -> None:
            open_to_everyone(Path(directory).parent)
            os.setgroups([60_000])
            os.setegid(60_001)
            os.seteuid(60_001)
            store.set("m", "ann", "A2")
            store.close()

        in_child(scene)
        found = os.stat(f"{store.path}.versions")
        assert (found.st_uid, found.st_gid) == (60_001, 60_000)
        assert stat.S_IMODE(found.st_mode) == 0o660

    def test_is_not_replaced_by_one_who_has_lost_the_lock(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal handler closes the store as it makes the file; another process makes its own."""
        with Actor(path) as other, SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            other.get("m", "ann")
            os.unlink(f"{path}.versions")
            real = new_files.create_like

            def create_like(new: str, original: str, *, least_mode: int) -> int:
                monkeypatch.undo()
                store.close()
                other.set("m", "ann", "B1")
                other.call(have_no_look_fall_due)
                assert other.get("m", "ann") == "B1"
                return real(new, original, least_mode=least_mode)

            monkeypatch.setattr(new_files, "create_like", create_like)
            store.set("m", "ann", "A2")
            assert other.get("m", "ann") == "A2"

    def test_that_is_a_directory_is_an_error_with_the_remedy(self, store: SQLiteStorage) -> None:
        spoil_by("a directory", f"{store.path}.versions")
        with pytest.raises(StorageError, match=r"states\.versions: .*move it away") as caught:
            store.set("m", "ann", "A2")
        assert ".versions" in caught.value.path
        make_the_next_read_look(store)
        assert store.get("m", "ann") == "A1"
        os.rmdir(f"{store.path}.versions")
        store.set("m", "ann", "A3")
        assert store.get("m", "ann") == "A3"

    def test_is_not_waited_for_by_readers(self, path: str, first: Actor) -> None:
        """Making it takes the write lock, which a stopped writer may have for long."""
        first.set("m", "ann", "A1")
        first.call(hold_the_write_lock)  # before the deletion, which a slow machine's read mends
        os.unlink(f"{path}.versions")
        with SQLiteStorage(path, timeout=0) as store:
            assert store.get("m", "ann") == "A1"
            make_the_next_read_look(store)
            assert store.get("m", "ann") == "A1"
            assert not keeps_reads(store)

    def test_left_half_made_by_a_crash_is_made_anew(self, path: str) -> None:
        os.mkdir(os.path.dirname(path))
        with open(f"{path}.versions.new", "wb") as file:
            file.write(b"half")
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            assert keeps_reads(store)
        assert not os.path.exists(f"{path}.versions.new")

    @pytest.mark.parametrize("change", ["set", "clear"])
    def test_whose_counters_can_count_no_further_starts_again(self, path: str, change: str) -> None:
        """A damaged disk may have left anything there."""
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        with open(f"{path}.versions", "r+b") as file:
            file.seek(8)
            file.write(b"\xff" * (32 * 1024 - 8))
        with Actor(path) as other, SQLiteStorage(path) as store:
            assert other.get("m", "ann") == "A1"
            if change == "set":
                store.set("m", "ann", "A2")
            else:
                store.clear()
            assert other.get("m", "ann") == ("A2" if change == "set" else "START")
            store.set("m", "ann", "A3")
            assert other.get("m", "ann") == "A3"


def test_handler_finds_no_old_counters_under_the_identity_of_new_ones(path: str) -> None:
    """It would count in the old file, and no other process would learn of its write."""
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
    found: list[bool] = []

    def look(_number: int, _frame: FrameType | None) -> None:
        if versions.is_in_place():
            assert versions.counters is not None
            found.append(versions.counters.obj is versions._mapping)

    before = signal.signal(signal.SIGUSR1, look)
    try:
        for at in itertools.count(1):
            versions = counters.Versions(path)
            versions.open()
            os.rename(shutil.copy(versions.path, f"{path}.copy"), versions.path)
            if interrupted(versions.open, at) < at:
                break
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found
    assert all(found)
