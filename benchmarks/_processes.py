"""Forked processes that start to write at the same moment, and report the time of each write."""

import os
import time
import traceback
from array import array
from collections.abc import Callable
from io import FileIO
from typing import NoReturn, Protocol, TypeAlias

from ._files import pair_of

__all__ = ["Opener", "latencies_of"]


class _Writable(Protocol):
    """What a writer needs: each peer of a comparison has that, and so has a store."""

    def set(self, module: str, sender: str, state: str, /) -> None: ...

    def close(self) -> None: ...


Opener: TypeAlias = Callable[[], _Writable]
"""Opens a peer's files, in the process that calls it."""


def latencies_of(
    opener: Opener, processes: int, seconds: float, pause_seconds: float
) -> list["array[float]"]:
    """Let so many processes write to one file, and return the seconds of every write of each.

    Args:
        opener: called in each process.
        processes: how many.
        seconds: how long they go on, once all are there.
        pause_seconds: of each process between two of its writes.

    Raises:
        RuntimeError: a process failed; it has said why on standard error.
    """
    gate, opens_gate = _pipe()
    reports: list[FileIO] = []
    children: list[int] = []
    with opens_gate:
        for number in range(processes):
            report, reporting = _pipe()
            child = os.fork()
            if not child:
                # With a copy of the gate's other end here, no process would see it close.
                for inherited in (opens_gate, report, *reports):
                    inherited.close()
                _take_part(opener, number, seconds, pause_seconds, gate, reporting)
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
    return latencies


def _pipe() -> tuple[FileIO, FileIO]:
    reader, writer = os.pipe()
    return FileIO(reader, "r"), FileIO(writer, "w")


def _take_part(
    opener: Opener,
    number: int,
    seconds: float,
    pause_seconds: float,
    gate: FileIO,
    reporting: FileIO,
) -> NoReturn:
    """Be one of the processes: stand at the gate, write, report each write's time, end."""
    try:
        peer = opener()
        module, sender = pair_of(number * 5)  # another sender than everybody else's
        peer.set(module, sender, "READY")
        reporting.write(b"!")
        gate.read(1)  # returns when it is closed
        latencies = array("d")
        deadline = time.monotonic() + seconds
        # At least one, or a process that never got its turn would not be seen.
        while not latencies or time.monotonic() < deadline:
            if pause_seconds:
                time.sleep(pause_seconds)
            start = time.perf_counter()
            peer.set(module, sender, f"STATE_{len(latencies)}")
            latencies.append(time.perf_counter() - start)
        # Buffered, as a pipe takes in less than this at a time.
        with open(reporting.fileno(), "wb", closefd=False) as report:
            report.write(latencies.tobytes())
        peer.close()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)
