"""The files a store leaves: who may read them, what is in them, and what changes them."""

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.children import forked

APP, ANN, BOB = "app.handlers.lists", "ann@example.com", "bob@example.com"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(tmp_path / "states") as store:
        yield store


@pytest.fixture
def reader(store: SQLiteStorage) -> Iterator[sqlite3.Connection]:
    """Another SQLite program that looks at the file."""
    store.clear()
    with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
        yield connection


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids="umask {:03o}".format)
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("any_umask")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o666], ids="{:03o}".format)
def test_all_files_have_exactly_the_mode_asked_for(tmp_path: Path, mode: int) -> None:
    """Whatever the umask is: a group that is meant to share the store can, and nobody else."""
    with SQLiteStorage(tmp_path / "states", file_mode=mode) as store:
        store.set(APP, ANN, "POSTING")

        assert {
            path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()
        } == {f"states{suffix}": oct(mode) for suffix in ("", "-wal", "-shm", ".lock", ".versions")}


def test_two_that_close_at_one_instant_leave_the_log_to_the_next(store: SQLiteStorage) -> None:
    """Each asks once for SQLite's exclusive lock, which the shared lock of the other refuses."""

    def be_about_to_close(held: int, next_step: int) -> None:
        os.read(next_step, 1)
        descriptor = os.open(store.path, os.O_RDONLY)
        fcntl.lockf(descriptor, fcntl.LOCK_SH, 510, 0x4000_0002)  # os_unix.c: SHARED_FIRST
        os.write(held, b"x")
        os.read(next_step, 1)

    pipes = [*os.pipe(), *os.pipe()]
    is_held, held, next_step, step = pipes
    with forked(be_about_to_close, held, next_step) as other:
        store.set(APP, ANN, "POSTING")
        os.write(step, b"x")
        os.read(is_held, 1)
        store.close()
        left = set(os.listdir(os.path.dirname(store.path)))
        os.write(step, b"x")
        other.wait()
    for descriptor in pipes:
        os.close(descriptor)

    assert left >= {"states", "states-wal", "states-shm"}
    assert store.get(APP, ANN) == "POSTING"
    store.close()
    left = set(os.listdir(os.path.dirname(store.path)))
    assert left == {"states", "states.lock", "states.versions"}


def test_only_the_owner_can_read_the_files_by_default(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with SQLiteStorage(tmp_path / "states") as store:
            store.set(APP, ANN, "POSTING")
            assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o377], ids="umask {:03o}".format)
@pytest.mark.parametrize(
    ("mode", "directory_mode"),
    [(0o600, 0o700), (0o640, 0o750), (0o660, 0o770), (0o644, 0o755), (0o666, 0o777)],
    ids="{:03o}".format,
)
def test_new_directories_let_in_whom_the_files_are_for(
    umask: int, mode: int, directory_mode: int, tmp_path: Path
) -> None:
    """Another user who can write to one can exchange the database, and read the next one."""
    before = os.umask(umask)
    try:
        with SQLiteStorage(tmp_path / "var" / "run" / "states", file_mode=mode) as store:
            store.set(APP, ANN, "POSTING")
    finally:
        os.umask(before)
    for made in (tmp_path / "var", tmp_path / "var" / "run"):
        assert oct(stat.S_IMODE(made.stat().st_mode)) == oct(directory_mode)


