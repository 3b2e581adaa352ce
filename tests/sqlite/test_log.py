"""What the log tells an operator afterwards, and what it never holds."""

import logging
import os
from collections.abc import Iterator

import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from lamson_sqlite_state.sqlite.process import backoff
from tests.helpers.actors import Actor
from tests.helpers.cache_probes import hold_the_write_lock
from tests.helpers.state_files import make_the_next_read_look

ADDRESS = "ann@example.com"


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, "lamson_sqlite_state")
    yield
    assert ADDRESS not in caplog.text
    assert {record.name for record in caplog.records} <= {"lamson_sqlite_state"}


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_tells_of_a_store_that_was_made(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", ADDRESS, "A1")
    assert lines(caplog, logging.INFO) == [f"{path}: made ready as a store"]
    assert lines(caplog, logging.WARNING) == []


def test_is_silent_where_all_goes_well(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", ADDRESS, "A1")
    caplog.clear()
    with SQLiteStorage(path) as store:
        for state in ("A2", "A3"):
            store.set("m", ADDRESS, state)
            make_the_next_read_look(store)
            store.get("m", ADDRESS)
        store.clear()
    assert caplog.records == []


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_warns_of_a_lost_file_that_was_made_up_for(
    path: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", ADDRESS, "A1")
        os.unlink(path + suffix)
        store.set("m", ADDRESS, "A2")
    assert lines(caplog, logging.WARNING) == [
        f"{path}: a lost -wal or -shm was made up for by a whole copy"
    ]


def test_tells_of_a_database_that_was_deleted(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", ADDRESS, "A1")
        os.unlink(path)
        store.set("m", ADDRESS, "A2")
    assert f"{path}: the file was replaced or deleted, and is opened anew" in lines(
        caplog, logging.INFO
    )


def test_warns_of_a_long_wait_and_for_whom(
    path: str, first: Actor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "_LONG_SECONDS", 0.0)
    first.call(hold_the_write_lock)
    with SQLiteStorage(path, timeout=0) as store, pytest.raises(LockTimeout):
        store.set("m", ADDRESS, "A1")
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith(f"{path}: a call waited 0.0 s, because another process holds")
