"""Paths that lead to something else than a store: a clear error, and the file as it was."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import (
    LockTimeout,
    NetworkFilesystem,
    NotAStateFile,
    SchemaTooNew,
    SQLiteStorage,
    StorageError,
)
from lamson_sqlite_state.sqlite.engine import lock_probe, open_checks, queries, schema
from lamson_sqlite_state.sqlite.process import filesystem
from tests.helpers.actors import Actor
from tests.helpers.insides import connection_of
from tests.helpers.state_files import every_call, make_the_next_read_look


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path in a directory that exists, to put something there."""
    return str(tmp_path / "states")


def directory(path: str) -> None:
    os.mkdir(path)


def fifo(path: str) -> None:
    os.mkfifo(path)


def short_text(path: str) -> None:
    Path(path).write_text("No database.\n")


def one_byte(path: str) -> None:
    Path(path).write_text("?")


def long_text(path: str) -> None:
    Path(path).write_text("All work and no play makes Jack a dull boy.\n" * 500)


def database_of_another_application(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE invoices (number)")


def database_with_another_application_id(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


def database_with_a_version_of_its_own(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")


def wal_database_of_another_application(path: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE states (name)")


@pytest.mark.parametrize(
    "made",
    [
        directory,
        fifo,
        one_byte,
        short_text,
        long_text,
        database_of_another_application,
        database_with_another_application_id,
        database_with_a_version_of_its_own,
        wal_database_of_another_application,
    ],
)
def test_what_is_no_store_is_refused_by_every_call_and_left_alone(
    made: Callable[[str], None], path: str
) -> None:
    made(path)
    before = Path(path).read_bytes() if os.path.isfile(path) else b""
    for call in every_call(SQLiteStorage(path, timeout=1)):
        with pytest.raises(NotAStateFile) as caught:
            call()
        assert caught.value.path == path
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert (Path(path).read_bytes() if os.path.isfile(path) else b"") == before
    assert sorted(os.listdir(os.path.dirname(path))) in (["states"], ["states", "states.lock"])


@pytest.mark.parametrize("what", ["empty file", "empty database", "empty WAL database"])
def test_what_is_empty_becomes_a_store(what: str, path: str) -> None:
    if what == "empty file":
        Path(path).touch(mode=0o640)
    else:
        with closing(sqlite3.connect(path)) as connection:
            if what == "empty WAL database":  # what a crash during creation leaves behind
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE t (c)")
            connection.execute("DROP TABLE t")
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        assert store.get("m", "ann") == "A1"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("made", [short_text, database_of_another_application, directory])
def test_a_store_works_once_the_cause_is_gone(made: Callable[[str], None], path: str) -> None:
    made(path)
    store = SQLiteStorage(path)
    with pytest.raises(NotAStateFile):
        store.set("m", "ann", "A1")
    os.rename(path, path + ".aside")
    store.set("m", "ann", "A1")
    assert store.get("m", "ann") == "A1"
    store.close()


def test_a_newer_schema_is_left_untouched(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    before = Path(path).read_bytes()
    for call in every_call(store):
        with pytest.raises(SchemaTooNew, match="update the package"):
            call()
    assert Path(path).read_bytes() == before


def test_a_damaged_page_is_an_error_that_names_the_remedy(path: str) -> None:
    with SQLiteStorage(path) as store:
        for number in range(500):
            store.set("m", f"sender {number}", "POSTING")
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(os.path.getsize(path) - 4096))
    with pytest.raises(NotAStateFile, match=r"damaged .* restore a backup") as caught:
        [store.get("m", f"sender {number}") for number in range(500)]
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    store.close()


def test_a_store_that_another_process_is_just_making_is_no_other_applications(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two questions of whoever opens it, an empty file becomes a store."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with Actor(path) as other, SQLiteStorage(path) as store:
        real = queries.first_row

        def first_row(connection: sqlite3.Connection, sql: str, *parameters: Any) -> Any:
            row = real(connection, sql, *parameters)
            if sql == "PRAGMA application_id":
                monkeypatch.undo()
                other.set("m", "ann", "A1")
            return row

        monkeypatch.setattr(schema, "first_row", first_row)
        assert store.get("m", "ann") == "A1"


def test_a_store_whose_table_is_gone_says_so(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        with closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE states")
        make_the_next_read_look(store)
        with pytest.raises(NotAStateFile, match="no such table"):
            store.get("m", "ann")


def test_a_path_through_a_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a file, not a directory"):
        SQLiteStorage(tmp_path / "file" / "states").get("m", "ann")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_a_directory_that_takes_no_files_is_an_error_that_says_so() -> None:
    """And not one that goes on being deleted, which is waited for."""
    with pytest.raises(StorageError, match=r"/proc/states.* look at the path") as caught:
        SQLiteStorage("/proc/states").set("m", "ann", "A")
    assert not isinstance(caught.value, LockTimeout)


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path, path: str) -> None:
    """Where others may write to the directory, it could be made to lock any file of ours."""
    (tmp_path / "states.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError) as caught:
        SQLiteStorage(path).set("m", "ann", "A1")
    assert caught.value.path == path + ".lock"
    assert not (tmp_path / "elsewhere").exists()


def test_functions_in_a_planted_view_are_not_trusted(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.get("m", "ann")
        assert connection_of(store).execute("PRAGMA trusted_schema").fetchone() == (0,)


def test_what_sqlite_does_not_do_as_told_is_an_error(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores settings that it does not know, so what it made of them is read back."""
    monkeypatch.setattr(open_checks, "_SYNCHRONOUS_LEVELS", {"FULL": 3})
    with pytest.raises(StorageError, match="synchronous=2 where FULL was asked for"):
        SQLiteStorage(path).set("m", "ann", "A1")


def test_where_nobody_can_be_asked_for_locks_a_store_works(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_probe, "_CAN_ASK", False)
    for number in range(3):
        with SQLiteStorage(path) as store:
            store.set("m", "ann", f"A{number}")
            assert store.get("m", "ann") == f"A{number}"


class TestNetworkFilesystem:
    """Told from the mount table; here a table that is written for the test."""

    @pytest.fixture(autouse=True)
    def _asks_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filesystem, "_local_devices", set())

    def mount_table(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
        table = tmp_path / "mountinfo"
        table.write_text("22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n" + "\n".join(lines))
        monkeypatch.setattr(filesystem, "_MOUNT_TABLE", str(table))

    @pytest.mark.parametrize(
        "kind",
        [
            *("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "wekafs"),
            *(
                "virtiofs",
                "fuse.virtiofs",
                "vboxsf",
                "fuse.vmhgfs-fuse",
                "prl_fs",
                "osxfs",
                "drvfs",
            ),
            *("fuse.gcsfuse", "fuse.s3fs", "fuse.mount-s3", "fuse.juicefs", "fuse.blobfuse2"),
            *("ocfs2", "gfs2", "pvfs2", "lustre", "fuse.mfs", "fuse.seaweedfs"),
        ],
    )
    def test_is_refused_before_anything_is_created(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.mount_table(tmp_path, monkeypatch, f"30 22 0:9 / {tmp_path} rw - {kind} host:/x rw")
        with pytest.raises(NetworkFilesystem, match=kind.replace(".", r"\.")):
            SQLiteStorage(tmp_path / "run" / "states").get("m", "ann")
        assert sorted(os.listdir(tmp_path)) == ["mountinfo"]

    @pytest.mark.parametrize("kind", ["btrfs", "overlay", "tmpfs", "zfs", "fuseblk", "vfat"])
    def test_is_not_what_one_host_has_to_itself(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.mount_table(tmp_path, monkeypatch, f"30 22 0:9 / {tmp_path} rw - {kind} /dev/x rw")
        with SQLiteStorage(tmp_path / "run" / "states") as store:
            assert store.get("m", "ann") == "START"

    def test_below_a_local_mount_is_told_from_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The longest mount point wins, and of two on one point the later."""
        local = tmp_path / "a b\\c" / "local"
        local.mkdir(parents=True)
        point = str(local).replace("\\", "\\134").replace(" ", "\\040")
        self.mount_table(
            tmp_path,
            monkeypatch,
            f"30 22 0:9 / {tmp_path} rw - nfs4 host:/x rw",
            f"31 30 0:8 / {point} rw - nfs4 host:/y rw",
            f"32 31 8:2 / {point} rw - xfs /dev/sdb1 rw",
        )
        with SQLiteStorage(local / "states") as store:
            store.set("m", "ann", "A1")
            assert store.get("m", "ann") == "A1"

    def test_of_a_name_that_merely_begins_alike_is_another(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "states2").mkdir()
        self.mount_table(tmp_path, monkeypatch, f"30 22 0:9 / {tmp_path}/st rw - nfs host:/x rw")
        with SQLiteStorage(tmp_path / "states2" / "states") as store:
            assert store.get("m", "ann") == "START"

    def test_is_looked_for_again_where_it_could_not_be_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A mount table that could not be read once says nothing about the device."""
        monkeypatch.setattr(filesystem, "_MOUNT_TABLE", str(tmp_path / "missing"))
        with SQLiteStorage(tmp_path / "states") as store:
            store.get("m", "ann")
        self.mount_table(tmp_path, monkeypatch, f"30 22 0:9 / {tmp_path} rw - nfs host:/x rw")
        with pytest.raises(NetworkFilesystem):
            store.get("m", "ann")

    def test_cannot_be_told_without_a_mount_table(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(filesystem, "_MOUNT_TABLE", str(tmp_path / "missing"))
        with SQLiteStorage(tmp_path / "states") as store:
            assert store.get("m", "ann") == "START"
