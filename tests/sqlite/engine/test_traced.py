"""Functions of a tracing library, or of eventlet's, in the place of `sqlite3.connect` and of `os`.

OpenTelemetry, ddtrace, elastic-apm, New Relic and X-Ray wrap `sqlite3.connect`, whose connections
are no `sqlite3.Connection` then; eventlet's `monkey_patch` replaces functions of `os` by its own.
"""

import errno
import itertools
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import NotAStateFile, SQLiteStorage, StorageError
from lamson_sqlite_state.maintenance import backup, check, restore, summary
from lamson_sqlite_state.transfer import import_rows
from tests.helpers.actors import Actor
from tests.helpers.children import in_child
from tests.helpers.state_files import make_backup, make_the_next_read_look, states

# As a module of another name has them, through which every error comes.
LIBRARY = """
class Proxy:
    def __init__(self, real):
        object.__setattr__(self, "_real", real)
    def __getattr__(self, name):
        return getattr(self._real, name)
    def __setattr__(self, name, value):
        setattr(self._real, name, value)
    def execute(self, *arguments):
        return Proxy(self._real.execute(*arguments))
    def cursor(self, *arguments):
        return Proxy(self._real.cursor(*arguments))
def proxied(real):
    def connect(*arguments, **options):
        return Proxy(real(*arguments, **options))
    return connect
def passed_on(real):
    def call(*arguments, **options):
        return real(*arguments, **options)
    return call
"""

OF_OS = """
    access close fchmod fchown fstat fsync link listdir lstat makedirs mkdir open pread rename
    replace rmdir stat unlink write
""".split()


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    library: dict[str, Any] = {"__name__": "tracer"}
    exec(LIBRARY, library)
    for module in (sqlite3, sqlite3.dbapi2):
        monkeypatch.setattr(module, "connect", library["proxied"](sqlite3.dbapi2.connect))
    for name in OF_OS:
        monkeypatch.setattr(os, name, library["passed_on"](getattr(os, name)))


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path, timeout=5) as store:
        store.set("m", "ann", "A1")
        yield store


def test_everything_is_made_where_nothing_was(path: str) -> None:
    with SQLiteStorage(path) as store:
        assert store.get("m", "ann") == "START"
        store.set("m", "ann", "A1")
        assert store.set_all("ann", "A2") == 1
        assert store.compare_and_set("m", "ann", "A2", "A3")
    assert states(path) == {"ann": "A3"}


def test_another_program_that_holds_the_file_is_waited_for(store: SQLiteStorage) -> None:
    other = sqlite3.dbapi2.Connection(store.path, isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    naps = itertools.count()

    def nap(_seconds: float) -> None:
        if next(naps) == 3:
            other.execute("ROLLBACK")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", nap)
        store.set("m", "ann", "A2")
    other.close()
    assert next(naps) > 3
    assert states(store.path) == {"ann": "A2"}


@pytest.mark.parametrize("suffix", ["-wal", "-shm", ".lock", ".versions"])
def test_a_deleted_side_file_loses_nothing_though_the_process_is_killed(
    suffix: str, path: str
) -> None:
    def scene() -> None:
        store = SQLiteStorage(path)
        store.set("m", "ann", "A1")
        os.unlink(path + suffix)
        make_the_next_read_look(store)
        assert store.get("m", "ann") == "A1"
        store.set("m", "bob", "B1")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(AssertionError, match="SIGKILL"):
        in_child(scene)
    assert states(path) == {"ann": "A1", "bob": "B1"}


def test_a_deleted_directory_is_made_again(store: SQLiteStorage) -> None:
    directory = os.path.dirname(store.path)
    os.rename(directory, f"{directory}.old")
    store.set("m", "bob", "B1")
    make_the_next_read_look(store)
    assert store.get("m", "ann") == "START"
    assert states(store.path) == {"ann": "START", "bob": "B1"}


def test_a_replaced_database_is_noticed(store: SQLiteStorage) -> None:
    os.rename(make_backup(store.path, ann="B1"), store.path)
    make_the_next_read_look(store)
    assert store.get("m", "ann") == "B1"


def test_what_is_no_store_is_an_error_of_ours(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database\n" * 100)
    with pytest.raises(NotAStateFile):
        SQLiteStorage(text).get("m", "ann")
    with pytest.raises(NotAStateFile, match="directory"):
        SQLiteStorage(tmp_path).get("m", "ann")
    with pytest.raises(StorageError, match="not a directory"):
        SQLiteStorage(text / "states").get("m", "ann")


def test_no_descriptors_left_is_an_error_of_ours(
    store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, *_arguments: object, **_options: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(StorageError, match="ulimit"):
            store.set("m", "ann", "A2")
    store.set("m", "ann", "A2")


def test_a_copy_is_made_and_given_back(store: SQLiteStorage, target: str) -> None:
    assert backup(store, target).pairs == 1
    with pytest.raises(StorageError, match="there already"):
        backup(store, target)
    store.set("m", "ann", "A2")
    restore(store, target)
    assert store.get("m", "ann") == "A1"


def test_a_copy_is_made_where_a_file_has_one_name(
    store: SQLiteStorage, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, new: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), source, None, new)

    monkeypatch.setattr(os, "link", refuse)
    assert backup(store, target).pairs == 1
    assert states(target) == {"ann": "A1"}


def test_the_operators_functions_work(store: SQLiteStorage, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"module": "m", "sender": "bob", "state": "B1"}\n')
    with rows.open("rb") as file:
        assert import_rows(store, file).written == 1
    assert summary(store).pairs == 2
    assert check(store.path) == []
    store.close()
    assert check(store.path) == []


def test_others_are_not_kept_out(store: SQLiteStorage) -> None:
    with Actor(store.path, timeout=1) as other:
        other.set("m", "bob", "B1")
        store.set("m", "ann", "A2")
        assert other.get("m", "ann") == "A2"
