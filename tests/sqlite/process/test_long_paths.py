"""A path or a name that SQLite or the file system could not open is refused before all else."""

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError, maintenance
from lamson_sqlite_state.sqlite.check import check
from lamson_sqlite_state.sqlite.process import filesystem
from tests.helpers.state_files import every_call, states

MOST_PATH_BYTES = 504 - len(".rescue")
TOO_LONG = r"the (?:path|file name) is too long \((\d+) of at most (\d+) bytes\)"


def path_of(size_bytes: int, above: Path) -> str:
    """Return a path of that many bytes, in directories that are missing."""
    path = str(above)
    while size_bytes - len(path) > 120:
        path += "/" + "d" * 50
    return path + "/" + "s" * (size_bytes - len(path) - 1)


def refused(call: Callable[[], object]) -> tuple[int, int]:
    """Return how long the path is, and how long it may be."""
    with pytest.raises(StorageError) as caught:
        call()
    found = re.fullmatch(TOO_LONG, caught.value.problem)
    assert found, caught.value
    assert caught.value.remedy == "give a shorter one"
    assert caught.value.code == "path-too-long"
    return int(found[1]), int(found[2])


def test_limit_is_sqlites(tmp_path: Path) -> None:
    for size_bytes, opens in ((504, True), (505, False)):
        path = path_of(size_bytes, tmp_path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with closing(sqlite3.Connection(":memory:")) as connection:
            try:
                connection.execute("ATTACH ? AS other", (path,))
                connection.execute("CREATE TABLE other.t (a)")
            except sqlite3.OperationalError:
                assert not opens
            else:
                assert opens


@pytest.mark.parametrize("size_bytes", [MOST_PATH_BYTES + 1, 520, 3000])
def test_longer_path_is_refused_by_every_call_and_nothing_is_left(
    size_bytes: int, tmp_path: Path
) -> None:
    store = SQLiteStorage(path_of(size_bytes, tmp_path))
    for call in every_call(store):
        assert refused(call) == (size_bytes, MOST_PATH_BYTES)
    store.close()
    assert os.listdir(tmp_path) == []


def test_longest_path_is_a_store_in_which_all_can_be_mended(tmp_path: Path) -> None:
    path = path_of(MOST_PATH_BYTES, tmp_path)
    with SQLiteStorage(path) as store:
        for suffix in ("-wal", "-shm", ".lock", ".versions"):
            store.set("m", "ann", "A1")
            os.unlink(path + suffix)
            store.set("m", "ann", f"without {suffix}")
    assert states(path) == {"ann": "without .versions"}
    assert check(path) == []


@pytest.mark.parametrize("letter", ["s", "ä"])
def test_longer_name_than_its_side_files_may_have_is_refused(letter: str, tmp_path: Path) -> None:
    most = os.statvfs(tmp_path).f_namemax - len(".rescue-journal")
    count = most // len(letter.encode())
    for name in (letter * count + "s" * 2, letter * (count + 4)):
        size_bytes = len(name.encode())
        for call in every_call(SQLiteStorage(tmp_path / "run" / name)):
            assert refused(call) == (size_bytes, most)
    assert os.listdir(tmp_path) == []
    path = str(tmp_path / (letter * count))
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        os.unlink(f"{path}-wal")
        store.set("m", "ann", "A2")
    assert states(path) == {"ann": "A2"}


def test_name_of_a_directory_that_is_too_long_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"File name too long: give a shorter path"):
        SQLiteStorage(tmp_path / ("d" * 300) / "states").set("m", "ann", "A1")


def test_check_finds_it(tmp_path: Path) -> None:
    before = path_of(MOST_PATH_BYTES, tmp_path)
    with SQLiteStorage(before) as store:
        store.set("m", "ann", "A1")
    path = f"{before}..."
    os.rename(before, path)
    (finding,) = check(path)
    assert finding.subject == "SQLite"
    assert f": the path is too long ({len(path)} of at most 497 bytes" in finding.problem
    assert finding.remedy == "give a shorter one"


class TestBackup:
    def test_of_too_long_a_path_is_refused_and_nothing_is_left(
        self, path: str, tmp_path: Path
    ) -> None:
        target = path_of(490, tmp_path / "copies") + "/copy"
        os.makedirs(os.path.dirname(target))
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            for size_bytes in (494, 520):
                target = target[: target.rindex("/") + 1]
                target += "s" * (size_bytes - len(target))
                size, most = refused(lambda target=target: maintenance.backup(store, target))  # type: ignore[misc]
                assert size == size_bytes > most
            assert os.listdir(os.path.dirname(target)) == []

    def test_of_the_longest_path_is_made(self, path: str, tmp_path: Path) -> None:
        directory = os.path.dirname(path_of(400, tmp_path / "copies"))
        os.makedirs(directory)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            too_long = f"{directory}/{'s' * (520 - len(directory))}"
            _, most = refused(lambda: maintenance.backup(store, too_long))
            target = f"{directory}/{'s' * (most - len(directory) - 1)}"
            maintenance.backup(store, target)
        assert os.listdir(directory) == [os.path.basename(target)]
        assert states(target) == {"ann": "A1"}

    def test_of_too_long_a_name_is_refused(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            target = os.path.join(os.path.dirname(path), "s" * 256)
            assert refused(lambda: maintenance.backup(store, target)) == (256, 255)


def test_where_nobody_can_tell_names_are_as_long_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "statvfs", refuse)
    filesystem.refuse_long_path("/run/" + "s" * 240)
    with pytest.raises(StorageError, match="241 of at most 240 bytes"):
        filesystem.refuse_long_path("/run/" + "s" * 241)
