"""Looks for damage in the database, and for tables or triggers that no store has made.

Each raises `StorageError` where the file cannot be read.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from ...command_line import command
from ..bulk.long_query import rows_unless_signalled
from ..engine import schema
from ..engine.queries import all_rows, first_row
from ._look import Finding, Target, shown

_MOST_MESSAGES: Final = 10

_INTEGRITY_CHECK: Final = f"PRAGMA integrity_check({_MOST_MESSAGES})"

# Newer versions of SQLite complain about values, too. `_rows` says more of those.
_ABOUT_VALUES: Final = re.compile(r"(NULL|TEXT|NUMERIC|non-\S+) value in states\.")


def defects(target: Target) -> Iterator[Finding]:
    """Find damage, as far as SQLite's own check sees it.

    The check is one reading transaction, of 0.15 s for a million rows. Nobody waits for it, but the
    log cannot start again before it ends.

    Raises:
        NotAStateFile: there is too much damage to check, or this is no store.
    """
    found = target.reader.read(
        lambda connection: rows_unless_signalled(connection, _INTEGRITY_CHECK)
    )
    messages = [" ".join(message.split()) for (message,) in found]
    messages = [m for m in messages if m != "ok" and not _ABOUT_VALUES.match(m)]
    if messages:
        count = f"{len(messages)} defects" if len(messages) > 1 else "a defect"
        if len(messages) == _MOST_MESSAGES:
            count = f"{_MOST_MESSAGES} defects or more"
        problem = f"the database is damaged, SQLite finds {count}: {messages[0]}"
        remedy = schema.remedy_for_damage(target.path)
        yield Finding("integrity", shown(problem), remedy, target.path)


def unmarked(target: Target) -> Iterator[Finding]:
    """Find that the database is not marked as a store."""
    if target.reader.read(schema.is_unmarked):
        yield Finding(
            "schema",
            "it is not marked as a store: sqlite3's .dump leaves application_id and user_version "
            "out",
            f"mark it: {schema.mark(target.path)}",
            target.path,
        )


def triggers(target: Target) -> Iterator[Finding]:
    """Find triggers: this package makes none."""
    for trigger in [name for kind, name, _ in _objects(target) if kind == "trigger"]:
        quoted = '"' + trigger.replace('"', '""') + '"'
        drop = command("sqlite3", target.path, f"DROP TRIGGER {quoted}")
        yield Finding(
            "schema",
            f"there is a trigger {shown(trigger)}: the caches of the workers do not learn of the "
            "changes that it makes or prevents",
            f"unless somebody needs it: {drop}",
            target.path,
        )


def odd_table(target: Target) -> Iterator[Finding]:
    """Find that the table of states is not as this package makes it.

    Its rows cannot be read page by page then, because they may be in another order or have other
    columns.
    """
    tables = {name: sql for kind, name, sql in _objects(target) if kind == "table"}
    sql = tables.get("states", "")
    (encoding,) = target.reader.read(partial(first_row, sql="PRAGMA encoding"))
    if not schema.is_as_made(sql) or encoding != "UTF-8":
        yield Finding(
            "schema",
            "the table of states is not as it was made: "
            f"{shown(schema.plain(sql)) or 'there is none'}, in {shown(encoding)}",
            "restore a backup, or export the states, and import them into a new store",
            target.path,
        )


def _objects(target: Target) -> list[Any]:
    return target.reader.read(partial(all_rows, sql=schema.OBJECTS))
