"""The table of a store and the SQL statements on it; tells whether a database is a store."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from ...command_line import command
from ...errors import NotAStateFile, SchemaTooNew, StorageError
from .queries import all_rows, first_row

APPLICATION_ID: Final = 0x4C535353  # "LSSS"
"""Marks a database as a store (https://www.sqlite.org/pragma.html#pragma_application_id)."""

SCHEMA_VERSION: Final = 1

# WITHOUT ROWID keeps the row in the tree of the key: a row takes 75 bytes, and a read descends one
# tree. The sender comes first, so that all states of one sender stand side by side for SET_ALL.
TABLE: Final = (
    "CREATE TABLE states ("
    " module,"
    " sender,"
    " state TEXT NOT NULL,"
    " since INTEGER NOT NULL,"
    " PRIMARY KEY (sender, module)"
    ") WITHOUT ROWID"
)
_MARKS: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_CREATE: Final = (TABLE, *_MARKS)

OBJECTS: Final = (
    "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " ORDER BY type, name"
)
"""All tables, indexes, views and triggers, except those that SQLite itself makes."""

# Each is one statement and so one transaction: a signal handler that re-enters the store on
# the same thread finds none of them half done.
SELECT_STATE: Final = "SELECT state FROM states WHERE sender = ? AND module = ?"
INSERT_START: Final = (
    "INSERT OR IGNORE INTO states (sender, module, state, since) VALUES (?, ?, 'START', ?)"
)
# `since` changes only with the state, and an unchanged state is not written at all.
SET: Final = (
    "INSERT INTO states (sender, module, state, since) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (sender, module)"
    " DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state <> excluded.state"
)
SET_ALL: Final = (
    "UPDATE states SET since = CASE state WHEN ? THEN since ELSE ? END, state = ? WHERE sender = ?"
)
COMPARE_AND_SET: Final = (
    "UPDATE states SET state = ?, since = ? WHERE sender = ? AND module = ? AND state = ?"
)
COMPARE_AND_SET_FROM_START: Final = (
    "INSERT INTO states (sender, module, state, since) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (sender, module)"
    " DO UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state = 'START'"
)
CLEAR: Final = "DELETE FROM states"
FORGET: Final = "DELETE FROM states WHERE sender = ? AND module = ?"
FORGET_ALL: Final = "DELETE FROM states WHERE sender = ?"


def is_marked_as_store(connection: sqlite3.Connection) -> bool:
    """Whether any version of this package has made a store of this database."""
    return bool(first_row(connection, "PRAGMA application_id") == (APPLICATION_ID,))


def is_unmarked(connection: sqlite3.Connection) -> bool:
    """Whether this is a store but for the marks, which sqlite3's .dump leaves out."""
    found = all_rows(connection, OBJECTS)
    if len(found) != 1 or found[0][:2] != ("table", "states") or not is_as_made(found[0][2]):
        return False
    # The marks are asked for after the table: another process that makes the store at this moment
    # makes both at one instant.
    return first_row(connection, "PRAGMA application_id") == (0,) and first_row(
        connection, "PRAGMA user_version"
    ) in ((0,), (SCHEMA_VERSION,))


def is_as_made(sql: str) -> bool:
    """Whether a table's SQL is a store's. Tools that copy a table change quotes and spaces."""
    return plain(sql) == plain(TABLE)


def plain(sql: str) -> str:
    """Return SQL without quotes and superfluous spaces."""
    words = re.sub(r'["`\[\]]', "", sql)
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(words.split())).lower()


def mark(path: str) -> str:
    """Return a command that marks a database as a store."""
    return command("sqlite3", path, "; ".join(_MARKS))


def remedy_for_damage(path: str) -> str:
    """Return what to do about a damaged database."""
    return f"restore a backup, or make a store of what can be read: {salvage(path)}"


def salvage(path: str) -> str:
    """Return a shell command that makes a store of what can be read of a damaged one.

    Where .dump meets damage, it goes on from the other end, and ends with a ROLLBACK, which the
    command replaces. (.recover would find more, but needs sqlite_dbpage, without which Debian's
    sqlite3 is built.)
    """
    return (
        f"(umask 077; ({command('sqlite3', path, '.dump')} | sed 's/^ROLLBACK;.*/COMMIT;/'; "
        f"echo '{'; '.join(_MARKS)};') | {command('sqlite3', f'{path}.salvaged')})"
    )


def is_sound(connection: sqlite3.Connection, path: str) -> bool:
    """Whether this is a store that is ready to be used.

    False: the database is empty, or a store (a copy) that has yet to be switched to its log. In
    both cases `create` makes it ready.

    Raises:
        NotAStateFile: this is another application's database.
        SchemaTooNew: a newer version of this package has written the database.
    """
    (application_id,) = first_row(connection, "PRAGMA application_id")
    (version,) = first_row(connection, "PRAGMA user_version")
    if application_id == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"a newer version of lamson-sqlite-state has written it (schema {version}, "
                f"known here: {SCHEMA_VERSION})",
                "update the package",
                path,
            )
        return bool(first_row(connection, "PRAGMA journal_mode") == ("wal",))
    if application_id or version or first_row(connection, "SELECT 1 FROM sqlite_master LIMIT 1"):
        if is_marked_as_store(connection):
            return is_sound(connection, path)  # another process was just making it
        if is_unmarked(connection):
            raise NotAStateFile(
                "its table is a store's, but it is not marked as a store, as sqlite3's .dump "
                "leaves application_id and user_version out",
                f"mark it with {mark(path)}",
                path,
            )
        raise NotAStateFile("this is another application's database", "give another path", path)
    return False


def create(connection: sqlite3.Connection, path: str) -> None:
    """Make a store of an empty database, or switch a store (a copy) to its write-ahead log.

    Called with the write lock held, because two processes that switch one new file at the same time
    get "database is locked" at once, whatever their timeout. A crash leaves an empty database or a
    store, and nothing between the two.

    Raises:
        StorageError: SQLite cannot use a write-ahead log here.
    """
    if first_row(connection, "PRAGMA journal_mode = WAL") != ("wal",):
        raise StorageError(
            "SQLite cannot keep a write-ahead log here, as the file system has no shared memory",
            "put the store on a local disk",
            path,
            code="unsuitable-filesystem",
        )
    if is_sound(connection, path):
        return
    # On an error the caller closes the connection, which rolls back.
    connection.execute("BEGIN IMMEDIATE")
    for statement in _CREATE:
        connection.execute(statement)
    connection.execute("COMMIT")
