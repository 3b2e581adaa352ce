"""Where flock(2) is refused, every call says so, and so does the command."""

import errno
import fcntl
import os
from collections.abc import Callable
from typing import Final

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.cli._status import UNUSABLE
from lamson_sqlite_state.sqlite.check import check
from tests.helpers.checking import make_store, only
from tests.helpers.commands import run_in_process
from tests.helpers.insides import file_of
from tests.helpers.state_files import every_call, states

SAID: Final = r"states\.lock: flock\(2\) is refused \({}.*type .*: put the store on a local disk"

each_refusal = pytest.mark.parametrize(
    "refusal", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO]
)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the system refuse from now on what filelock asks it."""

    def refuse_with(reason: int) -> None:
        def refused(_descriptor: int, *_operation: int) -> None:
            raise OSError(reason, os.strerror(reason))

        monkeypatch.setattr(fcntl, "flock", refused)

    return refuse_with


@each_refusal
def test_every_call_of_a_new_store_says_so(
    refusal: int, refuse: Callable[[int], None], path: str
) -> None:
    refuse(refusal)
    store = SQLiteStorage(path)
    for call in every_call(store):
        with pytest.raises(StorageError, match=SAID.format(os.strerror(refusal))):
            call()
    store.close()
    assert os.listdir(os.path.dirname(path)) == ["states.lock"]


@each_refusal
def test_store_reads_on_and_says_so_at_each_write(
    refusal: int, refuse: Callable[[int], None], path: str
) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        refuse(refusal)
        assert store.get("m", "ann") == "A1"
        for _ in range(2):
            with pytest.raises(StorageError, match=SAID.format(os.strerror(refusal))):
                store.set("m", "ann", "A2")
        store.close()
        assert store.get("m", "ann") == "A1"
    assert states(path) == {"ann": "A1"}


def test_lock_that_cannot_be_let_go_of_is_let_go_of_by_closing(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def refused(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        flock(descriptor, operation)

    with SQLiteStorage(path) as store, SQLiteStorage(path, timeout=0) as other:
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", refused)
            store.close()  # what unlocks is made when the lock file is opened
            store.set("m", "ann", "A1")
        other.set("m", "ann", "A2")
        store.set("m", "ann", "A3")
    assert states(path) == {"ann": "A3"}


def test_command_exits_as_for_every_store_that_cannot_be_used(
    refuse: Callable[[int], None], path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make_store(path)
    refuse(errno.ENOSYS)
    ended = run_in_process(capfd, "--store", path, "set", "m", "ann", "A2")
    assert ended.status == UNUSABLE
    assert "flock(2) is refused" in ended.err
    assert run_in_process(capfd, "--store", path, "get", "m", "ann").cells == [["A1"]]


@pytest.mark.parametrize("is_lock_there", [True, False])
def test_check_finds_it(
    is_lock_there: bool,
    refuse: Callable[[int], None],
    path: str,
) -> None:
    make_store(path)
    if not is_lock_there:
        os.unlink(f"{path}.lock")
    assert check(path) == []
    refuse(errno.ENOSYS)
    finding = only(path)
    assert finding.subject == "lock"
    assert "flock(2) is refused (Function not implemented" in finding.problem
    assert finding.remedy == "put the store on a local disk"


def test_check_takes_no_lock_from_anybody(path: str) -> None:
    with SQLiteStorage(path) as store, SQLiteStorage(path, timeout=0) as other:
        store.set("m", "ann", "A1")
        file_of(store).write_lock.try_lock()
        check(path)
        with pytest.raises(StorageError):
            other.set("m", "ann", "A2")
