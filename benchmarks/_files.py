"""The files that are measured on: a store of 10,000 pairs, and bare connections to one."""

import os
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, Literal, NoReturn, TypeAlias

from lamson_sqlite_state import SQLiteStorage, _schema

__all__ = [
    "MODULE",
    "ROWS",
    "Synchronous",
    "bare_connection",
    "kept_open",
    "new_store",
    "sender_of",
]

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

MODULE: Final = "app.handlers.subscription"
ROWS: Final = 10_000


def new_store(path: str) -> str:
    """Make a store of 10,000 pairs, as every comparison starts from, and return its path."""
    with SQLiteStorage(path) as store:
        store.get(MODULE, sender_of(0))
        # One transaction, behind the store's back: 10,000 calls would take a while.
        with closing(bare_connection(path, "NORMAL")) as connection:
            connection.execute("BEGIN")
            connection.executemany(
                _schema.SET, ((sender_of(number), MODULE, "START", 0) for number in range(ROWS))
            )
            connection.execute("COMMIT")
    return path


def bare_connection(path: str, synchronous: Synchronous) -> sqlite3.Connection:
    """Return a connection with the settings that the package gives its own."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA journal_size_limit = 4194304").fetchone()
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


@contextmanager
def kept_open(*paths: str) -> Iterator[None]:
    """Have another process keep databases open, so that whoever comes finds their logs made."""
    ready, is_ready = os.pipe()
    until, finish = os.pipe()
    child = os.fork()
    if not child:
        _keep_open(paths, is_ready, until, inherited=(ready, finish))
    os.close(is_ready)
    os.close(until)
    try:
        if not os.read(ready, 1):
            raise RuntimeError("the process that keeps the databases open could not open them")
        yield
    finally:
        os.close(ready)
        os.close(finish)
        _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"the process that kept the databases open ended with {status}")


def _keep_open(
    paths: tuple[str, ...], is_ready: int, until: int, inherited: tuple[int, int]
) -> NoReturn:
    try:
        for descriptor in inherited:
            os.close(descriptor)
        connections = [sqlite3.connect(path) for path in paths]
        for connection in connections:
            connection.execute("SELECT count(*) FROM states").fetchone()
        os.write(is_ready, b"!")
        os.read(until, 1)  # until its other end is closed, also by the parent's death
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)


def sender_of(number: int) -> str:
    return f"user{number}@example.com"
