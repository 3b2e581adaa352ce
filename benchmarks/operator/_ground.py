"""The files that the commands are given: a store, copies of it, and what can be imported."""

import dbm.dumb
import json
import os
import pickle
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from .._files import new_store, pair_of, raw_row, scattered
from ._process import run_command

__all__ = ["Ground"]

_DUMB_ROWS: Final = 100_000
"""The most that a dbm.dumb is made of: to write one takes a hundred times what it takes to read."""


class Ground:
    """What all commands start from, made once.

    Args:
        directory: where to put it all.
        rows: of the store.

    Attributes:
        rows: the same.
        dumb_rows: how many entries the dbm.dumb has.
        store: with all rows. Nobody writes to it.
        jsonl: all rows, as exported, and so in their order.
        csv: likewise.
        scattered_jsonl: all rows, in no order, each with another `since`.
        earlier: a copy of the store in which every fourth row is another.
        shelf: of all rows, as dbm.sqlite3 would have written it.
        dumb: a dbm.dumb.
    """

    def __init__(self, directory: str, rows: int) -> None:
        os.makedirs(directory, exist_ok=True)
        self._directory = directory
        self._number = 0
        self.rows, self.dumb_rows = rows, min(rows, _DUMB_ROWS)
        self.store = new_store(self._path("store"), rows)
        self.jsonl, self.csv = self._path("rows.jsonl"), self._path("rows.csv")
        for target in (self.jsonl, self.csv):
            run_command(["--store", self.store, "export", target])
        self.scattered_jsonl = self._path("scattered.jsonl")
        _write_scattered(self.scattered_jsonl, rows)
        self.earlier = shutil.copy(self.store, self._path("earlier"))
        with closing(sqlite3.connect(self.earlier, isolation_level=None)) as connection:
            change = "UPDATE states SET state = 'EARLIER', since = since - 1 WHERE since % 4 = 0"
            connection.execute(change)
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()  # as a backup is
        self.shelf, self.dumb = self._path("shelf"), self._path("dumb")
        _write_shelf(self.shelf, rows)
        _write_dumb(self.dumb, self.dumb_rows)
        # What is still on its way to the disk would be paid for by whoever syncs next.
        os.sync()

    def copy(self) -> str:
        """Return the path of a copy of the store, which may be written to."""
        path = self.nothing()
        shutil.copyfile(self.store, path)
        _sync(path)
        return path

    def nothing(self) -> str:
        """Return a path at which there is nothing. What was at the last one is deleted."""
        for name in os.listdir(self._directory):
            if name.startswith("new-"):
                os.unlink(self._path(name))
        self._number += 1
        return self._path(f"new-{self._number}")

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _write_scattered(path: str, rows: int) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for sender, module, state, since in map(raw_row, scattered(rows)):
            row = {"module": module, "sender": sender, "state": state, "since": since + 1}
            file.write(json.dumps(row) + "\n")


def _write_shelf(path: str, rows: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO Dict VALUES (?, ?)", _entries(rows))
        connection.execute("COMMIT")


def _write_dumb(path: str, rows: int) -> None:
    with closing(dbm.dumb.open(path, "n")) as database:
        for key, value in _entries(rows):
            database[key] = value


def _entries(rows: int) -> Iterator[tuple[bytes, bytes]]:
    # As shelve does it, and the frameworks' keys.
    for number in scattered(rows):
        yield repr(list(pair_of(number))).encode(), pickle.dumps(raw_row(number)[2])


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
