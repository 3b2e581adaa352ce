"""What `check` finds of the files and the file system of a store, and what its remedies do."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.check import _files, check
from lamson_sqlite_state.sqlite.process import filesystem
from tests.helpers.actors import Actor
from tests.helpers.checking import NEEDS_ROOT, carry_out, make_store, only
from tests.helpers.children import in_child

NOBODY = 65534


@pytest.fixture
def path(path: str) -> str:
    """A store, closed."""
    make_store(path)
    os.chmod(os.path.dirname(path), 0o755)
    return path


@pytest.mark.parametrize("suffix", ["", ".lock", ".versions"])
class TestHardLinks:
    def test_beside_the_store_are_named(self, suffix: str, path: str) -> None:
        os.link(path + suffix, f"{path}.other")
        finding = only(path)
        assert (finding.subject, finding.path) == ("hard links", path + suffix)
        assert "has 2 names" in finding.problem
        carry_out(finding.remedy)
        assert not os.path.exists(f"{path}.other")
        assert check(path) == []

    def test_elsewhere_are_looked_for_by_find(self, suffix: str, path: str, tmp_path: Path) -> None:
        os.link(path + suffix, tmp_path / "snapshot")
        finding = only(path)
        assert finding.subject == "hard links"
        assert f"-xdev -samefile {path}{suffix}" in finding.remedy


class TestPermissions:
    @pytest.mark.parametrize("mode", [0o604, 0o602, 0o606])
    @pytest.mark.parametrize("suffix", ["", ".lock", ".versions"])
    def test_for_everybody_are_found(self, suffix: str, mode: int, path: str) -> None:
        os.chmod(path + suffix, mode)
        finding = only(path)
        assert (finding.subject, finding.path) == ("permissions", path + suffix)
        assert f"states{suffix} (mode {mode:o})" in finding.problem
        carry_out(finding.remedy)
        assert check(path) == []

    def test_for_everybody_of_side_files_in_use_are_found(self, path: str, first: Actor) -> None:
        first.set("m", "ann", "A2")
        os.chmod(f"{path}-wal", 0o604)
        os.chmod(f"{path}-shm", 0o604)
        finding = only(path)
        assert "states-wal" in finding.problem
        assert "states-shm" in finding.problem
        carry_out(finding.remedy)
        assert check(path) == []

    @NEEDS_ROOT
    @pytest.mark.parametrize("suffix", [".lock", ".versions"])
    def test_of_what_root_has_made_shut_the_owner_out(self, suffix: str, path: str) -> None:
        for file in (os.path.dirname(path), path, f"{path}.lock", f"{path}.versions"):
            os.chown(file, NOBODY, NOBODY)
        assert check(path) == []
        os.chown(path + suffix, 0, 0)
        finding = only(path)
        assert (finding.subject, finding.path) == ("owner", path + suffix)
        assert f"cannot use states{suffix} of root (mode 600)" in finding.problem
        carry_out(finding.remedy)
        found = os.stat(path + suffix)
        assert (found.st_uid, found.st_gid) == (NOBODY, NOBODY)
        assert check(path) == []

    @NEEDS_ROOT
    def test_of_what_another_user_of_the_group_has_made_are_no_finding(self, path: str) -> None:
        for file in (os.path.dirname(path), path, f"{path}.lock", f"{path}.versions"):
            os.chown(file, NOBODY, NOBODY)
        for suffix in ("", ".lock", ".versions"):
            os.chmod(path + suffix, 0o660)
        os.chmod(os.path.dirname(path), 0o770)
        os.chown(f"{path}.lock", 1, NOBODY)
        assert check(path) == []

    @NEEDS_ROOT
    def test_shut_nothing_to_root(self, path: str) -> None:
        os.chown(f"{path}.lock", NOBODY, 0)
        assert check(path) == []


def test_what_is_mended_a_moment_later_is_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by root, SQLite first creates a file, and then gives the file to its owner."""
    os.chmod(path, 0o604)

    def mend(_seconds: float) -> None:
        os.chmod(path, 0o600)

    monkeypatch.setattr(time, "sleep", mend)
    assert check(path) == []


