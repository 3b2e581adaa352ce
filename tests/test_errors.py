"""The error family: one base, its parts for programs, one line for people, fit to travel."""

import ast
import copy
import functools
import io
import os
import pickle
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import filelock
import pytest

import lamson_sqlite_state
from lamson_sqlite_state import (
    LockTimeout,
    SQLiteStorage,
    StorageError,
    errors,
    maintenance,
    transfer,
)
from lamson_sqlite_state.errors import Code
from lamson_sqlite_state.shelf import Shelf
from tests.helpers.children import in_child
from tests.helpers.shelf_files import write_dumb

SOURCE = Path(lamson_sqlite_state.__file__).parent

EVERY_ERROR = {
    kind
    for module in (lamson_sqlite_state, errors, maintenance, transfer)
    for name in module.__all__
    if isinstance(kind := getattr(module, name), type) and issubclass(kind, StorageError)
}

EVERY_CODE: set[Code] = set(get_args(Code))


def table() -> list[tuple[str, str]]:
    """Return the codes of the table in the documentation, and what was written at each."""
    assert errors.__doc__
    row = r"^    ([a-z-]+) +(nothing|before|unknown) +\w.*\.$"
    return re.findall(row, errors.__doc__, re.MULTILINE)


def source_of_all() -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCE.rglob("*.py"):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def attributes_in(node: ast.AST) -> set[str]:
    return {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}


def by_kind(kinds: set[type[StorageError]]) -> list[type[StorageError]]:
    return sorted(kinds, key=lambda kind: kind.__name__)


def test_there_are_as_many_kinds_as_the_documentation_says() -> None:
    public = {getattr(lamson_sqlite_state, name) for name in lamson_sqlite_state.__all__}
    assert len(EVERY_ERROR & public) == 6
    assert len(EVERY_ERROR) == 9


@pytest.mark.parametrize("kind", by_kind(EVERY_ERROR))
@pytest.mark.parametrize("code", [None, "disk-full"])
class TestEveryError:
    @pytest.fixture
    def make(self, kind: type[StorageError], code: Code | None) -> Callable[[], StorageError]:
        return functools.partial(kind, "it rained", "take an umbrella", "/run/states", code=code)

    def assert_same(self, kind: type[StorageError], code: Code | None, error: object) -> None:
        assert type(error) is kind
        assert isinstance(error, StorageError)
        assert str(error) == "/run/states: it rained: take an umbrella"
        assert (error.problem, error.remedy, error.path, error.code) == (
            *["it rained", "take an umbrella", "/run/states", code or kind.code],
        )

    def test_it_has_its_parts_and_tells_them_in_one_line(
        self, kind: type[StorageError], code: Code | None, make: Callable[[], StorageError]
    ) -> None:
        self.assert_same(kind, code, make())

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_comes_through_pickle_whole(
        self,
        kind: type[StorageError],
        code: Code | None,
        make: Callable[[], StorageError],
        protocol: int,
    ) -> None:
        self.assert_same(kind, code, pickle.loads(pickle.dumps(make(), protocol)))

    def test_it_comes_back_from_a_child_whole(
        self, kind: type[StorageError], code: Code | None, make: Callable[[], StorageError]
    ) -> None:
        self.assert_same(kind, code, in_child(make))

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_a_copy_is_whole(
        self,
        kind: type[StorageError],
        code: Code | None,
        make: Callable[[], StorageError],
        copied: Callable[[StorageError], object],
    ) -> None:
        self.assert_same(kind, code, copied(make()))

    def test_another_remedy_is_shown_and_travels(
        self, kind: type[StorageError], code: Code | None, make: Callable[[], StorageError]
    ) -> None:
        error = make()
        error.remedy = "stay inside"
        error = pickle.loads(pickle.dumps(error))
        assert (type(error), error.code) == (kind, code or kind.code)
        assert str(error) == "/run/states: it rained: stay inside"


def test_a_subclass_of_somebody_elses_travels_with_its_code() -> None:
    error = copy.copy(pickle.loads(pickle.dumps(_Flood("wet", "swim", "/run/states"))))
    assert (type(error), error.code, str(error)) == (_Flood, "disk-full", "/run/states: wet: swim")


class _Flood(LockTimeout):
    code: Code = "disk-full"


def test_a_lock_timeout_is_also_pythons_own() -> None:
    """So that code which knows nothing of this package can catch it; it has no errno."""
    error = LockTimeout("busy", "wait", "/run/states")

    assert isinstance(error, TimeoutError)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)


