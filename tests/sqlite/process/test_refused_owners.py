"""Where the kernel refuses a file its mode, owner or names, the store works all the same."""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError, maintenance
from lamson_sqlite_state.sqlite.process import new_files
from tests.helpers.children import in_child
from tests.helpers.state_files import states

# Vfat, FUSE, old kernels, rootless containers, a sandbox, a tree that is being frozen.
REFUSALS: Final = [
    *(errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS),
]
CLONE_NEWUSER: Final = 0x10000000  # sched.h
PR_SET_DUMPABLE: Final = 4  # prctl.h; or a process that was another user may not map its own

FAILURES: Final = [errno.EIO, errno.ENOSPC]

FAMILY: Final = {"states", "states-wal", "states-shm", "states.lock", "states.versions"}

each_refusal = pytest.mark.parametrize("refusal", REFUSALS, ids=errno.errorcode.get)
each_failure = pytest.mark.parametrize("failure", FAILURES, ids=errno.errorcode.get)


def refuse(reason: int) -> Callable[..., None]:
    def refused(*arguments: Any, **_options: object) -> None:
        names: list[object] = []
        if isinstance(arguments[0], str):
            names = [arguments[0], None, *arguments[1:2]]
        raise OSError(reason, os.strerror(reason), *names)

    # The system's answer, and not what one of a signal handler's functions has raised.
    names = {**globals(), "__name__": os.__name__}
    return FunctionType(refused.__code__, names, closure=refused.__closure__)


def of_another_group(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the database be of a user or group that this process does not have."""
    monkeypatch.setattr(os, "getegid", lambda: os.stat(path).st_gid + 1)


@each_refusal
@pytest.mark.parametrize("call", ["fchmod", "fchown"])
def test_store_is_made_used_and_mended(
    call: str, refusal: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, call, refuse(refusal))
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        of_another_group(path, monkeypatch)
        for deleted in ("-wal", "-shm", ".lock", ".versions"):
            os.unlink(path + deleted)
            store.set("m", "ann", f"without {deleted}")
        assert set(os.listdir(os.path.dirname(path))) == FAMILY
    assert states(path) == {"ann": "without .versions"}
    for name in os.listdir(os.path.dirname(path)):
        found = os.stat(os.path.join(os.path.dirname(path), name))
        assert stat.S_IMODE(found.st_mode) & 0o077 == 0, name


@each_refusal
def test_backup_is_made(refusal: int, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        monkeypatch.setattr(os, "fchmod", refuse(refusal))
        monkeypatch.setattr(os, "fchown", refuse(refusal))
        maintenance.backup(store, f"{path}.copy")
    assert states(f"{path}.copy") == {"ann": "A1"}


def test_file_that_its_maker_could_not_open_is_not_left(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fchmod", refuse(errno.EPERM))

    def scene() -> None:
        os.umask(0o277)
        with pytest.raises(StorageError):
            SQLiteStorage(path).set("m", "ann", "A1")

    in_child(scene)
    assert os.listdir(os.path.dirname(path)) == []


@each_failure
@pytest.mark.parametrize("call", ["fchmod", "fchown", "link", "write", "rename"])
@pytest.mark.parametrize("deleted", ["-wal", ".lock", ".versions"])
def test_failure_leaves_no_unfinished_file(
    deleted: str, call: str, failure: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        of_another_group(path, monkeypatch)
        os.unlink(path + deleted)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse(failure))
            try:
                store.set("m", "ann", "A2")
            except StorageError as error:
                assert os.strerror(failure) in str(error)  # noqa: PT017 - not all calls are made
        assert set(os.listdir(os.path.dirname(path))) <= FAMILY
        store.set("m", "ann", "A3")
        assert set(os.listdir(os.path.dirname(path))) == FAMILY
    assert states(path) == {"ann": "A3"}


@each_failure
def test_failing_disk_is_not_taken_for_a_refusal(
    failure: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "original").touch()
    for call in ("fchmod", "fchown"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refuse(failure))
            with pytest.raises(OSError, match=os.strerror(failure)):
                new_files.create_like(str(tmp_path / "new"), str(tmp_path / "original"))
        assert os.listdir(tmp_path) == ["original"]


def test_copy_for_which_there_is_no_room_is_not_left(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a copy on a full disk would keep it full."""
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        os.unlink(f"{path}-wal")
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refuse(errno.ENOSPC))
            with pytest.raises(StorageError, match="disk is full"):
                store.set("m", "ann", "A2")
        assert not [name for name in os.listdir(os.path.dirname(path)) if ".rescue" in name]
        store.set("m", "ann", "A3")
    assert states(path) == {"ann": "A3"}


def test_interruption_leaves_no_unfinished_lock(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "original").touch()
    of_another_group(str(tmp_path / "original"), monkeypatch)
    for call in ("fchmod", "fchown", "link"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, interrupt)
            with pytest.raises(KeyboardInterrupt):
                new_files.create_once_like(str(tmp_path / "lock"), str(tmp_path / "original"))
        assert os.listdir(tmp_path) == ["original"]


def test_worker_in_a_user_namespace_of_its_own_shares_the_store(tmp_path: Path) -> None:
    """As in a rootless container: the numbers of most users and groups mean nothing there."""
    if os.geteuid() != 0:
        pytest.skip("only root can be one user and then another")
    directory, group = tmp_path / "run", 60_000
    directory.mkdir()
    os.chown(directory, 60_001, group)
    directory.chmod(0o2770)
    path = str(directory / "states")
    for parent in directory.parents:  # which pytest keeps to itself
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o111)

    def scene(user: int, state: str, *, is_apart: bool) -> None:
        os.setgroups([group])
        os.setgid(user)
        os.setuid(user)
        if is_apart:
            enter_user_namespace()
        with SQLiteStorage(path, file_mode=0o660, timeout=5) as store:
            for sender in ("ann", "bob"):
                store.set("m", sender, state)

    in_child(scene, 60_001, "HOST", is_apart=False)
    for suffix in (".lock", ".versions"):
        os.unlink(path + suffix)
    if not in_child(can_enter_user_namespace):
        pytest.skip("this kernel gives nobody a user namespace of his own")
    in_child(scene, 60_002, "CONTAINER", is_apart=True)
    assert states(path) == {"ann": "CONTAINER", "bob": "CONTAINER"}
    assert set(os.listdir(directory)) == {"states", "states.lock", "states.versions"}
    in_child(scene, 60_001, "HOST", is_apart=False)
    assert states(path) == {"ann": "HOST", "bob": "HOST"}


def can_enter_user_namespace() -> bool:
    os.setuid(60_002)
    try:
        enter_user_namespace()
    except OSError:
        return False
    return True


def enter_user_namespace() -> None:
    """Become root of a namespace that knows no other user, as ``unshare -r`` does."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()
    if libc.prctl(PR_SET_DUMPABLE, 1) or libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
