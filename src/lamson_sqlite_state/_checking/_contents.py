"""A check's look into the database: whether SQLite finds it whole, and whether it is as made."""

import re
import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from .. import _schema
from .._queries import all_rows, rows_unless_signalled
from ._finding import Finding, command, shown
from ._onlooker import Reader

__all__ = ["defects", "has_pages_in_order", "oddities"]

_MOST_MESSAGES: Final = 10

_INTEGRITY_CHECK: Final = f"PRAGMA integrity_check({_MOST_MESSAGES})"

# What newer versions of SQLite say of values; the check of the rows says more of them.
_ABOUT_VALUES: Final = re.compile(r"(NULL|TEXT|NUMERIC|non-\S+) value in states\.")

_COLUMNS: Final = "SELECT name, type, pk FROM pragma_table_info('states') ORDER BY cid"

# Table of the primary key's columns, in whose order rows can be read page by page.
_KEY: Final = [("sender", 1), ("module", 2)]

_HARM: Final = {
    "index": "every write has to keep it up to date",
    "table": "it is none of this package's",
    "trigger": "of what it changes or prevents, the workers' caches do not learn",
    "view": "it is none of this package's",
}


def defects(reader: Reader, path: str) -> Iterator[Finding]:
    """Find damage, as far as SQLite's own check sees it.

    It is one reading transaction, of 0.15 s for a million rows: nobody waits for it, but the log
    cannot start again before it ends.

    Args:
        reader: of the store.
        path: of the database.

    Raises:
        NotAStateFile: there is too much of it to check, or it is no store.
        StorageError: the file cannot be read.
    """
    found = reader.read(lambda connection: rows_unless_signalled(connection, _INTEGRITY_CHECK))
    messages = [" ".join(message.split()) for (message,) in found]
    messages = [m for m in messages if m != "ok" and not _ABOUT_VALUES.match(m)]
    if messages:
        count = f"{len(messages)} defects" if len(messages) > 1 else "a defect"
        if len(messages) == _MOST_MESSAGES:
            count = f"{_MOST_MESSAGES} defects or more"
        problem = f"the database is damaged, SQLite finds {count}: {messages[0]}"
        yield Finding("integrity", shown(problem), _schema.remedy_for_damage(path), path)


def oddities(reader: Reader, path: str) -> Iterator[Finding]:
    """Find what is otherwise in the database than this package has made it.

    Args:
        reader: of the store.
        path: of the database.

    Raises:
        StorageError: the file cannot be read.
    """
    (version,) = reader.read(partial(_row, sql="PRAGMA user_version"))
    if reader.read(_schema.is_unmarked):
        yield Finding(
            "schema",
            "it is not marked as a store: sqlite3's .dump leaves application_id and user_version "
            "out",
            f"mark it: {_schema.mark(path)}",
            path,
        )
    elif version != _schema.SCHEMA_VERSION:
        yield Finding(
            "schema",
            f"user_version is {version}, where this package writes {_schema.SCHEMA_VERSION}",
            _by_sql(path, f"PRAGMA user_version = {_schema.SCHEMA_VERSION}"),
            path,
        )
    (encoding,) = reader.read(partial(_row, sql="PRAGMA encoding"))
    if encoding != "UTF-8":
        yield Finding(
            "schema",
            f"texts are kept as {shown(encoding)}, where this package writes UTF-8",
            "export the states, and import them into a new store",
            path,
        )
    found = {
        name: (kind, sql) for kind, name, sql in reader.read(partial(all_rows, sql=_schema.OBJECTS))
    }
    kind, sql = found.pop("states", (None, ""))
    if kind != "table":
        yield Finding(
            "schema",
            "there is no table of states" if kind is None else f"the states are a {shown(kind)}",
            "restore a backup, or move the file away: the next worker makes a new one",
            path,
        )
    elif not _schema.is_as_made(sql):
        columns = reader.read(partial(all_rows, sql=_COLUMNS))
        listed = ", ".join(
            f"{name} {kind}".strip() + (" (key)" if pk else "") for name, kind, pk in columns
        )
        yield Finding(
            "schema",
            f"the table of states is not as it was made: {shown(listed)}; "
            f"{shown(_schema.plain(sql))}",
            "export the states, and import them into a new store",
            path,
        )
    for name, (kind, _) in found.items():
        quoted = '"' + name.replace('"', '""') + '"'
        yield Finding(
            "schema",
            f"there is a {shown(kind)} {shown(name)}: {_HARM.get(kind, 'it is not known here')}",
            f"unless somebody needs it: {_by_sql(path, f'DROP {kind.upper()} {quoted}')}",
            path,
        )


def has_pages_in_order(reader: Reader) -> bool:
    """Whether the rows can be read page by page in the order of their key, as UTF-8.

    Raises:
        StorageError: the file cannot be read.
    """
    columns = reader.read(partial(all_rows, sql=_COLUMNS))
    names = {name for name, _, _ in columns}
    key = sorted(((name, pk) for name, _, pk in columns if pk), key=lambda column: column[1])
    encoding = reader.read(partial(_row, sql="PRAGMA encoding"))
    return key == _KEY and names >= {"state", "since"} and encoding == ("UTF-8",)


def _row(connection: sqlite3.Connection, sql: str) -> tuple[Any]:
    row: tuple[Any] = _schema.first_row(connection, sql)
    return row


def _by_sql(path: str, sql: str) -> str:
    return command("sqlite3", path, sql)
