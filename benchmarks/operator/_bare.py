"""The same work without the package: what one writes who has Python's sqlite3 and nothing else.

Nothing is imported that the work does not need, as it is measured from fork to exit.
"""

import ast
import csv
import io
import json
import os
import pickle
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from typing import IO, Any, Final, TypeAlias

__all__ = ["WORKS"]

Raw: TypeAlias = tuple[str, str, str, int]

_BATCH_ROWS: Final = 1_000
"""As many as the package changes at one instant."""

_TABLE: Final = (
    "CREATE TABLE states (module, sender, state TEXT NOT NULL, since INTEGER NOT NULL,"
    " PRIMARY KEY (sender, module)) WITHOUT ROWID"
)
_COUNTS: Final = (
    "SELECT module, state, count(*), min(since), max(since) FROM states GROUP BY module, state"
)
_SENDERS: Final = "SELECT count(DISTINCT sender) FROM states"
_ROWS: Final = "SELECT module, sender, state, since FROM states ORDER BY sender, module"
_NEWEST: Final = "SELECT * FROM states ORDER BY since, sender, module LIMIT 10"
_INSERT: Final = (
    "INSERT INTO states (sender, module, state, since) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (sender, module) DO "
)
_REPLACE: Final = (
    "UPDATE SET state = excluded.state, since = excluded.since"
    " WHERE state <> excluded.state OR since <> excluded.since"
)
_NAMES: Final = ("module", "sender", "state", "since")


def _summary(store: str) -> None:
    with closing(_connection(store)) as connection:
        connection.execute(_COUNTS).fetchall()
        connection.execute(_SENDERS).fetchall()


def _export_jsonl(store: str, target: str) -> None:
    with closing(_connection(store)) as connection, _synced(target) as file:
        for row in connection.execute(_ROWS):
            found = dict(zip(_NAMES, row, strict=True))
            file.write(json.dumps(found, ensure_ascii=False).encode() + b"\n")


def _export_csv(store: str, target: str) -> None:
    with closing(_connection(store)) as connection, _synced(target) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(_NAMES)
        writer.writerows(connection.execute(_ROWS))
        text.detach()


def _import_jsonl(store: str, source: str, conflict: str = "NOTHING") -> None:
    with open(source, "rb") as file:
        _insert(store, map(_of_object, map(json.loads, file)), conflict)


def _replace_jsonl(store: str, source: str) -> None:
    _import_jsonl(store, source, _REPLACE)


def _import_csv(store: str, source: str) -> None:
    with open(source, newline="", encoding="utf-8") as file:
        cells = csv.reader(file)
        next(cells)
        _insert(store, ((row[1], row[0], row[2], int(row[3])) for row in cells))


def _import_shelf(store: str, shelf: str) -> None:
    with closing(_connection(shelf)) as connection:
        _insert(store, map(_of_entry, connection.execute("SELECT key, value FROM Dict")))


def _newest(store: str) -> None:
    with closing(_connection(store)) as connection:
        connection.execute(_NEWEST).fetchall()


def _prune(store: str, module: str) -> None:
    with closing(_connection(store)) as connection:
        connection.execute("DELETE FROM states WHERE module = ?", (module,))


def _rename(store: str, module: str, old: str, new: str) -> None:
    sql = "UPDATE states SET state = ? WHERE module = ? AND state = ?"
    with closing(_connection(store)) as connection:
        connection.execute(sql, (new, module, old))


def _backup(store: str, target: str) -> None:
    with closing(_connection(store)) as connection, closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
    _check(target)


def _check(store: str) -> None:
    with closing(_connection(store)) as connection:
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise RuntimeError("it is damaged")


WORKS: Final[dict[str, Callable[..., None]]] = {
    "summary": _summary,
    "export jsonl": _export_jsonl,
    "export csv": _export_csv,
    "import jsonl": _import_jsonl,
    "replace jsonl": _replace_jsonl,
    "import csv": _import_csv,
    "import shelf": _import_shelf,
    "newest": _newest,
    "prune": _prune,
    "rename": _rename,
    "backup": _backup,
    "check": _check,
}
"""By name. Each takes paths."""


def _connection(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def _synced(target: str) -> Iterator[IO[bytes]]:
    # As the command's file, it is on the disk in the end.
    with open(target, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _insert(store: str, rows: Iterable[Raw], conflict: str = "NOTHING") -> None:
    is_new = not os.path.exists(store)
    with closing(_connection(store)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        if is_new:
            connection.execute(_TABLE)
        for batch in _batches(rows):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT + conflict, batch)
            connection.execute("COMMIT")


def _batches(rows: Iterable[Raw]) -> Iterator[list[Raw]]:
    rest = iter(rows)
    while batch := list(islice(rest, _BATCH_ROWS)):
        yield batch


def _of_object(found: dict[str, Any]) -> Raw:
    return found["sender"], found["module"], found["state"], found["since"]


def _of_entry(record: tuple[bytes, bytes]) -> Raw:
    module, sender = ast.literal_eval(record[0].decode())
    return sender, module, pickle.loads(record[1]), 0


if __name__ == "__main__":
    WORKS[sys.argv[1]](*sys.argv[2:])