class TestDirectory:
    def test_that_everybody_may_write_to_is_found(self, path: str) -> None:
        directory = os.path.dirname(path)
        os.chmod(directory, 0o777)
        finding = only(path)
        assert (finding.subject, finding.path) == ("permissions", directory)
        carry_out(finding.remedy)
        assert check(path) == []

    def test_that_everybody_may_write_to_but_not_delete_in_is_found(self, path: str) -> None:
        """The mode of /tmp: a user who makes a side file before a worker does owns the file."""
        directory = os.path.dirname(path)
        os.chmod(directory, 0o1777)
        finding = only(path)
        assert (finding.subject, finding.path) == ("permissions", directory)
        assert "every user may create files in the directory (mode 1777)" in finding.problem
        owner = pwd.getpwuid(os.geteuid()).pw_name
        assert finding.problem.endswith(f"the database is {owner}'s")
        carry_out(finding.remedy)
        own = f"{path}.d"
        for name in ("states", "states.lock", "states.versions"):
            os.rename(os.path.join(directory, name), os.path.join(own, name))
        assert check(os.path.join(own, "states")) == []

    @NEEDS_ROOT
    @pytest.mark.parametrize("owner", [0, 60_001])
    def test_whose_owner_is_another_than_the_databases_is_found(
        self, owner: int, path: str
    ) -> None:
        directory = os.path.dirname(path)
        for file in (path, f"{path}.lock", f"{path}.versions"):
            os.chown(file, owner, owner)
            os.chmod(file, 0o600)
        os.chown(directory, 60_002, 60_002)
        os.chmod(directory, 0o777)
        findings = [found for found in check(path) if found.subject == "owner"]
        assert len(findings) == 1
        assert f", but its directory is user {60_002}'s: " in findings[0].problem
        assert findings[0].problem.startswith(
            f"the database is user {owner}'s" if owner else "the database is root's"
        )
        carry_out(findings[0].remedy)
        os.chmod(directory, 0o700)
        assert check(path) == []

    @NEEDS_ROOT
    def test_that_a_group_shares_may_hold_the_store_of_any_member(self, path: str) -> None:
        for file in (path, f"{path}.lock", f"{path}.versions"):
            os.chown(file, 60_001, 60_000)
            os.chmod(file, 0o660)
        os.chown(os.path.dirname(path), 60_002, 60_000)
        os.chmod(os.path.dirname(path), 0o2770)
        assert "owner" not in {found.subject for found in check(path)}

    @NEEDS_ROOT
    def test_of_roots_is_judged_by_who_asks(self, path: str) -> None:
        """There, the user who makes the check is expected to own the store."""

        def scene() -> list[str]:
            os.setgroups([])
            os.setgid(60_002)
            os.setuid(60_002)
            return [found.problem for found in check(path) if found.subject == "owner"]

        for parent in [Path(path).parent, *Path(path).parent.parents]:
            if parent.stat().st_uid == 0:
                parent.chmod(parent.stat().st_mode | 0o111)
        os.chown(path, 60_001, 60_001)
        (problem, *_) = in_child(scene)
        assert problem.startswith(
            f"the database is user {60_001}'s, but this check is user 60002's"
        )

    @NEEDS_ROOT
    def test_that_the_owner_of_the_database_cannot_write_to_is_found(self, path: str) -> None:
        for suffix in ("", ".lock", ".versions"):
            os.chown(path + suffix, NOBODY, NOBODY)
        finding = only(path)
        assert (finding.subject, finding.path) == ("permissions", os.path.dirname(path))
        assert "root's (mode 755)" in finding.problem
        carry_out(finding.remedy)
        assert check(path) == []


def link(path: str) -> None:
    os.symlink("elsewhere", path)


@pytest.mark.parametrize("made", [os.mkdir, os.mkfifo, link], ids=["directory", "pipe", "link"])
@pytest.mark.parametrize(
    ("suffix", "subject"), [(".lock", "lock"), (".versions", "versions"), ("-wal", "side files")]
)
def test_what_stands_where_a_file_has_to_be_is_found(
    suffix: str, subject: str, made: Callable[[str], None], path: str
) -> None:
    if os.path.exists(path + suffix):
        os.unlink(path + suffix)
    made(path + suffix)
    found = [each for each in check(path) if each.subject == subject]
    assert [each.path for each in found] == [path + suffix]
    carry_out(found[0].remedy)
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A2")
    assert check(path) == []


class TestFilesystem:
    def test_of_a_network_is_found_and_nothing_is_opened(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        table = tmp_path / "mountinfo"
        table.write_text(f"30 22 0:9 / {tmp_path} rw - nfs4 host:/x rw\n")
        monkeypatch.setattr(filesystem, "_MOUNT_TABLE", str(table))
        monkeypatch.setattr(filesystem, "_local_devices", set())
        finding = only(path)
        assert finding.subject == "file system"
        assert "network file system (nfs4)" in finding.problem
        assert finding.remedy == "put the store on a local disk"

    def test_with_little_space_is_found(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_files, "_SPARE_BYTES", 2**60)
        finding = only(path)
        assert (finding.subject, finding.path) == ("file system", os.path.dirname(path))
        assert "MiB are free" in finding.problem


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Return a function that mounts, or skips the test where it may not. The end unmounts all."""
    points: list[str] = []

    def mount(*words: str) -> None:
        command = ["mount", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            pytest.skip(f"needs the right to mount: {ended.stderr.strip()}")
        if words[-1] not in points:
            points.append(words[-1])

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", point], check=True)


class TestMounts:
    def test_of_the_single_file_are_found(
        self, path: str, tmp_path: Path, mount: Callable[..., None]
    ) -> None:
        elsewhere = str(tmp_path / "elsewhere")
        make_store(elsewhere)
        mount("--bind", elsewhere, path)
        finding = only(path)
        assert (finding.subject, finding.path) == ("file system", path)
        assert "states alone is mounted" in finding.problem

    def test_that_are_read_only_are_found(self, tmp_path: Path, mount: Callable[..., None]) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mount("-t", "tmpfs", "-o", "size=80m,mode=755", "tmpfs", str(disk))
        path = str(disk / "states")
        make_store(path)
        mount("-o", "remount,ro", str(disk))
        found = check(path)
        assert found[0].subject == "file system"
        assert "mounted read-only" in found[0].problem
        carry_out(found[0].remedy)
        assert check(path) == []


def test_names_with_odd_bytes_are_quoted_so_that_the_remedy_works(tmp_path: Path) -> None:
    directory = os.path.join(os.fspath(tmp_path), os.fsdecode(b"r\xe9 'n\n"))
    path = os.path.join(directory, "sta tes")
    make_store(path)
    os.chmod(directory, 0o755)
    os.chmod(path, 0o604)
    carry_out(only(path).remedy)
    assert check(path) == []
    shutil.rmtree(directory)
