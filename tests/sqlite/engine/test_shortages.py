"""No room, no permission, no descriptors: an error with a remedy, and nothing lost by it."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from tests.helpers.children import in_child
from tests.helpers.state_files import states

NOBODY = 65534


def fill(store: SQLiteStorage, acknowledged: dict[str, str]) -> None:
    """Set long states until it fails."""
    for number in range(100_000):
        store.set("m", f"sender {number}", "LONG" * 200)
        acknowledged[f"sender {number}"] = "LONG" * 200


@contextlib.contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    """Mount a file system of that size, or skip by name where that takes more rights."""
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a full disk needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


class TestFullDisk:
    def test_loses_nothing_and_works_again_when_there_is_room(self, tmp_path: Path) -> None:
        path = str(tmp_path / "disk" / "states")
        with small_disk(tmp_path / "disk", "2m"):
            with SQLiteStorage(path) as store:
                acknowledged = fill_until_error(store, r"disk is full.*nothing was written.*free")
                # Reading goes on, and so does another process.
                assert store.get("m", "sender 0") == "LONG" * 200
                assert in_child(store.get, "m", "sender 1") == "LONG" * 200
                subprocess.run(["mount", "-o", "remount,size=8m", tmp_path / "disk"], check=True)
                store.set("m", "after", "ROOM")
            assert states(path) == {**acknowledged, "after": "ROOM"}

    def test_from_the_start_leaves_no_broken_store(self, tmp_path: Path) -> None:
        path = str(tmp_path / "disk" / "states")
        with small_disk(tmp_path / "disk", "64k"):
            ballast = tmp_path / "disk" / "ballast"
            with contextlib.suppress(OSError):
                ballast.write_bytes(bytes(64 * 1024))
            store = SQLiteStorage(path)
            with pytest.raises(StorageError, match=r"free some space|unknown"):
                store.set("m", "ann", "A1")
            ballast.unlink()
            subprocess.run(["mount", "-o", "remount,size=1m", tmp_path / "disk"], check=True)
            store.set("m", "ann", "A1")
            store.close()
            assert states(path) == {"ann": "A1"}


def fill_until_error(store: SQLiteStorage, message: str) -> dict[str, str]:
    acknowledged: dict[str, str] = {}
    with pytest.raises(StorageError, match=message) as caught:
        fill(store, acknowledged)
    assert caught.value.path == store.path
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    return acknowledged


def test_limit_on_file_size_loses_nothing(path: str) -> None:
    """What a full disk is where nothing may be mounted: writes end with EFBIG."""

    def scene() -> dict[str, str]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        store = SQLiteStorage(path)
        message = (
            r"whether the state was written is unknown: a limit on .* \(300000 bytes\): raise it"
        )
        acknowledged = fill_until_error(store, message)
        assert store.get("m", "sender 0") == "LONG" * 200
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.set("m", "after", "ROOM")
        store.close()
        return {**acknowledged, "after": "ROOM"}

    acknowledged = in_child(scene)
    assert states(path).items() >= acknowledged.items()


@pytest.mark.parametrize("left_over", range(6))
def test_exhausted_descriptors_are_an_error_that_says_so(left_over: int, path: str) -> None:
    """The lock file, the database, its log and its index need one each, the versions two."""

    def scene() -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 64, 4096))
        taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(64)]
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for _ in range(left_over):
            os.close(taken.pop())
        with pytest.raises(StorageError, match=r"no file descriptors left.*ulimit"):
            store.set("m", "ann", "A2")
        for descriptor in taken:
            os.close(descriptor)
        assert store.get("m", "ann") == "A1"
        store.set("m", "ann", "A3")
        store.close()

    in_child(scene)
    assert states(path) == {"ann": "A3"}


class TestPermissions:
    """As another user where the tests run as root, to whom everything is permitted."""

    def as_ordinary_user(self) -> None:
        if os.geteuid() == 0:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)

    def test_directory_that_may_not_be_written_is_an_error_with_the_remedy(
        self, tmp_path: Path
    ) -> None:
        directory = tmp_path / "run"
        directory.mkdir()
        directory.chmod(0o555)

        def scene() -> None:
            open_to_everyone(tmp_path)
            self.as_ordinary_user()
            for call in (SQLiteStorage(directory / "states").get,):
                with pytest.raises(StorageError, match="give this user write permission"):
                    call("m", "ann")
            with pytest.raises(StorageError, match="give this user write permission"):
                SQLiteStorage(directory / "deeper" / "states").set("m", "ann", "A1")

        in_child(scene)
        assert os.listdir(directory) == []

    def test_database_that_may_not_be_read_is_an_error_with_the_remedy(
        self, tmp_path: Path, path: str
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        os.chmod(path, 0o000)

        def scene() -> None:
            open_to_everyone(tmp_path)
            self.as_ordinary_user()
            with pytest.raises(StorageError, match="give this user"):
                store.get("m", "ann")

        in_child(scene)
        os.chmod(path, 0o600)
        assert store.get("m", "ann") == "A1"
        store.close()

    def test_directory_that_may_be_written_but_not_read_will_do(self, tmp_path: Path) -> None:
        """A drop box: one can create files there, but not open it to have it synced."""
        (tmp_path / "box").mkdir()
        (tmp_path / "box").chmod(0o733)

        def scene() -> None:
            open_to_everyone(tmp_path)
            self.as_ordinary_user()
            with SQLiteStorage(tmp_path / "box" / "run" / "states") as store:
                store.set("m", "ann", "A1")
                assert store.get("m", "ann") == "A1"

        in_child(scene)

    def test_store_survives_the_dropping_of_privileges(self, tmp_path: Path) -> None:
        """boot.py may run as root: constructing touched nothing, so nothing belongs to root."""

        def scene() -> None:
            open_to_everyone(tmp_path)
            tmp_path.chmod(0o777)
            store = SQLiteStorage(tmp_path / "run" / "states")
            self.as_ordinary_user()
            store.set("m", "ann", "A1")
            assert store.get("m", "ann") == "A1"
            assert os.stat(store.path).st_uid == os.geteuid()
            store.close()

        in_child(scene)


def open_to_everyone(directory: Path) -> None:
    """Let other users through the directories that pytest keeps to itself."""
    for parent in [directory, *directory.parents]:
        with contextlib.suppress(PermissionError):
            if parent.stat().st_uid == os.geteuid():
                parent.chmod(parent.stat().st_mode | 0o111)
