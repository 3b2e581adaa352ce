"""Faults that other SQLite tools make: transactions held open, edits, VACUUM, checkpoints."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from typing import Final

from filelock import FileLock

from judges.history import new_value, state_of
from workers.caller import Pairs
from workers.setting import FIRST_TOOL
from workers.stage import Mishaps, Stage
from workers.worker import Worker

from ._fault import Fault, WritersWait

__all__ = ["Edits", "HeldLock", "Housekeeping", "OpenTransaction", "Restore"]

_BUSY_SECONDS: Final = 5.0

_UPSERT: Final = (
    "INSERT INTO states (sender, module, state, since) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (sender, module) DO UPDATE SET state = excluded.state, since = excluded.since"
)
_JOBS: Final = (
    "VACUUM",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA wal_checkpoint(RESTART)",
    "PRAGMA wal_checkpoint(PASSIVE)",
    "PRAGMA integrity_check",
    "ANALYZE",
)


_READER: Final = 101
"""A thread of the history that no other has."""


class _Tool(Fault):
    """A process that uses the file without this package."""

    is_alone = True

    def strikes(self, stage: Stage) -> Iterator[float]:
        # A process of its own: SQLite's connections must not cross the forks of this one.
        tool = stage.crew.fork("other tool", lambda _: self.run(stage), number=FIRST_TOOL)
        while tool.is_alive:
            yield 0.05
            stage.crew.poll()

    def run(self, stage: Stage) -> None:
        """Work with the file until the round is over."""
        with closing(
            sqlite3.connect(stage.path, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection:
            while not _is_over_after(stage, stage.between(0.01, 0.1)):
                self.use(connection, stage)

    def use(self, connection: sqlite3.Connection, stage: Stage) -> None:
        """Do once what it does."""


class OpenTransaction(_Tool, WritersWait):
    """A write transaction."""

    name = "open-transaction"
    about = "another SQLite tool holds a write transaction open for longer than the timeout"
    allows = "LockTimeout for those who want to write meanwhile; reading must go on"
    errors = (("LockTimeout", "holds a transaction"), ("LockTimeout", "another process holds"))
    timeout = 0.3

    def use(self, connection: sqlite3.Connection, stage: Stage) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with stage.log.struck(self.name, "transaction held open", writers_wait=True):
            time.sleep(self.timeout * stage.between(2.0, 3.0))
        connection.execute("ROLLBACK")


class HeldLock(WritersWait):
    """The lock file's lock, by another program."""

    name = "held-lock"
    about = "another program holds the write lock (filelock.FileLock) for longer than the timeout"
    allows = "LockTimeout for those who want to write meanwhile; reading must go on"
    errors = (("LockTimeout", "another process holds"),)
    is_alone = True
    timeout = 0.3

    def strikes(self, stage: Stage) -> Iterator[float]:
        holder = stage.crew.fork("other program", lambda _: self.hold(stage), number=FIRST_TOOL)
        while holder.is_alive:
            yield 0.05
            stage.crew.poll()

    def hold(self, stage: Stage) -> None:
        """Hold the lock again and again until the round is over."""
        lock = FileLock(stage.path + ".lock", poll_interval=0.001)
        while not _is_over_after(stage, stage.between(0.05, 0.2)):
            with lock, stage.log.struck(self.name, "lock held", writers_wait=True):
                time.sleep(self.timeout * stage.between(2.0, 3.0))


class Edits(_Tool):
    """Rows that are changed and deleted."""

    name = "edits"
    about = "another SQLite tool changes and deletes rows"
    allows = "reads may find what was there before for up to 10 ms after an edit"

    def inside(self, worker: Worker) -> AbstractContextManager[object]:
        # A pair that everybody writes to, everybody reads anew after the next write. So a part
        # of the edits goes to pairs that are only read.
        reader = worker.driver(_READER)
        quiet = self._quiet(worker.setting.pairs)
        return worker.thread(lambda: reader.read_on(quiet, pause_seconds=0.001))

    def _quiet(self, pairs: Pairs) -> range:
        # One whose keys are text: of others, nothing is kept that could be outdated.
        quiet = next(key for key in range(pairs.count - 1, 0, -1) if _is_text(pairs.columns(key)))
        return range(quiet - quiet % pairs.modules, quiet + 1)

    def run(self, stage: Stage) -> None:
        self._mishaps = Mishaps(stage.setting, FIRST_TOOL)
        self._value = new_value(FIRST_TOOL, 0, 1)
        super().run(stage)
        self._mishaps.close()

    def use(self, connection: sqlite3.Connection, stage: Stage) -> None:
        pairs = stage.setting.pairs
        shared = range(pairs.shared * pairs.modules)
        key = stage.random.choice(self._quiet(pairs) if stage.random.random() < 0.5 else shared)
        module, sender = pairs.columns(key)
        with stage.log.struck(self.name, "row edited"):
            begin_ns = time.monotonic_ns()
            if stage.random.random() < 0.8:
                state = state_of(self._value)
                self._value += 1
                row = sender, module, state, time.time_ns() // 1_000_000
                connection.execute(_UPSERT, row)
            else:
                state = None
                connection.execute(
                    "DELETE FROM states WHERE sender = ? AND module = ?", (sender, module)
                )
            self._mishaps.pair_became(key, state, begin_ns, time.monotonic_ns())


class Restore(_Tool):
    """SQLite's backup, into the file in use."""

    name = "restore"
    about = "a backup is written into the live database through SQLite, while workers use it"
    allows = "the states of the backup are back; reads may find what was there before for 10 ms"

    def run(self, stage: Stage) -> None:
        self._mishaps = Mishaps(stage.setting, FIRST_TOOL)
        with closing(sqlite3.connect(":memory:")) as self._memory:
            super().run(stage)
        self._mishaps.close()

    def use(self, connection: sqlite3.Connection, stage: Stage) -> None:
        connection.backup(self._memory)
        rows = self._memory.execute("SELECT module, sender, state FROM states").fetchall()
        states = {(module, sender): state for module, sender, state in rows}
        time.sleep(stage.between(0.02, 0.08))
        with stage.log.struck(self.name, "backup written into the live file"):
            begin_ns = time.monotonic_ns()
            self._memory.backup(connection)
            self._mishaps.became(states, begin_ns, time.monotonic_ns())


class Housekeeping(_Tool):
    """VACUUM, checkpoints."""

    name = "housekeeping"
    about = "another SQLite tool runs VACUUM, checkpoints of all kinds and integrity checks"
    allows = "while the tool reads, the log cannot be written back, and grows"
    log_factor = 2

    def use(self, connection: sqlite3.Connection, stage: Stage) -> None:
        sql = stage.random.choice(_JOBS)
        with stage.log.struck(self.name, sql) as event:
            try:
                connection.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                event["error"] = str(error)
                if "locked" not in str(error):
                    raise


def _is_text(columns: tuple[str | bytes, str | bytes]) -> bool:
    return all(isinstance(column, str) for column in columns)


def _is_over_after(stage: Stage, seconds: float) -> bool:
    time.sleep(seconds)
    return stage.is_over
