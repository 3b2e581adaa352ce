"""What a store has open, for tests that look at it or disturb it."""

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.engine.connections import Connection
from lamson_sqlite_state.sqlite.engine.open_database import OpenDatabase

__all__ = ["connection_of", "counters_of", "file_of"]


def file_of(store: SQLiteStorage) -> OpenDatabase:
    """Return the database file of a store that was used."""
    database = store._handle.database
    assert database is not None
    return database.file


def connection_of(store: SQLiteStorage) -> Connection:
    """Return the connection that a store has open."""
    connection = file_of(store).connection
    assert connection is not None
    return connection


def counters_of(store: SQLiteStorage) -> "memoryview[int]":
    """Return the counters that a store has mapped."""
    counters = file_of(store).versions.counters
    assert counters is not None
    return counters
