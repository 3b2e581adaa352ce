"""A workload run under strace: all that it did to its directory, and what it knew to be done."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from .disk import Disk
from .histories import History
from .operations import Mark, Operation
from .strace_log import TRACED, UnknownCall, parse
from .workloads import STORE, WORKLOADS, histories_of

__all__ = [
    "Recording",
    "Unavailable",
    "WorkloadFailed",
    "record",
    "scratch_directory",
    "workload_command",
    "workload_environment",
]

_STRESS: Final = Path(__file__).parent.parent
_MAPPED: Final = (f"{STORE}-shm", f"{STORE}.versions", f"{STORE}.versions.new")
_SIGHTING_SECONDS: Final = 0.02
_TIMEOUT_SECONDS: Final = 50.0


class Unavailable(Exception):
    """Something that is not here is needed; it is named."""


class WorkloadFailed(Exception):
    """What was to be recorded raised; the message is its traceback."""


@dataclass(frozen=True)
class Recording:
    """What a workload did.

    Args:
        workload: its name.
        synchronous: what its stores were opened with.
        histories: the calls of each process.
        operations: what they did to the directory, and marks.
        sightings: what stood in the mapped files now and then, by path.
    """

    workload: str
    synchronous: Literal["FULL", "NORMAL"]
    histories: Sequence[History]
    operations: Sequence[Operation]
    sightings: Mapping[str, Sequence[bytes]]

    @property
    def acknowledgements(self) -> int:
        """How many calls returned."""
        return sum(
            isinstance(operation, Mark) and operation.text.startswith("acked")
            for operation in self.operations
        )


@contextmanager
def scratch_directory() -> Iterator[str]:
    """Yield a new directory, in memory if there is such a place, which is removed at the end."""
    memory = "/dev/shm"
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="powercut-", dir=where) as directory:
        yield os.path.realpath(directory)


def record(
    workload: str,
    synchronous: Literal["FULL", "NORMAL"],
    seed: int,
    sabotage: str | None = None,
) -> Recording:
    """Run a workload and return what it did.

    Args:
        workload: one of `WORKLOADS`.
        synchronous: of its stores.
        seed: of its choices.
        sabotage: "synchronous-off", or None.

    Raises:
        Unavailable: strace is missing, or may not trace.
        UnknownCall: the model does not know something that it did, or disagrees with the outcome.
        WorkloadFailed, subprocess.TimeoutExpired: the workload failed.
    """
    strace = _strace()
    with scratch_directory() as scratch:
        directory, marks, log = (os.path.join(scratch, each) for each in ("disk", "marks", "log"))
        os.mkdir(directory)
        Path(marks).touch()
        command = [
            *[strace, "-f", "-qq", "-y", "-xx", "-s", str(2**24), "-o", log],
            *["-e", f"trace={','.join('?' + call for call in TRACED)}"],
        ]
        with _sightings(directory) as sightings:
            ended = subprocess.run(
                [
                    *command,
                    *workload_command(workload, synchronous, seed, directory, marks, sabotage),
                ],
                cwd="/",
                env=workload_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_TIMEOUT_SECONDS,
            )
        if ended.returncode:
            raise WorkloadFailed(ended.stderr.strip())
        with open(log) as lines:
            operations = parse(lines, directory, marks)
        _compare(operations, directory)
    histories = histories_of(WORKLOADS[workload], seed)
    return Recording(workload, synchronous, histories, operations, sightings)


def workload_command(
    workload: str,
    synchronous: str,
    seed: int,
    directory: str,
    marks: str,
    sabotage: str | None,
) -> list[str]:
    """Return the command that runs a workload. Its stores are in a directory that exists."""
    command = [sys.executable, "-m", "powercuts.workloads"]
    return [*command, workload, synchronous, str(seed), directory, marks, sabotage or ""]


def workload_environment() -> dict[str, str]:
    """Return the environment of that command."""
    path = os.pathsep.join(filter(None, (str(_STRESS), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


@cache
def _strace() -> str:
    strace = shutil.which("strace")
    if strace is None:
        raise Unavailable("strace is missing, so nobody can see the system calls")
    run = subprocess.run(
        [strace, "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise Unavailable(f"strace may not trace here: {run.stderr.strip()}")
    return strace


@contextmanager
def _sightings(directory: str) -> Iterator[dict[str, list[bytes]]]:
    """Look into the mapped files now and then, from this process, where it disturbs no locks."""
    seen: dict[str, list[bytes]] = {}
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_SIGHTING_SECONDS):
            for name in _MAPPED:
                try:
                    content = Path(directory, name).read_bytes()
                except OSError:  # it comes and goes
                    continue
                if content and content not in seen.setdefault(name, [])[-8:]:
                    seen[name].append(content)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _compare(operations: Sequence[Operation], directory: str) -> None:
    """Raise UnknownCall unless the model of the operations ends as the directory has."""
    disk = Disk({})
    for operation in operations:
        disk.do(operation)
    model = disk.contents()
    real = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in Path(directory).rglob("*")
        if path.is_file()
    }
    if model.keys() != real.keys():
        raise UnknownCall(f"there are {sorted(real)}, but in the model {sorted(model)}")
    for path, content in real.items():
        if model[path] not in (None, content):
            raise UnknownCall(f"{path} holds something else than in the model")
