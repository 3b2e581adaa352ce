"""Who works on another user's store, root with a tool above all, must not shut that user out."""

import contextlib
import errno
import os
import shelve
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.process import new_files
from tests.helpers.actors import Actor
from tests.helpers.children import in_child, in_children
from tests.helpers.commands import run_in_process
from tests.helpers.insides import file_of
from tests.helpers.state_files import rows

MAIL, GROUP, MEMBER = 65_534, 60_000, 60_001

SIDE_FILES: Final = {"-wal", "-shm", ".lock", ".versions"}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A store that mail owns and nobody else may read, restored: nothing stands beside it."""
    if os.geteuid() != 0:
        pytest.skip("only root can be one user and then another")
    path = str(tmp_path / "run" / "states")
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
    for suffix in (".lock", ".versions"):
        os.unlink(path + suffix)
    os.chown(path, MAIL, MAIL)
    os.chown(os.path.dirname(path), MAIL, MAIL)
    os.chmod(os.path.dirname(path), 0o700)
    for parent in tmp_path.parents:  # which pytest keeps to itself
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o111)
    tmp_path.chmod(0o711)
    return path


def become(user: int, *groups: int) -> None:
    """Be another user for good, as a mail server is that drops its privileges."""
    os.setgroups(groups)
    os.setgid(user)
    os.setuid(user)


def work_as_mail(path: str, state: str) -> None:
    """Do what a worker of the mail server does, all of which must be permitted."""

    def scene() -> None:
        become(MAIL)
        with SQLiteStorage(path, timeout=5) as store:
            store.get("m", "ann")
            store.set("m", "ann", state)
            store.set("m", "a new one", state)

    in_child(scene)
    assert rows(path) == {("m", "ann"): state, ("m", "a new one"): state}


def beside(path: str) -> dict[str, tuple[int, int, str]]:
    """Return owner, group and mode of all files of a store, by what they add to its name."""
    found = {}
    for name in os.listdir(os.path.dirname(path)):
        entry = os.stat(os.path.join(os.path.dirname(path), name))
        owners = entry.st_uid, entry.st_gid
        found[name.removeprefix("states")] = *owners, oct(stat.S_IMODE(entry.st_mode))
    return found


class TestRootOnTheStoreOfAnother:
    def test_leaves_files_of_its_owner_only(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
            assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, MAIL, "0o600"))
        work_as_mail(path, "MAIL")

    def test_that_dies_leaves_files_of_its_owner_only(self, path: str) -> None:
        with Actor(path) as root:
            root.set("m", "ann", "ROOT")
            root.kill()
        assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, MAIL, "0o600"))
        work_as_mail(path, "MAIL")

    @pytest.mark.parametrize("deleted", ["-wal", "-shm", ".lock", ".versions"])
    def test_makes_up_for_deleted_files_on_its_behalf(self, path: str, deleted: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
            os.unlink(path + deleted)
            store.set("m", "ann", "MENDED")
            assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, MAIL, "0o600"))
        work_as_mail(path, "MAIL")

    def test_keeps_its_mode(self, path: str) -> None:
        os.chmod(path, 0o660)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
            assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, MAIL, "0o660"))

    def test_lets_its_owner_lock_once_it_may_be_written_again(self, path: str) -> None:
        """The database was kept from being written for a while, by its mode."""
        os.chmod(path, 0o400)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
        os.chmod(path, 0o600)
        work_as_mail(path, "MAIL")

    def test_shares_one_lock_with_all_who_come_at_once(self, path: str) -> None:
        def scene(number: int) -> int:
            if number % 2:
                become(MAIL)
            with SQLiteStorage(path) as store:
                store.set("m", f"sender {number}", "HERE")
                lock = file_of(store).write_lock.descriptor
                assert lock is not None
                return os.fstat(lock).st_ino

        for _ in range(5):
            used = in_children(6, scene)
            assert set(used) == {os.stat(f"{path}.lock").st_ino}
            assert beside(path)[".lock"] == (MAIL, MAIL, "0o600")
            with SQLiteStorage(path) as store:  # where two were the last to close, files are left
                assert store.get("m", "sender 5") == "HERE"
            assert set(beside(path)) == {"", ".lock", ".versions"}
            os.unlink(f"{path}.lock")
        assert len(rows(path)) == 7

    def test_uses_the_lock_that_another_makes_meanwhile(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is never replaced: two who hold two locks would both write."""
        created = new_files.create_file
        made: list[int] = []

        def be_overtaken(new: str, file_mode: int, owners: os.stat_result) -> int:
            monkeypatch.undo()
            descriptor = created(new, file_mode, owners)
            with Actor(path) as other:
                other.set("m", "bob", "B1")
            made.append(os.stat(f"{path}.lock").st_ino)
            return descriptor

        monkeypatch.setattr(new_files, "create_file", be_overtaken)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
            assert made == [os.stat(f"{path}.lock").st_ino]
        assert set(beside(path)) == {"", ".lock", ".versions"}

    @pytest.mark.parametrize("call", ["open", "fchmod", "fchown", "link", "unlink"])
    def test_killed_before_any_step_shuts_nobody_out(self, path: str, call: str) -> None:
        def scene() -> None:
            step = getattr(os, call)

            def step_or_die(*arguments: Any, **options: Any) -> Any:
                if is_about_the_lock(*arguments):
                    os.kill(os.getpid(), signal.SIGKILL)
                return step(*arguments, **options)

            setattr(os, call, step_or_die)
            SQLiteStorage(path).set("m", "ann", "ROOT")

        with pytest.raises(AssertionError, match="SIGKILL"):
            in_child(scene)
        assert beside(path).get(".lock", (MAIL, MAIL, "0o600")) == (MAIL, MAIL, "0o600")
        work_as_mail(path, "MAIL")

    @pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
    def test_makes_its_lock_where_no_file_may_have_two_names(
        self, path: str, refusal: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "link", refuse(refusal))
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
            assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, MAIL, "0o600"))
        work_as_mail(path, "MAIL")


