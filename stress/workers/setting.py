"""What everybody who takes part in a round knows: where, on which pairs, until when."""

import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from lamson_sqlite_state import SQLiteStorage

from .caller import Pairs

__all__ = ["AUDITOR", "FIRST_MISHAP", "FIRST_TOOL", "GRANDCHILDREN", "Board", "Setting"]

GRANDCHILDREN: Final = 10_000
"""Added to the process id of a worker's child, which makes its number in the history."""

AUDITOR: Final = 800_000
"""The number of whoever reads the file with plain sqlite3 when all is over."""

FIRST_TOOL: Final = 900_000
"""Processes numbered from here on are other SQLite tools, whose edits are seen within 10 ms."""

FIRST_MISHAP: Final = 950_000
"""Numbers from here on are no process: what a mishap with the files did to the states."""

_SLOTS: Final = 1024
_WORD_BYTES: Final = 8
_BOARD_BYTES: Final = (2 + _SLOTS) * _WORD_BYTES


@dataclass(frozen=True)
class Setting:
    """One round, as every process that takes part in it sees it.

    Args:
        directory: of the records.
        path: the state file.
        seed: of all choices; who is faster is never the same twice.
        pairs: that are used.
        threads: in each worker.
        timeout: of the store, in seconds.
        synchronous: of the store.
        until: when to end, by `time.monotonic`, which all processes of a host share.
        clear_share: how many of the calls are `clear`.
        clear_until: when there are none any more, by `time.monotonic`: at the end, the pairs are to
            have states that can be looked up.
    """

    directory: Path
    path: str
    seed: str
    pairs: Pairs
    threads: int
    timeout: float
    synchronous: Literal["FULL", "NORMAL"]
    until: float
    clear_share: float
    clear_until: float

    def new_store(self, **options: Any) -> SQLiteStorage:
        """Return a store on the file, of which nothing is open yet."""
        return SQLiteStorage(
            self.path, timeout=self.timeout, synchronous=self.synchronous, **options
        )


class Board:
    """What all processes of a round see in shared memory: whether it is over, and how far it got.

    The counts are for the eye only: two threads that share a slot may lose one.

    Args:
        path: of the file that is mapped. It is made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, _BOARD_BYTES)
            self._words = memoryview(mmap.mmap(descriptor, _BOARD_BYTES)).cast("Q")
        finally:
            os.close(descriptor)

    def is_over(self, until: float) -> bool:
        """Whether everybody is to end."""
        return bool(self._words[0]) or time.monotonic() >= until + self._words[1] / 1e9

    def extend(self, since: float) -> float:
        """Let the round end later by the time that has gone by since a moment; return it (s).

        Forking takes its time, which is not to be taken from the round.
        """
        self._words[1] = int((time.monotonic() - since) * 1e9)
        return self._words[1] / 1e9

    def end(self) -> None:
        """Have everybody end now."""
        self._words[0] = 1

    def count(self, process: int, thread: int) -> None:
        """Add one to the calls made so far."""
        self._words[2 + (process * 8 + thread) % _SLOTS] += 1

    def total(self) -> int:
        """Return how many calls there were so far."""
        return sum(self._words[2:])
