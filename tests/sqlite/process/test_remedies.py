"""The remedy fits what is wrong, and who is asking."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.check import check
from lamson_sqlite_state.sqlite.process.remedies import storage_error
from tests.helpers.actors import Actor
from tests.helpers.checking import make_store
from tests.helpers.children import in_child
from tests.helpers.state_files import every_call, states

OWNER, READER = 60_001, 60_002


def said(store: SQLiteStorage) -> set[str]:
    """Return what the errors of all calls say, each of which must fail."""
    found = set()
    for call in every_call(store):
        with pytest.raises(StorageError) as caught:
            call()
        found.add(str(caught.value))
    return found


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this needs the right to mount: {done.stderr.strip()}")


@contextlib.contextmanager
def mounted(*arguments: str | Path) -> Iterator[None]:
    mount(*arguments)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", arguments[-1]], check=True)


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EPERM, errno.EROFS, errno.EDQUOT])
def test_each_refusal_that_no_permission_mends_says_so(number: int, path: str) -> None:
    make_store(path)
    error = storage_error(OSError(number, os.strerror(number)), path)
    message = str(error)
    assert os.strerror(number) in message
    assert "give this user" not in message
    assert "free space" not in message
    code, remedy = {
        errno.EFBIG: ("disk-full", "ulimit -f"),
        errno.EPERM: ("permission-denied", "lsattr"),
        errno.EROFS: ("read-only", "mounted read-only"),
        errno.EDQUOT: ("disk-full", "quota"),
    }[number]
    assert remedy in message
    assert error.code == code


class TestSomethingElseInThePlaceOfAFile:
    @pytest.fixture(params=["link", "dangling link", "directory", "pipe", "socket"])
    def plant(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
        def plant(file: str) -> str:
            if "link" in request.param:
                if request.param == "link":
                    (tmp_path / "victim").touch()
                os.symlink(tmp_path / "victim", file)
                return "a symbolic link"
            if request.param == "directory":
                os.mkdir(file)
                return "a directory"
            if request.param == "pipe":
                os.mkfifo(file)
                return "a named pipe"
            os.mknod(file, 0o140600)
            return "a socket"

        return plant

    @pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock"])
    def test_is_named_by_calls_and_check(
        self, suffix: str, plant: Callable[[str], str], path: str
    ) -> None:
        make_store(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)
        kind = plant(path + suffix)
        if kind == "a named pipe" and suffix != "-shm":
            return  # which can be locked as well as a file, and SQLite removes it
        expected = f"{kind} stands where states{suffix} has to be: move it away"
        store = SQLiteStorage(path, timeout=0)
        with pytest.raises(StorageError, match=expected):
            store.set("m", "ann", "A2")
        if suffix != ".lock":  # which readers do not need
            with pytest.raises(StorageError, match=expected):
                store.get("m", "ann")
        store.close()
        assert any(expected.partition(":")[0] in finding.problem for finding in check(path))
        os.rmdir(path + suffix) if kind == "a directory" else os.unlink(path + suffix)
        store.set("m", "ann", "A3")
        store.close()
        assert states(path) == {"ann": "A3"}


class TestReadOnlyMount:
    def test_is_told_to_root_and_to_others(self, tmp_path: Path, path: str) -> None:
        make_store(path)
        point = tmp_path / "point"
        point.mkdir()
        with mounted("--bind", os.path.dirname(path), point):
            subprocess.run(["mount", "-o", "remount,ro,bind", point], check=True)
            store = SQLiteStorage(point / "states", timeout=0)
            for message in said(store):
                assert "mounted read-only: use a writable one" in message
                assert "permission" not in message
            store.close()


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """A store that another user may read but not write."""
    if os.geteuid() != 0:
        pytest.skip("only root can be one user and then another")
    path = str(tmp_path / "run" / "states")
    make_store(path)
    for file in (os.path.dirname(path), *(e.path for e in os.scandir(os.path.dirname(path)))):
        os.chown(file, OWNER, OWNER)
        os.chmod(file, 0o755 if os.path.isdir(file) else 0o644)
    for parent in tmp_path.parents:  # which pytest keeps to itself
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o111)
    tmp_path.chmod(0o711)
    return path


def as_reader(path: str) -> set[str]:
    os.setgroups([])
    os.setgid(READER)
    os.setuid(READER)
    return said(SQLiteStorage(path, timeout=0))


class TestUserWhoMayOnlyRead:
    def test_is_told_who_may_write(self, shared: str) -> None:
        for message in in_child(as_reader, shared):
            assert "give this user write permission to " in message
            assert f"(user {OWNER}'s, mode " in message
            assert f"or do it as user {OWNER}" in message
            assert "readers need it, too" in message

    def test_is_told_of_the_directory_that_keeps_him_out(self, shared: str) -> None:
        os.chmod(os.path.dirname(shared), 0o700)
        directory = os.path.dirname(shared)
        for message in in_child(as_reader, shared):
            assert f"give this user permission to enter {directory} (user {OWNER}'s" in message or (
                f"write permission to {directory}" in message
            )


class TestFileMountedAlone:
    """Into two containers, say, each of which has a directory of its own around it."""

    def test_is_told_by_calls_and_check(self, tmp_path: Path, path: str) -> None:
        inside = tmp_path / "container" / "states"
        inside.parent.mkdir()
        inside.touch()
        make_store(path)
        with Actor(path) as outside, mounted("--bind", path, inside):
            outside.set("m", "ann", "A2")
            store = SQLiteStorage(inside, timeout=5)
            for message in said(store):
                assert "this file alone is mounted" in message
                assert "mount the directory that it is in instead" in message
            store.close()
            assert any("alone is mounted" in finding.problem for finding in check(str(inside)))
            outside.set("m", "ann", "A3")
        assert states(path) == {"ann": "A3"}

    def test_is_told_where_its_log_was_deleted(self, tmp_path: Path, path: str) -> None:
        inside = tmp_path / "container" / "states"
        inside.parent.mkdir()
        inside.touch()
        make_store(path)
        with mounted("--bind", path, inside):
            with SQLiteStorage(inside) as store:
                store.set("m", "ann", "A2")
                os.unlink(f"{inside}-wal")
                with pytest.raises(StorageError, match="busy: this file alone is mounted"):
                    store.set("m", "ann", "A3")
                assert store.get("m", "ann") == "A2"
            assert "states.rescue" not in os.listdir(inside.parent)
