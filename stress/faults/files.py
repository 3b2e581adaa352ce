"""Faults that befall files: deleted, truncated, replaced, restored under running workers."""

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final

from workers.setting import FIRST_MISHAP
from workers.stage import Mishaps, Stage

from ._fault import Fault

__all__ = [
    "DatabaseDeleted",
    "DatabaseReplaced",
    "DirectoryDeleted",
    "LockFile",
    "LogDeleted",
    "VersionsDeleted",
    "VersionsTruncated",
]

_BUSY_SECONDS: Final = 5.0


class LockFile(Fault):
    """The lock file."""

    name = "lock-file"
    about = "the lock file is deleted or truncated"
    is_alone = True  # who holds a deleted lock keeps nobody from another

    def strikes(self, stage: Stage) -> Iterator[float]:
        lock = stage.path + ".lock"
        while True:
            yield stage.between(0.01, 0.08)
            with suppress(FileNotFoundError):
                if stage.random.random() < 0.7:
                    with stage.log.struck(self.name, "lock file deleted"):
                        os.unlink(lock)
                else:
                    with stage.log.struck(self.name, "lock file truncated"):
                        os.truncate(lock, 0)


class VersionsDeleted(Fault):
    """The counters, deleted."""

    name = "versions-deleted"
    about = "the file with the version counters is deleted"
    allows = (
        "reads may find what was there before for up to 10 ms, as after any mishap with the files"
    )

    def strikes(self, stage: Stage) -> Iterator[float]:
        while True:
            yield stage.between(0.02, 0.1)
            with (
                suppress(FileNotFoundError),
                stage.log.struck(self.name, "counters deleted", is_mishap=True),
            ):
                os.unlink(stage.path + ".versions")


class VersionsTruncated(Fault):
    """The counters, truncated."""

    name = "versions-truncated"
    about = "the file with the version counters is truncated while it is mapped"
    allows = (
        "whoever reads a counter that is gone is killed by the kernel (SIGBUS); the call in which "
        "a process dies may or may not have happened; a truncated file stays mapped"
    )
    keeps_descriptors = True
    exit_codes = (-signal.SIGBUS,)
    debris = (".versions.new", "-wal", "-shm")
    is_alone = True
    with_parent = False

    def strikes(self, stage: Stage) -> Iterator[float]:
        while True:
            yield stage.between(0.05, 0.3)
            with (
                suppress(FileNotFoundError),
                stage.log.struck(self.name, "counters truncated", is_mishap=True),
            ):
                os.truncate(stage.path + ".versions", 0)
            yield 0.02
            while len(stage.crew.working()) < 4:
                stage.add_worker()


class LogDeleted(Fault):
    """SQLite's side files."""

    name = "log-deleted"
    about = "the write-ahead log, its index or both are deleted"
    allows = "reads may find what was there before for up to 10 ms"
    is_alone = True

    def strikes(self, stage: Stage) -> Iterator[float]:
        while True:
            yield stage.between(0.05, 0.2)
            endings = stage.random.choice([("-wal",), ("-shm",), ("-wal", "-shm")])
            with stage.log.struck(self.name, f"{' and '.join(endings)} deleted", is_mishap=True):
                for ending in endings:
                    with suppress(FileNotFoundError):
                        os.unlink(stage.path + ending)


class DatabaseDeleted(Fault):
    """The database."""

    name = "database-deleted"
    about = "the database is deleted"
    allows = (
        "all states are forgotten; calls that were under way may be lost with the file, and reads "
        "may find what was in it for up to 10 ms"
    )
    is_alone = True

    def strikes(self, stage: Stage) -> Iterator[float]:
        mishaps = Mishaps(stage.setting, FIRST_MISHAP)
        try:
            while True:
                yield stage.between(0.1, 0.3)
                with stage.log.struck(self.name, self.about, is_mishap=True):
                    begin_ns = time.monotonic_ns()
                    self.delete(stage)
                    mishaps.all_forgotten(begin_ns, time.monotonic_ns())
        finally:
            mishaps.close()

    def delete(self, stage: Stage) -> None:
        """Do it."""
        with suppress(FileNotFoundError):
            os.unlink(stage.path)


class DirectoryDeleted(DatabaseDeleted):
    """The whole directory."""

    name = "directory-deleted"
    about = "the directory is deleted with all that is in it, as by rm -r"

    def delete(self, stage: Stage) -> None:
        shutil.rmtree(Path(stage.path).parent, ignore_errors=True)


class DatabaseReplaced(Fault):
    """A backup takes the name."""

    name = "database-replaced"
    about = "a backup that was made a moment ago takes the place of the database, as by mv"
    allows = (
        "the states of the backup are back; calls that were under way may be lost with the old "
        "file, and reads may find what was in it for up to 10 ms"
    )
    is_alone = True

    def strikes(self, stage: Stage) -> Iterator[float]:
        mishaps = Mishaps(stage.setting, FIRST_MISHAP)
        try:
            while True:
                yield stage.between(0.1, 0.2)
                # Not beside the store, where it would be left if the round ends meanwhile.
                backup = str(stage.setting.directory / "backup")
                # In a process of its own: this one is about to fork with whatever is open.
                maker = stage.crew.fork("backup", partial(_back_up, stage.path, backup))
                while maker.is_alive:
                    yield 0.01
                    stage.crew.poll()
                yield stage.between(0.02, 0.1)
                states = _states_in(backup)
                with stage.log.struck(self.name, "backup moved into place", is_mishap=True):
                    begin_ns = time.monotonic_ns()
                    os.rename(backup, stage.path)
                    mishaps.became(states, begin_ns, time.monotonic_ns())
        finally:
            mishaps.close()


def _back_up(path: str, backup: str, _number: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(backup)
    with (
        closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as source,
        closing(sqlite3.connect(backup)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # so that it is one file


def _states_in(path: str) -> dict[tuple[str | bytes, str | bytes], str]:
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        rows = connection.execute("SELECT module, sender, state FROM states").fetchall()
    return {(module, sender): state for module, sender, state in rows}
