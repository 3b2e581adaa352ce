"""Where a backup may be put, and what it never replaces."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.errors import NoStore, NotAStateFile
from lamson_sqlite_state.maintenance import ExistingStorage, backup
from lamson_sqlite_state.sqlite.copies import atomic_file
from tests.helpers.actors import Actor
from tests.helpers.bulk import beside, fill, raw_rows, senders


@pytest.fixture
def store(twenty: SQLiteStorage) -> SQLiteStorage:
    return twenty


class TestAFileThatIsThere:
    def test_stays_without_overwrite(self, store: SQLiteStorage, target: str) -> None:
        Path(target).write_text("mine")
        with pytest.raises(StorageError, match=r"there already: .*overwrite=True"):
            backup(store, target)
        assert Path(target).read_text() == "mine"
        assert beside(target) == ["copy"]

    def test_stays_where_it_comes_while_the_copy_is_made(
        self, store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Even after the last look."""
        monkeypatch.setattr(atomic_file, "refuse", lambda *_, **__: None)
        Path(target).write_text("mine")
        with pytest.raises(StorageError, match="there already"):
            backup(store, target)
        assert Path(target).read_text() == "mine"
        assert beside(target) == ["copy"]

    def test_is_replaced_with_overwrite(self, store: SQLiteStorage, target: str) -> None:
        Path(target).write_text("mine")
        backup(store, target, overwrite=True)
        assert raw_rows(target) == senders(20)

    def test_that_is_a_link_is_replaced_and_not_what_it_leads_to(
        self, store: SQLiteStorage, target: str, tmp_path: Path
    ) -> None:
        (tmp_path / "precious").write_text("mine")
        os.symlink(tmp_path / "precious", target)
        with pytest.raises(StorageError, match="there already"):
            backup(store, target)
        backup(store, target, overwrite=True)
        assert (tmp_path / "precious").read_text() == "mine"
        assert not os.path.islink(target)

    def test_that_is_a_link_to_nowhere_stays_without_overwrite(
        self, store: SQLiteStorage, target: str
    ) -> None:
        os.symlink("nowhere", target)
        with pytest.raises(StorageError, match="there already"):
            backup(store, target)
        assert os.readlink(target) == "nowhere"


class TestNeverReplaced:
    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock", ".versions"])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_is_what_belongs_to_the_store(
        self, store: SQLiteStorage, suffix: str, overwrite: bool
    ) -> None:
        before = os.stat(store.path + suffix).st_ino
        with pytest.raises(StorageError, match="belongs to the store itself"):
            backup(store, store.path + suffix, overwrite=overwrite)
        assert os.stat(store.path + suffix).st_ino == before

    @pytest.mark.parametrize(
        "suffix", ["-journal", ".rescue", ".rescue-journal", ".rescue-wal", ".versions.new"]
    )
    def test_is_what_would_be_taken_for_the_stores(self, store: SQLiteStorage, suffix: str) -> None:
        """SQLite would write it back, and the store delete it."""
        with pytest.raises(StorageError, match="belongs to the store itself"):
            backup(store, store.path + suffix)
        assert not os.path.exists(store.path + suffix)

    def test_is_a_link_to_a_database_in_use(self, store: SQLiteStorage, target: str) -> None:
        """Who comes later by its name would use another file than who has it open."""
        with Actor(f"{target}.live") as user:
            user.set("app", "ann", "A1")
            os.symlink(f"{target}.live", target)
            with pytest.raises(StorageError, match=r"copy\.live-wal .* a database in use"):
                backup(store, target, overwrite=True)
        assert os.path.islink(target)

    def test_is_the_store_by_another_name(self, store: SQLiteStorage, target: str) -> None:
        for link in (os.symlink, os.link):
            link(store.path, target)
            with pytest.raises(StorageError, match="belongs to the store itself"):
                backup(store, target, overwrite=True)
            os.unlink(target)

    def test_is_a_database_in_use(self, store: SQLiteStorage, target: str) -> None:
        with Actor(target) as user:
            user.set("app", "ann", "A1")
            with pytest.raises(StorageError, match="a database in use"):
                backup(store, target, overwrite=True)
            assert user.get("app", "ann") == "A1"

    def test_is_a_database_that_comes_into_use_meanwhile(
        self, store: SQLiteStorage, target: str
    ) -> None:
        fill(target, [])
        with Actor(target) as user:
            with pytest.raises(StorageError, match="a database in use"):
                backup(
                    store,
                    target,
                    overwrite=True,
                    progress=lambda *_: user.set("app", "ann", "A1") and None,
                )
            assert user.get("app", "ann") == "A1"

    def test_is_one_that_has_left_a_log(self, store: SQLiteStorage, target: str) -> None:
        """It would be replayed into the copy."""
        for suffix in ("-wal", "-journal"):
            Path(target + suffix).touch()
            with pytest.raises(StorageError, match="stands beside it"):
                backup(store, target)
            os.unlink(target + suffix)

    def test_is_a_directory(self, store: SQLiteStorage, tmp_path: Path) -> None:
        for directory in (tmp_path, f"{tmp_path}/"):
            with pytest.raises(StorageError, match="this is a directory"):
                backup(store, directory, overwrite=True)

    def test_is_a_pipe_or_a_device(self, store: SQLiteStorage, target: str, tmp_path: Path) -> None:
        """As root one could have a file in the place of /dev/null."""
        os.mkfifo(target)
        for path in (target, "/dev/null"):
            mode = os.stat(path).st_mode
            with pytest.raises(StorageError, match="no regular file"):
                backup(store, path, overwrite=True)
            assert os.stat(path).st_mode == mode
        assert stat.S_ISFIFO(os.stat(target).st_mode)


class TestOfNoStore:
    def test_makes_nothing(self, tmp_path: Path, target: str) -> None:
        missing = tmp_path / "missing" / "states"
        for kind in (SQLiteStorage, ExistingStorage):
            with pytest.raises(NoStore, match="missing"):
                backup(kind(missing), target)
        assert beside(target) == []
        assert not missing.parent.exists()

    def test_but_another_database_makes_nothing(self, tmp_path: Path, target: str) -> None:
        other = tmp_path / "other"
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE mine (x)")
        with pytest.raises(NotAStateFile, match="another application"):
            backup(ExistingStorage(other), target)
        assert beside(target) == []
        assert sorted(os.listdir(tmp_path)) == ["copies", "other"]