class TestEveryCode:
    def test_is_in_lower_case_with_hyphens(self) -> None:
        assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in EVERY_CODE)

    def test_is_documented_once_in_the_order_of_the_alphabet(self) -> None:
        assert [code for code, _ in table()] == sorted(EVERY_CODE)

    def test_says_what_was_written(self) -> None:
        assert [code for code, written in table() if written == "unknown"] == ["outcome-unknown"]

    def test_is_the_default_of_one_kind_at_most(self) -> None:
        defaults = [kind.code for kind in EVERY_ERROR]
        assert len(set(defaults)) == len(defaults)
        assert set(defaults) <= EVERY_CODE

    def test_is_used_somewhere(self) -> None:
        named = [node for _, tree in source_of_all() for node in ast.walk(tree)]
        texts = [
            *(each for node in named if isinstance(node, ast.Call) for each in node.args),
            *(node.value for node in named if isinstance(node, ast.keyword)),
            *(node.value for node in named if isinstance(node, ast.AnnAssign)),
        ]
        assert {each.value for each in texts if isinstance(each, ast.Constant)} >= EVERY_CODE

    def test_is_told_by_each_error_that_has_no_kind_of_its_own(self) -> None:
        for name, tree in source_of_all():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "StorageError":
                    codes = [each.value for each in node.keywords if each.arg == "code"]
                    assert len(codes) == 1, f"{name}:{node.lineno}"
                    assert ast.unparse(codes[0]) != "'storage-error'", f"{name}:{node.lineno}"


class TestWhatAProgramMeets:
    """The codes stay the same from release to release."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SQLiteStorage]:
        with SQLiteStorage(tmp_path / "run" / "states") as store:
            store.set("app", "ann", "A")
            yield store

    def assert_code(self, code: Code, call: Callable[..., object], *arguments: object) -> None:
        with pytest.raises(StorageError) as caught:
            call(*arguments)
        assert caught.value.code == code
        assert caught.value.problem
        assert caught.value.remedy

    def test_in_the_place_of_a_store(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text("text" * 200)
        self.assert_code("not-a-state-file", SQLiteStorage(file).get, "m", "ann")
        self.assert_code("not-a-state-file", SQLiteStorage(tmp_path).get, "m", "ann")
        missing = maintenance.ExistingStorage(tmp_path / "missing")
        self.assert_code("no-store", missing.get, "m", "ann")
        self.assert_code("path-too-long", SQLiteStorage(tmp_path / ("s" * 300)).get, "m", "ann")
        self.assert_code("wrong-file-type", SQLiteStorage(file / "states").get, "m", "ann")
        write_dumb(str(tmp_path / "shelf"), {b"['app', 'ann']": pickle.dumps("A")})
        self.assert_code("old-shelf", SQLiteStorage(tmp_path / "shelf").get, "m", "ann")
        self.assert_code("not-a-shelf", Shelf, file)

    def test_of_a_store_that_is_not_as_it_was(self, store: SQLiteStorage) -> None:
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("INSERT INTO states VALUES ('m', x'ff', 'A', 1)")
            connection.commit()
        self.assert_code("unreadable-row", list, maintenance.rows(store))
        store.close()
        os.link(store.path, f"{store.path}.2")
        self.assert_code("hard-links", store.get, "m", "ann")
        os.unlink(f"{store.path}.2")
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("PRAGMA user_version = 99")
        self.assert_code("schema-too-new", store.get, "m", "ann")

    def test_of_a_copy(self, store: SQLiteStorage, tmp_path: Path) -> None:
        backup, restore = maintenance.backup, maintenance.restore
        copy = backup(store, tmp_path / "copy").path
        self.assert_code("file-exists", backup, store, copy)
        self.assert_code("wrong-file-type", backup, store, tmp_path)
        self.assert_code("in-use", backup, store, f"{store.path}-wal")
        self.assert_code("in-use", restore, store, store.path)
        self.assert_code("no-store", restore, store, tmp_path / "missing")
        content = Path(copy).read_bytes()
        Path(copy).write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        self.assert_code("damaged", restore, store, copy)

    def test_of_a_file_to_be_imported(self, store: SQLiteStorage) -> None:
        self.assert_code("bad-row", transfer.import_rows, store, io.BytesIO(b"{}\n"))

    def test_of_others_who_write(self, store: SQLiteStorage) -> None:
        with (
            filelock.FileLock(f"{store.path}.lock"),
            SQLiteStorage(store.path, timeout=0) as other,
        ):
            self.assert_code("lock-timeout", other.set, "app", "ann", "B")


class TestTheText:
    def test_is_put_together_in_one_place(self) -> None:
        for name, tree in source_of_all():
            for node in ast.walk(tree):
                if name != "errors.py" and isinstance(node, ast.JoinedStr | ast.BinOp):
                    parts = attributes_in(node) & {"path", "problem", "remedy"}
                    assert "problem" not in parts or len(parts) == 1, f"{name}:{node.lineno}"

    def test_is_never_taken_apart(self) -> None:
        parsers = {"split", "rsplit", "partition", "rpartition"}
        for name, tree in source_of_all():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and attributes_in(node.func) & parsers:
                    texts = {each.value for each in node.args if isinstance(each, ast.Constant)}
                    assert not texts & {": ", ":"}, f"{name}:{node.lineno}"

    def test_of_the_library_names_no_option_of_a_command(self) -> None:
        for name, tree in source_of_all():
            if not name.startswith("cli/"):
                for node in ast.walk(tree):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        assert "--force" not in node.value, f"{name}:{node.lineno}"
