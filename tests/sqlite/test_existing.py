"""A store that must be there already: nothing is made where it is not."""

import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.errors import NoStore, NotAStateFile, SchemaTooNew
from lamson_sqlite_state.maintenance import (
    ExistingStorage,
    Selection,
    backup,
    count_states,
    find,
    forget,
    observe,
    prune,
    rename_state,
    rows,
    summary,
)
from tests.helpers.actors import Actor
from tests.helpers.bulk import fill, senders
from tests.helpers.children import in_child
from tests.helpers.state_files import every_call, make_the_next_read_look

FUNCTIONS: list[Callable[[SQLiteStorage], object]] = [
    lambda store: list(rows(store)),
    lambda store: list(rows(store, order="since")),
    lambda store: find(store, "m", "ann"),
    lambda store: forget(store, "ann"),
    lambda store: rename_state(store, "m", "A1", "A2"),
    lambda store: prune(store, Selection()),
    lambda store: prune(store, Selection(sender="ann")),
    lambda store: count_states(store),
    lambda store: summary(store),
    lambda store: observe(store, 0),
    lambda store: backup(store, f"{store.path}.copy"),
]


def every_use(store: SQLiteStorage) -> list[Callable[[], object]]:
    """Return calls of all methods that read or write, and of all functions."""
    functions = [lambda each=each: each(store) for each in FUNCTIONS]
    return [*every_call(store), *functions]