def test_new_directories_hand_the_group_down(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    if not tmp_path.stat().st_mode & stat.S_ISGID:
        pytest.skip("this user is not in the group of the directory")
    with SQLiteStorage(tmp_path / "run" / "states", file_mode=0o660) as store:
        store.set(APP, ANN, "POSTING")
    assert oct(stat.S_IMODE((tmp_path / "run").stat().st_mode)) == "0o2770"


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    with SQLiteStorage(tmp_path / "states") as store:
        store.set(APP, ANN, "POSTING")
    assert oct(stat.S_IMODE(tmp_path.stat().st_mode)) == "0o711"


def test_an_existing_file_keeps_the_mode_that_its_owner_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "states"
    with SQLiteStorage(path) as store:
        store.set(APP, ANN, "POSTING")
    path.chmod(0o640)

    with SQLiteStorage(path) as store:
        store.set(APP, ANN, "CONFIRMING")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


class TestLayout:
    def test_the_table_is_what_the_documentation_says(self, reader: sqlite3.Connection) -> None:
        tables = reader.execute("SELECT name, wr FROM pragma_table_list WHERE schema = 'main'")
        assert set(tables.fetchall()) == {("states", 1), ("sqlite_schema", 0)}

        columns = reader.execute(
            "SELECT name, type, \"notnull\", pk FROM pragma_table_info('states')"
        )
        assert columns.fetchall() == [
            ("module", "", 1, 2),
            ("sender", "", 1, 1),
            ("state", "TEXT", 1, 0),
            ("since", "INTEGER", 1, 0),
        ]

    @pytest.mark.parametrize(
        ("pragma", "value"),
        [
            ("application_id", 0x4C535353),
            ("user_version", 1),
            ("journal_mode", "wal"),
            ("integrity_check", "ok"),
        ],
    )
    def test_the_file_says_what_it_is(
        self, reader: sqlite3.Connection, pragma: str, value: object
    ) -> None:
        assert reader.execute(f"PRAGMA {pragma}").fetchone() == (value,)

    def test_the_states_of_one_sender_stand_side_by_side(self, reader: sqlite3.Connection) -> None:
        """set_all finds them by one descent and not by reading the whole table."""
        plan = reader.execute("EXPLAIN QUERY PLAN SELECT state FROM states WHERE sender = 'a'")
        assert "SEARCH states USING PRIMARY KEY (sender=?)" in plan.fetchone()

    def test_another_program_reads_the_states(
        self, store: SQLiteStorage, reader: sqlite3.Connection
    ) -> None:
        store.set(APP, ANN, "POSTING")

        row = reader.execute("SELECT module, sender, state, typeof(since) FROM states").fetchone()
        assert row == (APP, ANN, "POSTING", "integer")


class TestNothingIsWritten:
    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("get", (APP, ANN)),
            ("set", (APP, ANN, "POSTING")),
            ("set_all", (BOB, "POSTING")),
            ("compare_and_set", (APP, ANN, "START", "ERROR")),
            ("compare_and_set", (APP, ANN, "ERROR", "START")),
            ("compare_and_set", (APP, ANN, "POSTING", "POSTING")),
            ("compare_and_set", (APP, BOB, "START", "START")),
            ("compare_and_set", (APP, BOB, "POSTING", "START")),
        ],
    )
    def test_a_call_that_changes_no_state_writes_nothing(
        self,
        store: SQLiteStorage,
        reader: sqlite3.Connection,
        method: str,
        arguments: tuple[Any, ...],
    ) -> None:
        store.set(APP, ANN, "POSTING")
        before = self.everything(store, reader)

        getattr(store, method)(*arguments)

        assert self.everything(store, reader) == before

    def test_a_call_that_changes_a_state_is_seen_by_the_same_means(
        self, store: SQLiteStorage, reader: sqlite3.Connection
    ) -> None:
        store.set(APP, ANN, "POSTING")
        before = self.everything(store, reader)

        store.set(APP, ANN, "ERROR")

        assert all(
            was != is_ for was, is_ in zip(before, self.everything(store, reader), strict=True)
        )

    def everything(self, store: SQLiteStorage, reader: sqlite3.Connection) -> tuple[Any, ...]:
        (data_version,) = reader.execute("PRAGMA data_version").fetchone()
        found = reader.execute("SELECT * FROM states ORDER BY sender, module").fetchall()
        return data_version, os.stat(f"{store.path}-wal").st_size, found
