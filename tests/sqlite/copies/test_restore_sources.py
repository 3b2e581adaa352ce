"""What a restore takes for a copy, what it refuses, and that it leaves the copy as it was."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.errors import LockTimeout, NoStore, NotAStateFile, SchemaTooNew
from lamson_sqlite_state.maintenance import ExistingStorage, Restored, backup, forget, restore
from lamson_sqlite_state.sqlite.copies import snapshot
from tests.helpers.actors import Actor
from tests.helpers.bulk import OLD_MS, fill, raw_rows, senders, two_at_a_time
from tests.helpers.checking import states_of_files
from tests.helpers.children import in_child

LIVE = senders(3, "LIVE")


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_COPY_SECONDS", 0.1)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    fill(path, LIVE)
    with ExistingStorage(path) as store:
        yield store


@pytest.fixture
def copy(tmp_path: Path) -> str:
    """A copy in a directory of its own."""
    path = str(tmp_path / "copies" / "copy")
    fill(path, senders(5, "COPIED"))
    with ExistingStorage(path) as store:
        backup(store, f"{path}.b")
    for name in os.listdir(tmp_path / "copies"):
        if name != "copy.b":
            os.unlink(tmp_path / "copies" / name)
    return f"{path}.b"


def edit(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as tool:
        for statement in statements:
            tool.execute(statement)


def use_log(path: str) -> None:
    edit(path, "PRAGMA journal_mode = WAL")


class TestTakes:
    def check(self, store: SQLiteStorage, source: str | os.PathLike[str]) -> None:
        assert restore(store, source).pairs == 5
        assert raw_rows(store.path) == senders(5, "COPIED")

    def test_a_backup_and_leaves_it_and_its_directory_as_they_were(
        self, store: SQLiteStorage, copy: str
    ) -> None:
        before = states_of_files(copy), Path(copy).read_bytes()
        self.check(store, copy)
        assert (states_of_files(copy), Path(copy).read_bytes()) == before

    def test_a_copy_in_write_ahead_mode_without_its_log(
        self, store: SQLiteStorage, copy: str
    ) -> None:
        use_log(copy)
        before = states_of_files(copy)
        self.check(store, copy)
        assert states_of_files(copy) == before

    def test_a_store_in_use_with_what_is_in_its_log(self, store: SQLiteStorage, copy: str) -> None:
        with Actor(copy) as user:
            user.set("app", "000000@example.com", "IN THE LOG")
            assert os.path.getsize(f"{copy}-wal")
            assert restore(store, copy).pairs == 5
            assert store.get("app", "000000@example.com") == "IN THE LOG"
            user.set("app", "000000@example.com", "LATER")
            assert restore(store, copy) == Restored(5, 1, 0)

    def test_a_store_in_use_here_and_leaves_it_its_locks(
        self, store: SQLiteStorage, copy: str
    ) -> None:
        """Closing any descriptor of a file drops all locks that the process has on it."""
        with SQLiteStorage(copy) as here, Actor(copy) as other:
            here.set("app", "000000@example.com", "HERE")
            assert restore(store, copy).pairs == 5
            assert store.get("app", "000000@example.com") == "HERE"
            os.unlink(f"{copy}-wal")  # by the locks alone does the other see that it was in use
            with pytest.raises(StorageError, match="deleted under a process"):
                other.call(get_at_once)

    def test_one_instant_of_a_store_in_use(self, store: SQLiteStorage, copy: str) -> None:
        """What comes and goes there meanwhile is no matter."""
        with Actor(copy) as user:
            user.set("app", "000000@example.com", "BEFORE")

            def meddle(_done: int, _of: int | None) -> None:
                user.set("app", "000009@example.com", "NEW")
                user.set_all("000000@example.com", "AFTER")
                user.call(forget, "000001@example.com")
                user.set("app", "000004@example.com", "AFTER")

            assert restore(store, copy, progress=meddle).pairs == 5
        assert {row[0] for row in raw_rows(store.path)} == {row[0] for row in senders(5)}
        assert store.get("app", "000000@example.com") == "BEFORE"
        assert store.get("app", "000004@example.com") == "COPIED"

    def test_what_a_crash_has_left_in_a_log(self, store: SQLiteStorage, copy: str) -> None:
        with Actor(copy) as user:
            user.set("app", "000000@example.com", "IN THE LOG")
            user.kill()
        assert restore(store, copy).pairs == 5
        assert store.get("app", "000000@example.com") == "IN THE LOG"

    def test_a_link(self, store: SQLiteStorage, copy: str, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(copy)
        self.check(store, tmp_path / "link")

    @pytest.mark.parametrize(
        "name", ["a b", "50%", "what?", "no#1", "%41", "ä", b"\xff\xfe", "'\""]
    )
    def test_every_path(self, store: SQLiteStorage, copy: str, name: str | bytes) -> None:
        source = os.path.join(os.path.dirname(copy), os.fsdecode(name))
        os.rename(copy, source)
        self.check(store, source)
        edit(source, "UPDATE states SET state = 'AGAIN'")
        restore(store, source)
        assert store.get("app", "000000@example.com") == "AGAIN"
        assert len(os.listdir(os.path.dirname(copy))) == 1

    def test_a_file_on_a_read_only_disk(self, store: SQLiteStorage, copy: str) -> None:
        use_log(copy)
        directory = os.path.dirname(copy)
        mounted = subprocess.run(
            ["mount", "--bind", "-o", "ro", directory, directory],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"a read-only disk needs the right to mount: {mounted.stderr.strip()}")
        try:
            with pytest.raises(OSError, match="Read-only"):
                Path(directory, "x").touch()
            self.check(store, copy)
        finally:
            subprocess.run(["umount", directory], check=True)


def get_at_once(store: SQLiteStorage) -> str:
    store.close()
    with SQLiteStorage(store.path, timeout=0.05) as other:
        return other.get("app", "000000@example.com")


def damage(path: str) -> None:
    fill_many(path)
    with open(path, "r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * 3000)


def fill_many(path: str) -> None:
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.executemany(
            "INSERT INTO states (sender, module, state, since) VALUES (?, ?, ?, ?)",
            senders(2000, module="more"),
        )


def truncate(path: str) -> None:
    fill_many(path)
    os.truncate(path, 6 * 4096)


def spoil_text(path: str) -> None:
    """A sender that is no UTF-8; SQLite minds it as little as its integrity check does."""
    edit(path, "UPDATE states SET sender = CAST(x'ff' AS TEXT) WHERE sender LIKE '000003%'")


REFUSED: dict[str, tuple[Callable[[str], object], type[StorageError], str]] = {
    "missing": (os.unlink, NoStore, "no such file: give the path of a copy"),
    "empty": (lambda path: os.truncate(path, 0), NoStore, "empty"),
    "damaged": (damage, NotAStateFile, "damaged"),
    "truncated": (truncate, NotAStateFile, "damaged"),
    "no UTF-8": (spoil_text, NotAStateFile, "no UTF-8"),
    "no database": (lambda path: Path(path).write_bytes(b"text" * 1000), NotAStateFile, "SQLite"),
    "short": (lambda path: Path(path).write_bytes(b"text"), NotAStateFile, "SQLite"),
    "of another application": (
        lambda path: edit(path, "PRAGMA application_id = 77"),
        NotAStateFile,
        "another application",
    ),
    "newer": (lambda path: edit(path, "PRAGMA user_version = 99"), SchemaTooNew, "newer"),
    "without its table": (lambda path: edit(path, "DROP TABLE states"), NotAStateFile, "table"),
    "without a column": (
        lambda path: edit(path, "ALTER TABLE states DROP COLUMN since"),
        NotAStateFile,
        "table",
    ),
    "an empty database": (
        lambda path: edit(
            path,
            "DROP TABLE states",
            "PRAGMA application_id = 0",
            "PRAGMA user_version = 0",
            "VACUUM",
        ),
        NoStore,
        "empty database",
    ),
    "of two names": (lambda path: os.link(path, f"{path}.2"), StorageError, "2 names"),
}


class TestRefuses:
    @pytest.mark.parametrize("what", REFUSED)
    def test_what_is_no_whole_copy_and_writes_nothing(
        self, store: SQLiteStorage, copy: str, what: str
    ) -> None:
        spoil, kind, message = REFUSED[what]
        spoil(copy)
        before = set(os.listdir(os.path.dirname(copy)))
        with pytest.raises(kind, match=message) as caught:
            restore(store, copy)
        assert str(caught.value).startswith(f"{copy}: ")
        assert "\n" not in str(caught.value)
        assert raw_rows(store.path) == LIVE
        assert set(os.listdir(os.path.dirname(copy))) == before

    def test_a_directory(self, store: SQLiteStorage, tmp_path: Path) -> None:
        with pytest.raises(NotAStateFile, match="directory"):
            restore(store, tmp_path)

    def test_a_pipe(self, store: SQLiteStorage, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(NotAStateFile, match="no regular file"):
            restore(store, tmp_path / "pipe")

    @pytest.mark.parametrize("link", [os.symlink, os.link, None])
    def test_the_store_itself_by_any_name(
        self, store: SQLiteStorage, tmp_path: Path, link: Callable[[str, str], None] | None
    ) -> None:
        store.get("app", "000000@example.com")
        name = str(tmp_path / "name") if link else store.path
        if link:
            link(store.path, name)
        with pytest.raises(StorageError, match="the store itself"):
            restore(store, name)
        if link:
            os.unlink(name)
        assert raw_rows(store.path) == LIVE

    @pytest.mark.usefixtures("_hurried")
    def test_a_copy_that_is_being_written(self, store: SQLiteStorage, copy: str) -> None:
        with closing(sqlite3.connect(copy, isolation_level=None)) as tool:
            tool.execute("BEGIN EXCLUSIVE")
            tool.execute("UPDATE states SET state = 'HALF'")
            with pytest.raises(LockTimeout, match="another SQLite program"):
                restore(store, copy)
            tool.execute("ROLLBACK")
        assert raw_rows(store.path) == LIVE

    def test_to_run_what_was_planted_in_a_copy(self, store: SQLiteStorage, copy: str) -> None:
        """A view with the name of the table, and in it what looks into more than that."""
        edit(
            copy,
            "ALTER TABLE states RENAME TO others",
            "CREATE VIEW states AS SELECT 'm' AS module, name AS sender, 'S' AS state, 1 AS since"
            " FROM pragma_module_list",
        )
        with pytest.raises(StorageError, match="unsafe use of virtual table"):
            restore(store, copy)
        assert raw_rows(store.path) == LIVE


@pytest.mark.usefixtures("_hurried")
def test_a_copy_that_this_process_has_locked_stays_locked(store: SQLiteStorage, copy: str) -> None:
    """Closing any descriptor of a file drops all locks that the process has on it."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as here:
        here.execute("BEGIN IMMEDIATE")
        restore(store, copy)
        assert in_child(is_locked, copy)
        here.execute("ROLLBACK")
        here.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LockTimeout, match="another SQLite program"):
            restore(store, copy)
        assert in_child(is_locked, copy)


def is_locked(path: str) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)
    return False


def test_times_stay_as_they_are_in_a_copy(store: SQLiteStorage, copy: str) -> None:
    restore(store, copy)
    assert {row[3] for row in raw_rows(store.path)} == {OLD_MS}
