"""Real cuts: an ext4 file system on a loop device, shut down under processes that write to it.

EXT4_IOC_SHUTDOWN stops all input and output of a file system at one instant, as a power cut does:
what is not in the image by then never will be. Mounted again, it is read as after a cut.
"""

import ctypes
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Literal, TypeAlias

from .recording import Unavailable, scratch_directory, workload_command, workload_environment
from .verdicts import Progress, examine, loss
from .workloads import STORE, UNTIL_CUT, histories_of

__all__ = ["JOURNALS", "RealCut", "RealCuts", "cut_for_real"]

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

JOURNALS: Final = {"journal flushed": 1, "journal lost": 2}
"""What may become of the file system's journal, as EXT4_IOC_SHUTDOWN numbers it."""

# linux/ext4.h: _IOR('X', 125, __u32), which is given what becomes of the journal.
_EXT4_IOC_SHUTDOWN: Final = 0x8004587D

_IMAGE_BYTES: Final = 64 * 1024 * 1024
_TOOLS: Final = ("mkfs.ext4", "mount", "umount", "losetup")
_START_SECONDS: Final = 20.0
_END_SECONDS: Final = 10.0


@dataclass(frozen=True)
class RealCut:
    """What became of one cut.

    Args:
        synchronous: what the stores were opened with.
        journal: whether the file system's journal still was "flushed", or was "lost" too.
        calls: how many the processes had made.
        acknowledgements: how many of these had returned.
        losses: what was found to be wrong, a paragraph each.
        seconds: how long all of it took.
    """

    synchronous: Synchronous
    journal: str
    calls: int
    acknowledgements: int
    losses: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class RealCuts:
    """What became of all of them; ``skipped`` says what is missing here to make any."""

    seed: int
    processes: int
    cuts: Sequence[RealCut]
    skipped: str | None = None

    @property
    def losses(self) -> list[str]:
        """All losses, with where they were found."""
        return [
            f"ext4, {each.synchronous}, {each.journal}: {text}"
            for each in self.cuts
            for text in each.losses
        ]


def cut_for_real(
    seed: int,
    seconds: float,
    *,
    rounds: int = 8,
    levels: Sequence[Synchronous] = ("FULL", "NORMAL"),
    sabotage: str | None = None,
    tick: Callable[[str, float], None] = lambda _name, _done: None,
    done: list[RealCut] | None = None,
) -> RealCuts:
    """Shut a file system down under four processes that write, mount it again, and judge.

    Args:
        seed: of what is written, and of the moments of the cuts.
        seconds: no further round is begun after so long. The first is, always.
        rounds: how many cuts at most, in turn of each level and with each fate of the journal.
        levels: what the stores are opened with.
        sabotage: "synchronous-off", "normal-as-full" or None, as in `survey`.
        tick: is told how far it is.
        done: each cut is added to this list at once, so that it is not lost where a Ctrl-C ends
            the cuts.
    """
    start = time.monotonic()
    cuts = [] if done is None else done
    kinds = list(product(levels, JOURNALS))
    try:
        _refuse_unavailable()
        for number in range(rounds):
            if cuts and time.monotonic() - start > seconds:
                break
            level, journal = kinds[number % len(kinds)]
            tick(f"ext4, {level}, {journal}", number / rounds)
            cuts.append(_cut(level, journal, seed + number, sabotage))
    except Unavailable as error:
        return RealCuts(seed, UNTIL_CUT.processes, cuts, str(error))
    tick("ext4", 1.0)
    return RealCuts(seed, UNTIL_CUT.processes, cuts)


def _refuse_unavailable() -> None:
    if sys.platform != "linux":
        raise Unavailable("this is not Linux, where ext4 can be shut down")
    if os.geteuid():
        raise Unavailable("this user is not root, who may mount file systems")
    for tool in _TOOLS:
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is missing")


def _cut(level: Synchronous, journal: str, seed: int, sabotage: str | None) -> RealCut:
    start = time.monotonic()
    rng = random.Random(seed)
    histories = histories_of(UNTIL_CUT, seed)
    with scratch_directory() as scratch:
        image, mount_point, marks = (
            os.path.join(scratch, each) for each in ("image", "mounted", "marks")
        )
        os.mkdir(mount_point)
        Path(marks).touch()
        _make_file_system(image)
        with (
            _mounted(image, mount_point),
            _writing(
                workload_command(UNTIL_CUT.name, level, seed, mount_point, marks, sabotage)
            ) as writers,
        ):
            _wait_for_acknowledgements(marks, writers)
            time.sleep(rng.uniform(0, 0.6))
            _shut_down(mount_point, JOURNALS[journal])
        progress = Progress.of(histories)
        lines = Path(marks).read_text().splitlines()
        for line in lines:
            progress.hear(line, histories)
        with _mounted(image, mount_point):
            finding = examine(os.path.join(mount_point, STORE), histories)
    rule: Synchronous = "FULL" if sabotage == "normal-as-full" else level
    problem = loss(finding, histories, progress, rule)
    return RealCut(
        level,
        journal,
        sum(progress.called),
        sum(progress.acknowledged),
        [] if problem is None else [f"seed {seed}: {problem}"],
        round(time.monotonic() - start, 3),
    )


def _make_file_system(image: str) -> None:
    with open(image, "wb") as file:
        file.truncate(_IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", image)


@contextmanager
def _mounted(image: str, mount_point: str) -> Iterator[None]:
    _run("mount", "-o", "loop", image, mount_point)
    try:
        yield
    finally:
        # With -o loop, the device is detached as soon as nothing is mounted from it.
        deadline = time.monotonic() + _END_SECONDS
        while subprocess.run(["umount", mount_point], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                subprocess.run(["umount", "--lazy", mount_point], check=False)
                break
            time.sleep(0.05)  # somebody who was killed has not gone yet
        for line in _run("losetup", "-j", image).splitlines():
            subprocess.run(["losetup", "-d", line.partition(":")[0]], check=False)


@contextmanager
def _writing(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the writers, in a process group of their own, and see them all to their end."""
    with subprocess.Popen(
        command,
        cwd="/",
        env=workload_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # they are told of the cut by errors
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):  # they have all ended by themselves
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_acknowledgements(marks: str, writers: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while b"acked" not in Path(marks).read_bytes():
        if writers.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("nobody writes to the mounted file system")
        time.sleep(0.01)


def _shut_down(mount_point: str, journal: int) -> None:
    descriptor = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = ctypes.c_uint32(journal)
        libc = ctypes.CDLL(None, use_errno=True)
        request = ctypes.c_ulong(_EXT4_IOC_SHUTDOWN)
        if libc.ioctl(descriptor, request, ctypes.byref(flags)):
            code = ctypes.get_errno()
            if code in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM):
                raise Unavailable(f"ext4 cannot be shut down here: {os.strerror(code)}")
            raise OSError(code, os.strerror(code), mount_point)
    finally:
        os.close(descriptor)


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Unavailable(f"{command[0]} does not work here: {ended.stderr.strip()}")
    return ended.stdout
