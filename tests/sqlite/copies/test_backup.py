"""A backup: one whole file, of one instant, that gets its name last."""

import errno
import gc
import os
import random
import signal
import sqlite3
import stat
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.errors import NoStore
from lamson_sqlite_state.maintenance import Backup, ExistingStorage, backup
from lamson_sqlite_state.sqlite.copies import backup as _backup
from tests.helpers.actors import Actor
from tests.helpers.bulk import beside, fill, raw_rows, senders, stricken
from tests.helpers.checking import NEEDS_ROOT
from tests.helpers.children import forked, in_child


@pytest.fixture
def store(twenty: SQLiteStorage) -> SQLiteStorage:
    return twenty


class TestCopy:
    def test_is_one_whole_file_that_opens_as_a_store(
        self, store: SQLiteStorage, target: str
    ) -> None:
        store.set("app", "ann", "IN THE LOG")
        assert backup(store, target) == Backup(target, 21, os.path.getsize(target))
        assert beside(target) == ["copy"]
        assert raw_rows(target) == raw_rows(store.path)
        assert beside(target) == ["copy"]
        with SQLiteStorage(target) as copy:
            assert copy.get("app", "ann") == "IN THE LOG"
            copy.set("app", "ann", "A2")
        assert store.get("app", "ann") == "IN THE LOG"

    def test_may_be_read_without_being_written_to(self, store: SQLiteStorage, target: str) -> None:
        """It is in no write-ahead mode, in which a reader makes files beside it."""
        backup(store, target)
        with closing(sqlite3.connect(f"file:{target}?mode=ro", uri=True)) as reader:
            assert reader.execute("SELECT count(*) FROM states").fetchone() == (20,)
            assert beside(target) == ["copy"]

    def test_is_of_one_instant_while_others_write(
        self, path: str, target: str, first: Actor
    ) -> None:
        """A writer keeps the pairs of a sender equal, and copies of all sizes never differ."""
        fill(path, [*senders(3000, module="a"), *senders(3000, module="b")])
        with ExistingStorage(path) as store:
            first.begin(keep_equal, f"{path}.enough")
            seen = set()
            for number in range(20):
                backup(store, f"{target}{number}")
                found = {row[:2]: row[2] for row in raw_rows(f"{target}{number}")}
                for sender in ENDS:
                    assert found[sender, "a"] == found[sender, "b"]
                # The one sender is set after the other.
                steps = [int(found[key, "a"].strip("OLDS") or -1) for key in ENDS]
                assert steps[0] - 1 <= steps[1] <= steps[0]
                seen.add(steps[0])
            Path(f"{path}.enough").touch()
            first.result()
        assert len(seen) > 5

    def test_is_of_one_instant_though_it_takes_many_steps(
        self, store: SQLiteStorage, target: str, first: Actor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_backup, "_STEP_PAGES", 1)
        before = raw_rows(store.path)
        steps: list[tuple[int, int | None]] = []

        def meddle(done: int, of: int | None) -> None:
            first.set("app", "000000@example.com", f"STEP {done}")
            first.set("app", f"new {done}", "S")
            steps.append((done, of))

        assert backup(store, target, progress=meddle).pairs == 20
        assert len(steps) > 1
        assert [done for done, _ in steps] == list(range(1, len(steps) + 1))
        assert steps[-1] == (len(steps), len(steps))
        assert raw_rows(target) == before

    def test_is_of_the_old_file_where_it_is_replaced_meanwhile(
        self, store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_backup, "_STEP_PAGES", 1)
        fill(f"{store.path}.new", senders(5, "NEW"))

        def replace(done: int, _of: int | None) -> None:
            if done == 1:
                os.rename(f"{store.path}.new", store.path)

        assert backup(store, target, progress=replace).pairs == 20
        assert raw_rows(target) == senders(20)
        assert store.get("app", "000000@example.com") in ("NEW", "OLD")  # within 10 ms

    def test_is_whole_where_the_store_is_deleted_meanwhile(
        self, store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_backup, "_STEP_PAGES", 1)

        def delete(done: int, _of: int | None) -> None:
            if done == 1:
                os.unlink(store.path)

        assert backup(store, target, progress=delete).pairs == 20
        assert raw_rows(target) == senders(20)
        with pytest.raises(NoStore):
            backup(store, target, overwrite=True)
        assert raw_rows(target) == senders(20)
        assert not os.path.exists(store.path)

    def test_has_the_mode_of_the_store_whatever_the_umask(
        self, store: SQLiteStorage, target: str
    ) -> None:
        for mode in (0o600, 0o640, 0o660):
            os.chmod(store.path, mode)
            before = os.umask(0o027)
            try:
                backup(store, target, overwrite=True)
            finally:
                os.umask(before)
            assert stat.S_IMODE(os.stat(target).st_mode) == mode

    @NEEDS_ROOT
    def test_has_the_owner_of_the_store(self, store: SQLiteStorage, target: str) -> None:
        os.chown(store.path, 1234, 5678)
        backup(store, target)
        found = os.stat(target)
        assert (found.st_uid, found.st_gid) == (1234, 5678)

    def test_is_readable_by_nobody_else_at_any_moment(
        self, store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_backup, "_STEP_PAGES", 1)
        modes: set[int] = set()

        def look(_done: int, _of: int | None) -> None:
            for entry in os.scandir(os.path.dirname(target)):
                modes.add(stat.S_IMODE(entry.stat().st_mode))

        before = os.umask(0)
        try:
            backup(store, target, progress=look)
        finally:
            os.umask(before)
        assert modes == {0o600}

    def test_of_a_large_path_is_made(self, store: SQLiteStorage, target: str) -> None:
        for name in ("x" * 255, "ä" * 127, "a b%?#'", os.fsdecode(b"\xff")):
            long = os.path.join(os.path.dirname(target), name)
            assert backup(store, long).path == long
            assert raw_rows(long) == senders(20)

    def test_works_on_a_store_whose_own_instance_is_in_use(
        self, store: SQLiteStorage, target: str
    ) -> None:
        """What a signal handler does to the caller's store in the middle harms nobody."""

        def handler(_done: int, _of: int | None) -> None:
            store.set("app", "ann", "HANDLER")
            store.close()

        assert backup(store, target, progress=handler).pairs == 20
        assert store.get("app", "ann") == "HANDLER"