def all_below(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return what there is, down to the bytes."""
    return {
        str(path): (path.lstat().st_ino, path.read_bytes() if path.is_file() else b"")
        for path in [directory, *directory.rglob("*")]
    }


def make_database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


NOTHING: dict[str, tuple[Callable[[Path], object], type[StorageError], str]] = {
    "missing": (lambda path: None, NoStore, "no such file, and none is made here"),
    "without its directory": (lambda path: path.parent.rmdir(), NoStore, "no such file"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), NoStore, "no such file"),
    "empty": (lambda path: path.touch(), NoStore, "this file is empty, and none is made here"),
    "a directory": (lambda path: path.mkdir(), NotAStateFile, "this is a directory"),
    "a text": (lambda path: path.write_text("text" * 999), NotAStateFile, "not an SQLite"),
    "an empty database": (
        lambda path: make_database(path, "PRAGMA user_version = 1", "PRAGMA user_version = 0"),
        NoStore,
        "an empty database",
    ),
    "an empty database with a log": (
        lambda path: make_database(path, "PRAGMA journal_mode = WAL"),
        NoStore,
        "an empty database",
    ),
    "of another application": (
        lambda path: make_database(path, "CREATE TABLE mine (x)"),
        NotAStateFile,
        "another application",
    ),
    "newer": (
        lambda path: make_database(
            path, f"PRAGMA application_id = {0x4C535353}", "PRAGMA user_version = 2"
        ),
        SchemaTooNew,
        "newer version",
    ),
}


class TestNoStore:
    @pytest.mark.parametrize("what", NOTHING)
    def test_is_an_error_of_every_call_and_function_and_nothing_is_made(
        self, tmp_path: Path, what: str
    ) -> None:
        directory = tmp_path / "run"
        directory.mkdir()
        path = directory / "states"
        make, kind, message = NOTHING[what]
        make(path)
        before, changed = all_below(tmp_path), tmp_path.stat().st_mtime_ns
        if directory.exists():
            changed = directory.stat().st_mtime_ns
        for call in every_use(ExistingStorage(path)):
            with pytest.raises(kind, match=message) as caught:
                call()
            assert str(caught.value).startswith(f"{os.path.realpath(path)}: ")
            assert all_below(tmp_path) == before
            if what != "an empty database with a log":  # of which SQLite opens the log
                last = directory if directory.exists() else tmp_path
                assert last.stat().st_mtime_ns == changed, "something came and went"

    def test_becomes_one_as_soon_as_somebody_makes_it(self, path: str) -> None:
        store = ExistingStorage(path)
        with pytest.raises(NoStore):
            store.get("m", "ann")
        with SQLiteStorage(path) as maker:
            maker.set("m", "ann", "A1")
        assert store.get("m", "ann") == "A1"
        store.close()


class TestAStoreThatIsThere:
    def test_is_one_as_any(self, path: str, first: Actor) -> None:
        first.set("m", "ann", "A1")
        with ExistingStorage(path) as store:
            assert store.get("m", "ann") == "A1"
            for call in every_use(store):
                call()
            store.set("m", "ann", "A3")
        assert first.get("m", "ann") == "A3"

    def test_may_be_a_copy_that_nobody_has_opened_yet(self, path: str) -> None:
        fill(path, senders(3))
        with ExistingStorage(path) as store:
            backup(store, f"{path}.copy")
        with ExistingStorage(f"{path}.copy") as copy:
            assert copy.get("app", "000001@example.com") == "OLD"
            copy.set("app", "000001@example.com", "NEW")

    def test_stays_one_through_pickling(self, path: str) -> None:
        store = pickle.loads(pickle.dumps(ExistingStorage(path, timeout=3)))
        assert type(store) is ExistingStorage
        assert store.timeout == 3
        with pytest.raises(NoStore):
            store.set("m", "ann", "A1")
        assert not os.path.exists(os.path.dirname(path))

    def test_stays_one_through_forks(self, path: str) -> None:
        fill(path, senders(3))
        with ExistingStorage(path) as store:
            store.get("app", "000001@example.com")
            in_child(store.set, "app", "000001@example.com", "CHILD")
            assert store.get("app", "000001@example.com") == "CHILD"
            os.unlink(path)

            def fail() -> bool:
                with pytest.raises(NoStore):
                    store.get("app", "000001@example.com")
                return os.path.exists(path)

            assert not in_child(fail)
            assert not fail()


class TestDeletedWhileInUse:
    @pytest.mark.parametrize("number", range(len(every_use(ExistingStorage("x")))))
    @pytest.mark.parametrize("has_written", [False, True])
    def test_is_an_error_and_not_made_anew(self, path: str, number: int, has_written: bool) -> None:
        fill(path, senders(3))
        with ExistingStorage(path) as store:
            store.get("app", "000001@example.com")
            if has_written:
                store.set("app", "000001@example.com", "NEW")
            os.unlink(path)
            make_the_next_read_look(store)
            for call in (every_use(store)[number], *every_call(store)):
                with pytest.raises(NoStore):
                    call()
                assert not os.path.exists(path)

    @pytest.mark.parametrize("has_written", [False, True])
    def test_with_its_directory_leaves_no_directory(self, path: str, has_written: bool) -> None:
        fill(path, senders(3))
        with ExistingStorage(path) as store:
            store.get("app", "000001@example.com")
            if has_written:
                store.set("app", "000001@example.com", "NEW")
            shutil.rmtree(os.path.dirname(path))
            make_the_next_read_look(store)
            for call in every_use(store):
                with pytest.raises(NoStore):
                    call()
                assert not os.path.exists(os.path.dirname(path))

    def test_is_used_again_when_it_is_restored(self, path: str) -> None:
        fill(path, senders(3))
        fill(f"{path}.other", senders(3, "OTHER"))
        with ExistingStorage(path) as store:
            store.get("app", "000001@example.com")
            os.unlink(path)
            make_the_next_read_look(store)
            with pytest.raises(NoStore):
                store.get("app", "000001@example.com")
            os.rename(f"{path}.other", path)
            assert store.get("app", "000001@example.com") == "OTHER"

    def test_is_left_for_the_one_that_takes_its_name(self, path: str) -> None:
        fill(path, senders(3))
        fill(f"{path}.other", senders(3, "OTHER"))
        with ExistingStorage(path) as store:
            store.get("app", "000001@example.com")
            os.rename(f"{path}.other", path)
            store.set("app", "000002@example.com", "NEW")
            assert store.get("app", "000001@example.com") == "OTHER"


def test_an_open_store_that_gets_a_second_name_is_still_written(path: str) -> None:
    """A snapshot by hard links, say, that is gone again when the store is next opened."""
    fill(path, senders(3))
    with ExistingStorage(path) as store:
        store.set("app", "000001@example.com", "NEW")
        os.link(path, f"{path}.2")
        store.set("app", "000001@example.com", "NEWER")
        os.unlink(f"{path}.2")
