"""Asks the system about processes: which locks they hold, and what they are doing.

All of it comes from Linux's /proc, which is only read. Where there is no /proc, no process is seen.
"""

import contextlib
import glob
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..engine import lock_probe
from ..process import filesystem
from ..process.filesystem import Identity
from ._look import age, shown

_LOCKS: Final = "/proc/locks"

# 1: FLOCK  ADVISORY  WRITE 2716 fe:00:1316 0 EOF
# An arrow behind the first number marks a lock that is waited for; those are left out.
_LOCK: Final = re.compile(
    rb"^\d+: (FLOCK|POSIX) +\S+ +(\S+) +(\S+) (\w+):(\w+):(\d+) (\d+) (\d+|EOF)", re.MULTILINE
)

_LAST_BYTE: Final = 2**63 - 1

_LONGEST_COMMAND: Final = 80

# By the letter in /proc/PID/stat: what the process is doing, and what to do about that.
_STATES: Final = {
    "D": (
        "waiting for the disk",
        "look at the disk: the kernel's messages (dmesg) tell what it waits for",
    ),
    "T": ("stopped", "let it go on: kill -CONT {process}"),
    "Z": ("ended, but not reaped", ""),
    "t": (
        "stopped by a debugger",
        "let it go on, or leave it, in the debugger: kill -CONT {process} does not help",
    ),
}


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock on a file that a process holds.

    Attributes:
        is_flock: whether the lock is one of `flock`, which is for the whole file, or of `fcntl`.
        is_exclusive: whether the lock shuts readers out, too.
        process: the id of the process that took the lock.
        device: of the file, as the kernel has it; a file system may tell another to `stat`.
        inode: of the file.
        first: the first byte that is locked.
        last: the last byte that is locked.
    """

    is_flock: bool
    is_exclusive: bool
    process: int
    device: int
    inode: int
    first: int
    last: int

    def is_on(self, identity: Identity) -> bool:
        """Whether this is a lock on a file."""
        if self.inode != identity[1]:
            return False
        # /proc/locks and stat() name different devices on btrfs and overlayfs.
        return self.device == identity[0] or lock_probe.has_open(self.process, identity)

    def covers(self, length: int, start: int) -> bool:
        """Whether any of ``length`` bytes from ``start`` on is locked."""
        return self.first < start + length and start <= self.last


def held_locks() -> list[HeldLock]:
    """Return all locks held now by processes that are visible here: not those of other containers.

    Empty where the system does not tell.
    """
    try:
        with open(_LOCKS, "rb") as table:
            lines = _LOCK.findall(table.read())
    except OSError:
        return []
    return [
        HeldLock(
            kind == b"FLOCK",
            mode == b"WRITE",
            int(process),
            os.makedev(int(major, 16), int(minor, 16)),
            int(inode),
            int(first),
            _LAST_BYTE if last == b"EOF" else int(last),
        )
        for kind, mode, process, major, minor, inode, first, last in lines
    ]


def holders(
    locks: Iterable[HeldLock], identity: Identity | None, covered: tuple[int, int] | None
) -> set[int]:
    """Return the ids of the processes that hold a lock on a file.

    Args:
        locks: the locks to choose from.
        identity: the file, or None if there is none.
        covered: length and start of the bytes, any of which are locked by `fcntl`; or None for a
            lock of `flock`.
    """
    return {
        lock.process
        for lock in locks
        if identity
        and lock.is_flock == (covered is None)
        and (covered is None or lock.covers(*covered))
        and lock.is_on(identity)
    }


def is_stopped(process: int) -> bool:
    """Whether a process is stopped, so that it does nothing before it is told to go on."""
    return _state(process) in ("T", "t")


def described(process: int) -> str:
    """Return what an operator needs to recognise a process.

    Args:
        process: its id; 0 for one in another container.
    """
    if not process:
        return "a process that is not visible here (of another container?)"
    if process == os.getpid():
        return f"this very process ({process})"
    status = _status(process)
    if not status:
        return f"process {process}, which has ended,"
    started = int(status[19]) / os.sysconf("SC_CLK_TCK")
    words = [
        shown(_command_line(process)),
        f"started {age(time.clock_gettime(time.CLOCK_BOOTTIME) - started)} ago",
        _STATES.get(status[0], ("",))[0],
    ]
    return f"process {process} ({', '.join(filter(None, words))})"


def remedy_for(process: int, flocked: Identity | None = None) -> str:
    """Return what to do about a process that holds a lock for too long.

    Args:
        process: its id; 0 for one in another container.
        flocked: the file, if the lock is an flock.
    """
    if not process:
        return "look on the host, or in the other containers that have the directory mounted"
    state = _state(process)
    _, remedy = _STATES.get(state, ("", ""))
    if remedy:
        return remedy.format(process=process)
    sharers = " ".join(map(str, _sharers_of_flock(flocked))) if flocked else ""
    if not state and not sharers:
        return "look again: no process is seen to have it now"
    if not state:
        return f"end the processes that have inherited it, if they are not at work: kill {sharers}"
    if sharers not in ("", str(process)):
        return f"if it is not at work, end it and those that have inherited it: kill {sharers}"
    return f"if it is not at work, end it: kill {process}"


def _sharers_of_flock(identity: Identity) -> list[int]:
    """Return all processes that have a descriptor to which an flock on this file belongs.

    The lock is held until the last of them has closed its descriptor. So a child that has inherited
    the descriptor holds the lock, too, also when the process that took the lock has ended.
    """
    sharers = set()
    for descriptor in glob.iglob("/proc/[0-9]*/fd/*"):
        _, _, process, _, number = descriptor.split("/")
        with contextlib.suppress(OSError):  # it was closed meanwhile, or is another user's
            is_it = filesystem.identity(descriptor) == identity
            if is_it and "FLOCK" in _read(int(process), f"fdinfo/{number}"):
                sharers.add(int(process))
    return sorted(sharers)


def _state(process: int) -> str:
    return next(iter(_status(process)), "")


def _status(process: int) -> list[str]:
    """Return what /proc/PID/stat says behind the name; empty for a process that has ended."""
    # The name, in parentheses, may hold anything, parentheses too.
    return _read(process, "stat").rpartition(")")[2].split()


def _command_line(process: int) -> str:
    line = _read(process, "cmdline").replace("\0", " ").strip()
    line = line or f"[{_read(process, 'comm').strip()}]"
    return line if len(line) <= _LONGEST_COMMAND else f"{line[: _LONGEST_COMMAND - 3]}..."


def _read(process: int, name: str) -> str:
    try:
        with open(f"/proc/{process}/{name}", errors="replace") as file:
            return file.read()
    except OSError:  # the process has ended
        return ""