ENDS = ("000000@example.com", "002999@example.com")


def keep_equal(store: SQLiteStorage, enough: str) -> None:
    for step in range(1_000_000):
        for sender in ENDS:
            store.set_all(sender, f"S{step}")
        if os.path.exists(enough):
            break


@pytest.mark.many_syncs
class TestInterrupted:
    @pytest.mark.parametrize("times", [8, pytest.param(25, marks=pytest.mark.long)])
    @pytest.mark.parametrize("overwrite", [False, True])
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    # From 3.13 on, sqlite3 warns of a connection that was interrupted as it was made, before
    # anybody had it to close.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_leaves_what_was_there_before_or_the_whole_copy(
        self, store: SQLiteStorage, target: str, number: int, overwrite: bool, times: int
    ) -> None:
        """At any instruction; and Ctrl-C leaves nothing else, nor keeps anybody waiting."""

        def make() -> Backup:
            return backup(store, target, overwrite=overwrite)

        old = [("old", "m", "S", 1)] if overwrite else None
        steps = in_child(stricken, lambda: backup(store, f"{target}.first"), sys.maxsize, 0)
        os.unlink(f"{target}.first")
        for step in [*sorted(random.sample(range(1, steps), times)), sys.maxsize]:
            for name in beside(target):
                os.unlink(os.path.join(os.path.dirname(target), name))
            if overwrite:
                put_copy(target)
            if number == signal.SIGINT:
                with suppress(KeyboardInterrupt):
                    stricken(make, step, number)
                assert beside(target) in ([], ["copy"])
            else:
                with forked(stricken, make, step, number) as child:
                    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
                    child.kill()
                for name in beside(target):
                    assert name == "copy" or ".unfinished" in name
            if os.path.exists(target):
                assert raw_rows(target) in ([senders(20)] if old is None else [old, senders(20)])
            else:
                assert old is None
            with SQLiteStorage(store.path, timeout=0) as other:
                other.get("app", "000000@example.com")
        assert raw_rows(target) == senders(20)
        gc.collect()  # so that the warning is this test's

    def test_by_what_progress_raises_leaves_nothing(
        self, store: SQLiteStorage, target: str
    ) -> None:
        def stop(_done: int, _of: int | None) -> None:
            raise BrokenPipeError(errno.EPIPE, "no terminal")

        with pytest.raises(BrokenPipeError):
            backup(store, target, progress=stop)
        assert beside(target) == []
        backup(store, target)


def put_copy(target: str) -> None:
    fill(target, [("old", "m", "S", 1)])
    for suffix in (".lock", ".versions"):
        os.unlink(target + suffix)
