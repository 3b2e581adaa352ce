"""A backup that cannot be made, or is not whole: what was there before stays."""

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.errors import NotAStateFile
from lamson_sqlite_state.maintenance import ExistingStorage, backup
from lamson_sqlite_state.sqlite.copies import atomic_file
from lamson_sqlite_state.sqlite.copies import backup as _backup
from tests.helpers.bulk import beside, fill, raw_rows, senders
from tests.sqlite.engine.test_shortages import small_disk
from tests.sqlite.process.test_other_users import refuse


@pytest.fixture
def store(twenty: SQLiteStorage) -> SQLiteStorage:
    return twenty


def put_copy(target: str) -> None:
    fill(target, [("old", "m", "S", 1)])
    for suffix in (".lock", ".versions"):
        os.unlink(target + suffix)


class TestVerification:
    def test_refuses_a_copy_of_a_damaged_store(self, store: SQLiteStorage, target: str) -> None:
        """A page that nobody reads is copied as it is."""
        store.close()
        with closing(sqlite3.connect(store.path, isolation_level=None)) as tool:
            tool.execute("PRAGMA writable_schema = ON")
            tool.execute(
                "INSERT INTO sqlite_master"
                " VALUES ('table', 'lost', 'lost', 2, 'CREATE TABLE lost (x)')"
            )
        with pytest.raises(NotAStateFile, match="damaged"):
            backup(store, target)
        assert beside(target) == []

    def test_refuses_a_copy_with_another_number_of_pairs(
        self, store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = _backup._copy
        monkeypatch.setattr(_backup, "_copy", lambda *arguments: copy(*arguments) + 1)
        with pytest.raises(NotAStateFile, match="not as many"):
            backup(store, target)
        assert beside(target) == []


class TestShortOfRoom:
    def test_a_full_disk_leaves_what_was_there_and_no_remains(
        self, path: str, tmp_path: Path
    ) -> None:
        fill(path, senders(30_000))
        with ExistingStorage(path) as store, small_disk(tmp_path / "disk", "1m"):
            target = str(tmp_path / "disk" / "copy")
            put_copy(target)
            with pytest.raises(StorageError, match="disk is full") as caught:
                backup(store, target, overwrite=True)
            assert caught.value.path == target  # not the name that it did not come to have
            assert beside(target) == ["copy"]
            assert raw_rows(target) == [("old", "m", "S", 1)]
            assert store.get("app", "000000@example.com") == "OLD"

    @pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
    def test_a_file_system_without_links_has_the_copy_all_the_same(
        self, store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        monkeypatch.setattr(os, "link", refuse(code))
        backup(store, target)
        assert beside(target) == ["copy"]
        assert raw_rows(target) == senders(20)
        with pytest.raises(StorageError, match="there already"):
            backup(store, target)
        monkeypatch.setattr(atomic_file, "_rename_new", refuse(errno.EINVAL))
        with pytest.raises(StorageError, match=r"no way to name a file.*overwrite=True"):
            backup(store, f"{target}.2")
        assert beside(target) == ["copy"]
        backup(store, target, overwrite=True)

    def test_a_directory_that_cannot_be_written_is_an_error_in_one_line(
        self, store: SQLiteStorage, target: str
    ) -> None:
        for missing in (f"{target}/missing/copy", "/proc/copy"):
            with pytest.raises(StorageError) as caught:
                backup(store, missing)
            assert str(caught.value).startswith(f"{missing}: ")
