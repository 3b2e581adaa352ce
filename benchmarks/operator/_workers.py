"""Two workers of an application, and how long each of their writes took beside a command."""

import mmap
import os
import random
import time
import traceback
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Final, NoReturn

from lamson_sqlite_state import SQLiteStorage

from .._files import pair_of
from ._process import Ran

__all__ = ["BLOCKED_MS", "Sets", "beside_workers"]

BLOCKED_MS: Final = 50.0
"""No set is to take longer."""

_WORKERS: Final = 2
_PAUSE_SECONDS: Final = 0.002


@dataclass(frozen=True)
class Sets:
    """What both workers saw in one round.

    Args:
        count: how many sets they made.
        blocked: how many of these took longer than `BLOCKED_MS`.
        median_ms: of all.
        p99_ms: what 99 of 100 did not exceed.
        worst_ms: the longest.
    """

    count: int
    blocked: int
    median_ms: float
    p99_ms: float
    worst_ms: float


def beside_workers(path: str, rows: int, work: Callable[[], Ran]) -> Sets:
    """Do some work while both write to the store, and return the times of the sets beside it.

    Each writes to a random pair, at ``synchronous=FULL`` and with its cache, and pauses for 2 ms.

    Args:
        path: the store.
        rows: how many pairs it has.
        work: the command.

    Raises:
        RuntimeError: a worker failed; it has said why on standard error.
    """
    switch = mmap.mmap(-1, 1)  # shared with the children: whether to go on
    switch[0] = 1
    reports: list[FileIO] = []
    children: list[int] = []
    try:
        for seed in range(_WORKERS):
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.close(reading)
                _be_worker(path, rows, seed, switch, FileIO(writing, "w"))
            os.close(writing)
            reports.append(FileIO(reading, "r"))
            children.append(child)
        for report in reports:
            report.read(1)  # that it is at work, or is gone
        ran = work()
    finally:
        switch[0] = 0
        times = [array("d", report.readall()) for report in reports]
        for report in reports:
            report.close()
        statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise RuntimeError(f"workers ended with {statuses}")
    return _of(ran, times)


def _of(ran: Ran, times: list["array[float]"]) -> Sets:
    found = sorted(
        (end - start) * 1e3
        for each in times
        for start, end in zip(each[::2], each[1::2], strict=True)
        if end > ran.start and start < ran.end
    )
    if not found:
        raise RuntimeError("no worker has written while the command ran")
    last = len(found) - 1
    blocked = sum(1 for ms in found if ms > BLOCKED_MS)
    return Sets(len(found), blocked, found[last // 2], found[round(last * 0.99)], found[last])


def _be_worker(path: str, rows: int, seed: int, switch: mmap.mmap, report: FileIO) -> NoReturn:
    try:
        chosen = random.Random(seed)
        times = array("d")
        store = SQLiteStorage(path, synchronous="FULL")
        store.set(*pair_of(seed), "READY")
        report.write(b"!")
        while switch[0]:
            time.sleep(_PAUSE_SECONDS)
            module, sender = pair_of(chosen.randrange(rows))
            state = f"STATE_{len(times)}"
            start = time.perf_counter()
            store.set(module, sender, state)
            times.append(start)
            times.append(time.perf_counter())
        store.close()
        # Buffered, as a pipe takes in less than this at a time.
        with open(report.fileno(), "wb", closefd=False) as file:
            file.write(times.tobytes())
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)
