"""The processes of a round, from outside: forked, watched, stopped, killed, seen to their end."""

import ctypes
import faulthandler
import itertools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from .setting import GRANDCHILDREN

__all__ = ["Crew", "Member", "adopt_orphans", "lock_holder"]

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h

_DUMP_SECONDS: Final = 1.0
_LAST_LINES: Final = 12

# What faulthandler begins the stack of each thread with.
_STACK: Final = "most recent call first"
_STACK_LINES: Final = 12


@dataclass
class Member:
    """A process that takes part.

    Args:
        number: in the history.
        pid: of the process.
        role: what it does.
        started_ns: when, by `time.monotonic_ns`.
        ended_ns: when its end was noticed.
        exit_code: 0, another, or a signal's number below 0.
        killed_by: the signal that we sent it to end it.
        stops: when it was stopped, from and until.
        complaint: what is wrong with its end, beside its exit code.
    """

    number: int
    pid: int
    role: str
    started_ns: int
    ended_ns: int | None = None
    exit_code: int | None = None
    killed_by: int | None = None
    stops: list[tuple[int, int]] = field(default_factory=list)
    complaint: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been noticed."""
        return self.exit_code is None

    def signal(self, number: int) -> None:
        """Send a signal; harmless once it has ended."""
        if self.is_alive:  # not reaped yet, so the number is still its own
            os.kill(self.pid, number)


def adopt_orphans() -> None:
    """Have grandchildren whose parents have ended become children of this process (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Crew:
    """All processes of one round.

    Args:
        directory: where each leaves what it writes to standard error.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.members: list[Member] = []
        self._numbers = itertools.count(1)

    def fork(self, role: str, work: Callable[[int], None], *, number: int | None = None) -> Member:
        """Start a process that calls ``work`` with its number and ends with `os._exit`.

        It ends with 0 once that returns, and with 1 and a traceback where it raises.
        """
        number = next(self._numbers) if number is None else number
        errors = self._directory / f"{number}.stderr"
        started_ns = time.monotonic_ns()
        pid = os.fork()
        if not pid:
            _run_to_exit(lambda: work(number), errors)
        member = Member(number, pid, role, started_ns)
        self.members.append(member)
        return member

    def working(self) -> list[Member]:
        """Return the workers that are there and have not been killed."""
        self.poll()
        return [m for m in self.members if m.is_alive and m.role == "worker" and not m.killed_by]

    def poll(self) -> None:
        """Notice who has ended."""
        for member in self.members:
            if member.is_alive:
                pid, status = os.waitpid(member.pid, os.WNOHANG)
                if pid:
                    _enter_end(member, status)

    def wait(self, patience_seconds: float, meanwhile: Callable[[], Any]) -> None:
        """Wait until all have ended. Who has not by then tells where it is, and is killed."""
        until = time.monotonic() + patience_seconds
        self._wait_until(until, meanwhile)
        stuck = [member for member in self.members if member.is_alive]
        for member in stuck:
            member.signal(signal.SIGCONT)
            member.signal(signal.SIGUSR2)
            member.complaint = f"had not ended {patience_seconds:.0f} s after the others were told"
        if stuck:
            self._wait_until(time.monotonic() + _DUMP_SECONDS, meanwhile)
        for member in stuck:
            member.signal(signal.SIGKILL)
            if member.is_alive:
                _enter_end(member, os.waitpid(member.pid, 0)[1])

    def reap_orphans(self, patience_seconds: float) -> None:
        """Take the grandchildren whose parents ended first among the members, when they have ended.

        They are known by their records. Those whose parents saw to their end are nobody here.
        """
        until = time.monotonic() + patience_seconds
        for path in self._directory.glob("*.history"):
            number = int(path.name.split(".")[0])
            pid = number - GRANDCHILDREN
            if not 0 < pid <= _most_processes():
                continue
            try:
                while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    if time.monotonic() > until:
                        os.kill(pid, signal.SIGKILL)
                    time.sleep(0.01)
                member = Member(number, pid, "orphan", 0)
                _enter_end(member, os.waitpid(pid, 0)[1])
                self.members.append(member)
            except ChildProcessError:
                continue

    def last_words(self, member: Member) -> str:
        """Return what tells most of what a process wrote to standard error.

        That is the end of a traceback, but the beginning of what it says of where it is stuck.
        """
        path = self._directory / f"{member.number}.stderr"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        stacks = [number for number, line in enumerate(lines) if _STACK in line]
        if stacks:
            return "\n".join(line for n in stacks for line in lines[n : n + _STACK_LINES])
        return "\n".join(lines[-_LAST_LINES:])

    def _wait_until(self, until: float, meanwhile: Callable[[], Any]) -> None:
        while any(member.is_alive for member in self.members) and time.monotonic() < until:
            self.poll()
            meanwhile()
            time.sleep(0.005)


def lock_holder(path: str) -> int | None:
    """Return the id of the process that holds a flock on a file at this moment (Linux)."""
    try:
        found = os.stat(path)
        with open("/proc/locks") as table:
            lines = table.read().splitlines()
    except OSError:
        return None
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 2716 fe:00:1316 0 EOF; "->" marks one who waits
        words = line.split()
        if words[1] == "FLOCK" and words[5] == device:
            return int(words[4])
    return None


def _enter_end(member: Member, status: int) -> None:
    member.exit_code = os.waitstatus_to_exitcode(status)
    member.ended_ns = time.monotonic_ns()


def _most_processes() -> int:
    with open("/proc/sys/kernel/pid_max") as file:
        return int(file.read())


def _run_to_exit(work: Callable[[], None], errors: Path) -> NoReturn:
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to end
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=True)
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        os.write(2, traceback.format_exc().encode())
        os._exit(1)