class TestRootWhereThereIsNoStoreYet:
    """Its directory says whom the store is for."""

    @pytest.fixture
    def path(self, path: str) -> str:
        os.unlink(path)
        return path

    def test_makes_one_of_its_directorys_owner(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
            assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, MAIL, "0o600"))
        work_as_mail(path, "MAIL")

    def test_makes_one_for_the_group_of_its_directory(self, path: str) -> None:
        os.chown(os.path.dirname(path), MAIL, GROUP)
        with SQLiteStorage(path, file_mode=0o660) as store:
            store.set("m", "ann", "ROOT")
            assert beside(path) == dict.fromkeys(SIDE_FILES | {""}, (MAIL, GROUP, "0o660"))

    def test_makes_missing_directories_of_the_same_owner(self, path: str) -> None:
        deeper = os.path.join(os.path.dirname(path), "a", "b", "states")
        with SQLiteStorage(deeper) as store:
            store.set("m", "ann", "ROOT")
        for directory in (os.path.dirname(deeper), os.path.dirname(os.path.dirname(deeper))):
            found = os.stat(directory)
            assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (MAIL, MAIL, 0o700)
        work_as_mail(deeper, "MAIL")

    def test_gives_away_no_directory_that_was_put_in_the_place_of_its_own(
        self, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The owner of the directory above may exchange names while root is at work there."""
        mkdir = os.mkdir
        secret = Path(os.path.dirname(path), "secret")
        secret.mkdir(mode=0o700)
        (secret / "key").touch()

        def mkdir_and_be_exchanged(directory: str, mode: int) -> None:
            mkdir(directory, mode)
            os.rename(directory, f"{directory}.away")
            os.rename(secret, directory)

        monkeypatch.setattr(os, "mkdir", mkdir_and_be_exchanged)
        with SQLiteStorage(os.path.join(os.path.dirname(path), "run", "states")) as store:
            store.set("m", "ann", "ROOT")
        assert os.stat(os.path.join(os.path.dirname(path), "run")).st_uid == 0

    def test_keeps_one_in_its_own_directory(self, path: str) -> None:
        os.chown(os.path.dirname(path), 0, GROUP)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ROOT")
        assert {owner for owner, _, _ in beside(path).values()} == {0}

    @pytest.mark.parametrize("call", ["open", "fchmod", "fchown", "link", "unlink"])
    @pytest.mark.parametrize("file", ["states.lock", "states"])
    def test_killed_before_any_step_shuts_nobody_out(self, path: str, call: str, file: str) -> None:
        def scene() -> None:
            step = getattr(os, call)

            def step_or_die(*arguments: Any, **options: Any) -> Any:
                if is_about_the_lock(*arguments):
                    os.kill(os.getpid(), signal.SIGKILL)
                return step(*arguments, **options)

            setattr(os, call, step_or_die)
            SQLiteStorage(path).set("m", "ann", "ROOT")

        with pytest.raises(AssertionError, match="SIGKILL"):
            in_child(scene)
        for suffix in ("", ".lock"):
            assert beside(path).get(suffix, (MAIL, MAIL, "0o600")) == (MAIL, MAIL, "0o600")
        work_as_mail(path, "MAIL")

    @pytest.mark.parametrize("command", ["import", "import-shelve"])
    def test_makes_one_with_the_command(
        self, path: str, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        source = tmp_path / "source"
        if command == "import":
            source.write_text('{"module": "m", "sender": "ann", "state": "ROOT"}\n')
        else:
            with shelve.open(str(source)) as shelf:
                shelf["m"] = {"ann": "ROOT"}
        ended = run_in_process(capfd, "--store", path, command, "--create", str(source))
        assert os.path.exists(path), ended
        owners = {(owner, group, mode) for owner, group, mode in beside(path).values()}
        assert owners == {(MAIL, MAIL, "0o600")}


def is_about_the_lock(what: object, *_: object) -> bool:
    """Whether a call is about the lock file, by its name or by its descriptor."""
    name = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)
    return ".lock" in name


def refuse(reason: int) -> Callable[..., None]:
    def refused(first: str, *others: object, **_options: object) -> None:
        second = others[0] if others and isinstance(others[0], str) else None
        raise OSError(reason, os.strerror(reason), first, None, second)

    return refused


def test_member_of_the_group_makes_the_lock_for_the_group(path: str) -> None:
    os.chown(path, MAIL, GROUP)
    os.chmod(path, 0o660)
    os.chown(os.path.dirname(path), MAIL, GROUP)
    os.chmod(os.path.dirname(path), 0o770)

    def scene(user: int) -> None:
        become(user, GROUP)
        with SQLiteStorage(path, timeout=5) as store:
            store.set("m", "ann", f"SET BY {user}")

    in_child(scene, MEMBER)
    assert beside(path)[".lock"] == (MEMBER, GROUP, "0o660")
    in_child(scene, MAIL)
    assert rows(path) == {("m", "ann"): f"SET BY {MAIL}"}


def test_database_is_asked_only_for_a_lock_that_is_missing(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A2")
        before = os.stat(f"{path}.lock")
        store.close()
        monkeypatch.setattr(new_files, "create_once_like", refuse(errno.EPERM))
        store.set("m", "ann", "A3")
        assert os.stat(f"{path}.lock").st_ino == before.st_ino
