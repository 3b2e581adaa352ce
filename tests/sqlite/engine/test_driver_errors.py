"""What a driver's error means for the person who runs the mail server."""

import sqlite3
from contextlib import closing

import pytest

from lamson_sqlite_state import LockTimeout, NotAStateFile, SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.engine import schema
from lamson_sqlite_state.sqlite.engine.driver_errors import Busy, translated


def error_with(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_NAME"
    return error


@pytest.mark.parametrize(
    ("sqlite_code", "kind", "code", "message"),
    [
        (sqlite3.SQLITE_CORRUPT, NotAStateFile, "damaged", r"damaged .* restore a backup"),
        (sqlite3.SQLITE_CORRUPT_INDEX, NotAStateFile, "damaged", r"damaged .* restore a backup"),
        (sqlite3.SQLITE_NOTADB, NotAStateFile, "not-a-state-file", "not an SQLite database"),
        (sqlite3.SQLITE_FULL, StorageError, "disk-full", r"is full, nothing was written: free"),
        (sqlite3.SQLITE_READONLY, StorageError, "permission-denied", "nothing was: give this user"),
        (
            sqlite3.SQLITE_READONLY_DIRECTORY,
            StorageError,
            "permission-denied",
            "give this user write permission",
        ),
        (sqlite3.SQLITE_CANTOPEN, StorageError, "io-error", r"No such file|cannot be opened"),
        (
            sqlite3.SQLITE_IOERR_FSYNC,
            StorageError,
            "outcome-unknown",
            "whether the state was written is unknown",
        ),
        (sqlite3.SQLITE_IOERR_READ, StorageError, "outcome-unknown", r"SQLITE_NAME.*unknown"),
        (
            sqlite3.SQLITE_TOOBIG,
            StorageError,
            "sqlite-error",
            r"as SQLite says it \(SQLITE_NAME\): look at",
        ),
    ],
)
def test_each_kind_has_its_code_and_its_remedy(
    sqlite_code: int, kind: type[StorageError], code: str, message: str
) -> None:
    ours = translated(error_with(sqlite_code), "/run/states", is_writing=True)
    assert type(ours) is kind
    assert str(ours).startswith("/run/states: ")
    with pytest.raises(kind, match=message) as caught:
        raise ours
    assert caught.value.code == code


def test_a_database_that_can_be_opened_by_now_is_no_matter_of_permission(path: str) -> None:
    """Another thread may have given back the descriptor that was missing."""
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A")
    error = translated(error_with(sqlite3.SQLITE_CANTOPEN), path, is_writing=True)
    assert "could not be opened, but can be now: try again" in str(error)
    assert "ulimit -n" in str(error)


def test_failed_reading_leaves_no_doubt_about_writing() -> None:
    ours = translated(error_with(sqlite3.SQLITE_IOERR_READ), "/run/states", is_writing=False)
    assert "nothing was written" in str(ours)
    assert isinstance(ours, StorageError)
    assert ours.code == "io-error"


@pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY])
def test_busy_is_no_error_but_tried_again(code: int) -> None:
    answer = translated(error_with(code), "/run/states", is_writing=True)
    assert isinstance(answer, Busy)
    assert answer.grace_seconds == 0


def test_database_that_can_have_no_log_is_refused() -> None:
    """SQLite answers with another journal mode where it cannot share memory, and goes on."""
    with closing(sqlite3.connect(":memory:")) as connection:
        with pytest.raises(StorageError, match="cannot keep a write-ahead log") as caught:
            schema.create(connection, "/run/states")
        assert caught.value.path == "/run/states"


def test_timeout_is_no_os_error_with_a_number() -> None:
    assert LockTimeout("busy", "wait", "/run/states").errno is None
