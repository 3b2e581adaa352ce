"""A file gets its name whole, over nothing that came meanwhile, and through no link."""

import errno
import os
import signal
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage, cli, transfer
from lamson_sqlite_state.maintenance import backup
from lamson_sqlite_state.sqlite.copies import atomic_file
from tests.helpers.bulk import raw_rows

Put = Callable[..., int]


def refuse(code: int) -> Any:
    def refused(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return refused


@pytest.fixture(params=["renameat2", "link"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How a name is taken; without a system call for the first, by the second."""
    if request.param == "link":
        monkeypatch.setattr(atomic_file, "_rename_new", refuse(errno.ENOSYS))
    else:
        monkeypatch.setattr(os, "link", refuse(errno.EIO))
        if not os.path.exists("/proc/self"):
            pytest.skip("needs renameat2, which Linux has")
    return str(request.param)


def exported(store: str, target: Path, *words: str) -> int:
    return cli.main(["--store", store, "export", str(target), *words])


def backed_up(store: str, target: Path, *words: str) -> int:
    return cli.main(["--store", store, "backup", str(target), *words])


@pytest.fixture(params=[exported, backed_up])
def put(request: pytest.FixtureRequest, twenty: SQLiteStorage) -> Callable[..., int]:
    """Put an export, or a backup, of a store of twenty to a path."""
    return lambda *words: request.param(twenty.path, *words)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something done between the last look at a target and its naming."""

    def at_the_last_moment(action: Callable[[], object]) -> None:
        look = atomic_file.refuse

        def looked(target: str, *, overwrite: bool) -> None:
            look(target, overwrite=overwrite)
            names = os.listdir(os.path.dirname(target))
            if any(name.endswith(".unfinished") for name in names):
                action()

        monkeypatch.setattr(atomic_file, "refuse", looked)

    return at_the_last_moment


@pytest.mark.usefixtures("way")
class TestWithoutForce:
    def test_new_file_is_there_alone_and_private(self, put: Put, target: str) -> None:
        assert put(Path(target)) == 0
        assert os.listdir(os.path.dirname(target)) == ["copy"]
        found = os.lstat(target)
        assert (found.st_nlink, stat.S_IMODE(found.st_mode)) == (1, 0o600)

    @pytest.mark.parametrize("kind", ["file", "link", "link to nowhere"])
    def test_what_comes_at_the_last_moment_stays(
        self, put: Put, target: str, kind: str, tmp_path: Path, meanwhile: Any
    ) -> None:
        precious = tmp_path / "precious"
        precious.write_text("mine")
        actions: dict[str, Callable[[], object]] = {
            "file": lambda: Path(target).write_text("mine"),
            "link": lambda: os.symlink(precious, target),
            "link to nowhere": lambda: os.symlink(f"{precious}.not", target),
        }
        meanwhile(actions[kind])
        assert put(Path(target)) == 2
        assert os.listdir(os.path.dirname(target)) == ["copy"]
        assert precious.read_text() == "mine"
        if kind == "link to nowhere":
            assert os.readlink(target) == f"{precious}.not"
        else:
            assert Path(target).read_text() == "mine"


class TestWithForce:
    def test_link_that_comes_at_the_last_moment_is_not_followed(
        self, put: Put, target: str, tmp_path: Path, meanwhile: Any
    ) -> None:
        precious = tmp_path / "precious"
        precious.write_text("mine")
        meanwhile(lambda: os.symlink(precious, target))
        assert put(Path(target), "--force") == 0
        assert precious.read_text() == "mine"
        assert not os.path.islink(target)

    def test_name_that_the_system_keeps_is_never_a_files(
        self, put: Put, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """As root one could have a file in the place of /dev/stdout."""
        with (tmp_path / "out").open("wb") as out:
            name = Path(f"/dev/fd/{out.fileno()}")
            assert put(name, "--force") == 2
        assert "give another path" in capfd.readouterr().err
        assert (tmp_path / "out").read_bytes() == b""


class TestAKilledProcess:
    @pytest.mark.parametrize("words", [(), ("--force",)])
    def test_leaves_no_half_file_under_the_name(
        self, put: Put, target: str, words: tuple[str, ...], meanwhile: Any
    ) -> None:
        """Killed when all is written, but for the name."""
        if words:
            Path(target).write_text("old")
        meanwhile(lambda: os.kill(os.getpid(), signal.SIGKILL))
        pid = os.fork()
        if not pid:
            try:
                put(Path(target), *words)
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        left = sorted(os.listdir(os.path.dirname(target)))
        assert [name for name in left if not name.endswith(".unfinished")] == ["copy"] * bool(words)
        assert not words or Path(target).read_text() == "old"


class TestAPipe:
    def test_is_written_to(self, twenty: SQLiteStorage, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
        reader.start()
        assert exported(twenty.path, tmp_path / "pipe") == 0
        reader.join()
        assert read[0].count(b"\n") == 20

    def test_that_was_replaced_by_a_file_is_not_overwritten(
        self, twenty: SQLiteStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "pipe")
        opened = atomic_file.open_stream

        def opened_late(target: str) -> int:
            os.unlink(target)
            Path(target).write_text("mine")
            return opened(target)

        monkeypatch.setattr(atomic_file, "open_stream", opened_late)
        assert exported(twenty.path, tmp_path / "pipe", "--force") == 2
        assert (tmp_path / "pipe").read_text() == "mine"

    def test_behind_anybodys_link_is_not_written_to(
        self, twenty: SQLiteStorage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "link").symlink_to("/dev/null")
        assert exported(twenty.path, tmp_path / "link") == 2
        assert "give the path that it leads to" in capfd.readouterr().err

    def test_behind_the_systems_link_is_written_to(self, twenty: SQLiteStorage) -> None:
        """As a shell gives it for >(...)."""
        ours, theirs = os.pipe()
        try:
            assert exported(twenty.path, Path(f"/dev/fd/{theirs}")) == 0
        finally:
            os.close(theirs)
        with open(ours, "rb") as pipe:
            assert pipe.read().count(b"\n") == 20


def test_an_export_and_a_backup_hold_all_rows(twenty: SQLiteStorage, target: str) -> None:
    assert exported(twenty.path, Path(f"{target}.jsonl")) == 0
    assert backup(twenty, target).pairs == 20
    with open(f"{target}.jsonl", "rb") as file, SQLiteStorage(f"{target}.2") as store:
        transfer.import_rows(store, file)
    assert raw_rows(f"{target}.2") == raw_rows(target)


def test_error_while_it_is_written_leaves_nothing(
    put: Put, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    assert put(Path(target)) != 0
    assert os.listdir(os.path.dirname(target)) == []


def test_error_of_the_making_is_told_where_nothing_can_be_removed(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only file system refuses to remove even what is not there."""
    monkeypatch.setattr(os, "unlink", refuse(errno.EROFS))
    with (
        pytest.raises(ValueError, match="of the making"),
        atomic_file.placed(target, overwrite=False),
    ):
        raise ValueError("of the making")
