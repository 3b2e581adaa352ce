"""Eight processes that write to one file: how long one waits, and whether each gets its turn."""

import itertools
import os
import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Final, NoReturn, TypeAlias

from filelock import FileLock

from lamson_sqlite_state import SQLiteStorage, _schema

from ._files import MODULE, bare_connection, sender_of

__all__ = ["PROCESSES", "Waiting", "contend", "file_lock_writer", "store_writer"]

PROCESSES: Final = 8

_PAUSE_SECONDS: Final = 0.002
_TIMEOUT_SECONDS: Final = 30.0

Write: TypeAlias = Callable[[str], None]
"""Gives the process's own pair a state."""

Opener: TypeAlias = Callable[[str, int], Write]
"""Opens a file in the calling process, which has the given number."""


@dataclass(frozen=True)
class Waiting:
    """What all processes together saw in one round.

    Args:
        latencies: seconds of every single write, sorted.
        counts: how many writes each process made.
    """

    latencies: Sequence[float] = field(repr=False)
    counts: Sequence[int]

    def percentile_ms(self, percent: float) -> float:
        """Return the time that this share of the writes did not exceed; 100 is the worst."""
        last = len(self.latencies) - 1
        return self.latencies[round(last * percent / 100)] * 1e3

    @property
    def slowest_share(self) -> float:
        """Writes of the process that made fewest, as a share of the mean."""
        return min(self.counts) / (sum(self.counts) / len(self.counts))


def store_writer(path: str, number: int) -> Write:
    """Write through the package, waiting for a disk that has it."""
    store = SQLiteStorage(path, synchronous="FULL", timeout=_TIMEOUT_SECONDS)
    return lambda state: store.set(MODULE, sender_of(number), state)


def file_lock_writer(path: str, number: int) -> Write:
    """Write with bare sqlite3 under filelock's FileLock and its default polling."""
    connection = bare_connection(path, "FULL")
    lock = FileLock(path + ".lock", timeout=_TIMEOUT_SECONDS)

    def write(state: str) -> None:
        with lock:
            since = time.time_ns() // 1_000_000
            connection.execute(_schema.SET, (sender_of(number), MODULE, state, since))

    return write


def contend(path: str, opener: Opener, seconds: float) -> Waiting:
    """Let the processes write to one store at the same time, pausing 2 ms between writes.

    Raises:
        RuntimeError: a process failed; it has said why on standard error.
    """
    gate, opens_gate = _pipe()
    reports: list[FileIO] = []
    children: list[int] = []
    with opens_gate:
        for number in range(PROCESSES):
            report, reporting = _pipe()
            child = os.fork()
            if not child:
                # With a copy of the gate's other end here, no process would see it close.
                for inherited in (opens_gate, report, *reports):
                    inherited.close()
                _take_part(path, opener, number, seconds, gate, reporting)
            reporting.close()
            reports.append(report)
            children.append(child)
        gate.close()
        for report in reports:
            report.read(1)  # that one stands at the gate, or is gone
    latencies = [array("d", report.readall()) for report in reports]
    for report in reports:
        report.close()
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise RuntimeError(f"writers ended with {statuses}")
    return Waiting(
        sorted(itertools.chain.from_iterable(latencies)), [len(each) for each in latencies]
    )


def _pipe() -> tuple[FileIO, FileIO]:
    reader, writer = os.pipe()
    return FileIO(reader, "r"), FileIO(writer, "w")


def _take_part(
    path: str, opener: Opener, number: int, seconds: float, gate: FileIO, reporting: FileIO
) -> NoReturn:
    """Be one of the processes: stand at the gate, write, report each write's time, end."""
    try:
        write = opener(path, number)
        write("READY")
        reporting.write(b"!")
        gate.read(1)  # returns when it is closed
        # Buffered, as a pipe takes in less than this at a time.
        with open(reporting.fileno(), "wb", closefd=False) as report:
            report.write(_write_until(time.monotonic() + seconds, write).tobytes())
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)


def _write_until(deadline: float, write: Write) -> "array[float]":
    latencies = array("d")
    while time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
        start = time.perf_counter()
        write(f"STATE_{len(latencies)}")
        latencies.append(time.perf_counter() - start)
    return latencies
