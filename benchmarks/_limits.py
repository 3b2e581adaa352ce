"""What no way to do it could be quicker than: one thing that each operation cannot do without.

Python's calls count, as what is compared is called from Python too.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

from ._files import Pair
from ._measure import Physical, timed

__all__ = ["dict_look_up", "driver_call", "log_frame"]

# SQLite's log: one page of 4096 bytes with a header of 24 for each changed page, and after
# 1000 pages it starts again at the front (https://www.sqlite.org/fileformat2.html#walformat).
_FRAME: Final = bytes(4096 + 24)
_FRAMES: Final = 1_000


def dict_look_up(pairs: Sequence[Pair]) -> Physical:
    """A dict that has the pairs as they are."""
    states = dict.fromkeys(pairs, "POSTING")

    def work() -> None:
        for module, sender in pairs:
            states[module, sender]

    return Physical("dict look-up", lambda: timed(work, len(pairs)))


@contextmanager
def driver_call(calls: int) -> Iterator[Physical]:
    """The least that a question to SQLite costs: one that needs no table and no file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:

        def work() -> None:
            for _ in range(calls):
                connection.execute("SELECT 1").fetchone()

        yield Physical("SELECT 1", lambda: timed(work, calls))


@contextmanager
def log_frame(directory: str, calls: int, *, synced: bool) -> Iterator[Physical]:
    """What a commit must do: take the lock of all processes, write one frame, perhaps sync it.

    The file has its size already, as SQLite's log mostly has.
    """
    path = os.path.join(directory, "log-frames")
    log = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(log, _FRAME * _FRAMES, 0)
    os.fsync(log)

    def work() -> None:
        for number in range(calls):
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.pwrite(log, _FRAME, number % _FRAMES * len(_FRAME))
            if synced:
                os.fdatasync(log)
            fcntl.flock(lock, fcntl.LOCK_UN)

    try:
        name = "flock, write and fdatasync of a page" if synced else "flock and write of a page"
        yield Physical(name, lambda: timed(work, calls))
    finally:
        os.close(log)
        os.close(lock)
