"""A check's look into the database: whether SQLite finds it whole, and whether it is as made."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from ...command_line import command
from ..engine import schema
from ..engine.queries import all_rows, first_row, rows_unless_signalled
from ._finding import Finding, shown
from ._reader import Reader

_MOST_MESSAGES: Final = 10

_INTEGRITY_CHECK: Final = f"PRAGMA integrity_check({_MOST_MESSAGES})"

# What newer versions of SQLite say of values; the check of the rows says more of them.
_ABOUT_VALUES: Final = re.compile(r"(NULL|TEXT|NUMERIC|non-\S+) value in states\.")


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
        yield Finding("integrity", shown(problem), schema.remedy_for_damage(path), path)


def oddities(reader: Reader, path: str) -> Iterator[Finding]:
    """Find that a database is not marked as a store, or that others have put triggers into it.

    Args:
        reader: of the store.
        path: of the database.

    Raises:
        StorageError: the file cannot be read.
    """
    if reader.read(schema.is_unmarked):
        yield Finding(
            "schema",
            "it is not marked as a store: sqlite3's .dump leaves application_id and user_version "
            "out",
            f"mark it: {schema.mark(path)}",
            path,
        )
    objects = reader.read(partial(all_rows, sql=schema.OBJECTS))
    for trigger in [name for kind, name, _ in objects if kind == "trigger"]:
        quoted = '"' + trigger.replace('"', '""') + '"'
        yield Finding(
            "schema",
            f"there is a trigger {shown(trigger)}: of what it changes or prevents, the workers' "
            "caches do not learn",
            f"unless somebody needs it: {command('sqlite3', path, f'DROP TRIGGER {quoted}')}",
            path,
        )


def odd_table(reader: Reader, path: str) -> Iterator[Finding]:
    """Find that the table of states is otherwise than this package has made it.

    Its rows cannot be read page by page then: they may be in another order, or have other columns.

    Args:
        reader: of the store.
        path: of the database.

    Raises:
        StorageError: the file cannot be read.
    """
    objects = reader.read(partial(all_rows, sql=schema.OBJECTS))
    sql = next((sql for kind, name, sql in objects if (kind, name) == ("table", "states")), "")
    (encoding,) = reader.read(partial(first_row, sql="PRAGMA encoding"))
    if not schema.is_as_made(sql) or encoding != "UTF-8":
        yield Finding(
            "schema",
            "the table of states is not as it was made: "
            f"{shown(schema.plain(sql)) or 'there is none'}, in {shown(encoding)}",
            "restore a backup, or export the states, and import them into a new store",
            path,
        )
