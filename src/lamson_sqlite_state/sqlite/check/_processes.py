"""What the system says of processes: who holds which lock, and what they are doing.

From Linux's /proc, which is only read. Where there is none, nobody is seen.
"""

import os
from dataclasses import dataclass
from typing import Final

from ..engine import lock_probe
from ..process.filesystem import Identity
from ._finding import age, shown

_LOCKS: Final = "/proc/locks"

_LAST_BYTE: Final = 2**63 - 1

_LONGEST_COMMAND: Final = 80

_STATES: Final = {
    "D": "waiting for the disk",
    "T": "stopped",
    "Z": "ended, but not reaped",
    "t": "stopped by a debugger",
}


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock on a file that somebody holds.

    Attributes:
        is_flock: whether it is one of `flock`, which is for the whole file, or of `fcntl`.
        is_exclusive: whether it shuts readers out, too.
        process: the id of who took it.
        device: of the file, as the kernel has it; a file system may tell another to `stat`.
        inode: of the file.
        first: the first byte that is locked.
        last: the last one.
    """

    is_flock: bool
    is_exclusive: bool
    process: int
    device: int
    inode: int
    first: int
    last: int

    def is_on(self, identity: Identity) -> bool:
        """Whether it is a lock on this file."""
        if self.inode != identity[1]:
            return False
        # btrfs and overlayfs tell stat() of other devices than they tell of here.
        return self.device == identity[0] or lock_probe.has_open(self.process, identity)

    def covers(self, length: int, start: int) -> bool:
        """Whether it is for any of so many bytes from there on."""
        return self.first < start + length and start <= self.last


def held_locks() -> list[HeldLock]:
    """Return all locks held now by processes that are visible here: not those of other containers.

    Empty where the system does not tell.
    """
    try:
        with open(_LOCKS, "rb") as table:
            lines = table.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 2716 fe:00:1316 0 EOF; "->" marks one that is waited for.
        _, kind, *words = line.split()
        if kind not in (b"FLOCK", b"POSIX") or len(words) < 6:
            continue
        _, mode, process, file, first, last = words[:6]
        major, minor, inode = file.split(b":")
        found.append(
            HeldLock(
                kind == b"FLOCK",
                mode == b"WRITE",
                int(process),
                os.makedev(int(major, 16), int(minor, 16)),
                int(inode),
                int(first),
                _LAST_BYTE if last == b"EOF" else int(last),
            )
        )
    return found


def sharers_of_flock(identity: Identity) -> list[int]:
    """Return all processes that have a descriptor to which an flock on this file belongs.

    It is held until the last of them has closed it: a child that has inherited it holds it, too,
    and goes on holding it when the process that took it has ended.
    """
    try:
        processes = sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())
    except OSError:
        return []
    return [each for each in processes if _has_flock(each, identity)]


def is_stopped(process: int) -> bool:
    """Whether a process is stopped, so that it does nothing before it is told to go on."""
    return _state(process) in ("T", "t")


def described(process: int) -> str:
    """Return what an operator needs to know a process again.

    Args:
        process: its id; 0 for one in another container.
    """
    if not process:
        return "a process that is not visible here (of another container?)"
    if process == os.getpid():
        return f"this very process ({process})"
    state = _state(process)
    if not state:
        return f"process {process}, which has ended,"
    words = [shown(_command_line(process)), *filter(None, [_age(process), _STATES.get(state, "")])]
    return f"process {process} ({', '.join(words)})"


def remedy_for(process: int, flocked: Identity | None = None) -> str:
    """Return what to do about a process that holds a lock for too long.

    Args:
        process: its id; 0 for one in another container.
        flocked: the file, if the lock is an flock.
    """
    if not process:
        return "look on the host, or in the other containers that have the directory mounted"
    sharers = " ".join(map(str, sharers_of_flock(flocked))) if flocked else ""
    state = _state(process)
    if state == "T":
        return f"let it go on: kill -CONT {process}"
    if state == "t":
        return f"let it go on, or leave it, in the debugger: kill -CONT {process} does not help"
    if not state:
        if not sharers:
            return "look again: nobody is seen to have it now"
        return f"end those who have inherited it, if they are not at work: kill {sharers}"
    if state == "D":
        return "look at the disk: the kernel's messages (dmesg) tell what it waits for"
    if sharers and sharers != str(process):
        return f"if it is not at work, end it and those who have inherited it: kill {sharers}"
    return f"if it is not at work, end it: kill {process}"


def _has_flock(process: int, identity: Identity) -> bool:
    try:
        numbers = os.listdir(f"/proc/{process}/fd")
    except OSError:  # it has ended, or is somebody else's
        return False
    for number in numbers:
        try:
            found = os.stat(f"/proc/{process}/fd/{number}")
        except OSError:  # closed meanwhile
            continue
        is_it = (found.st_dev, found.st_ino) == identity
        if is_it and "FLOCK" in _read(process, f"fdinfo/{number}"):
            return True
    return False


def _state(process: int) -> str:
    # The name, in parentheses, may hold anything, parentheses too.
    return _read(process, "stat").rpartition(")")[2][1:2]


def _age(process: int) -> str:
    fields = _read(process, "stat").rpartition(")")[2].split()
    try:
        with open("/proc/uptime") as file:
            uptime = float(file.read().split()[0])
        seconds = uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return ""
    return f"started {age(seconds)} ago"


def _command_line(process: int) -> str:
    line = _read(process, "cmdline").replace("\0", " ").strip()
    line = line or f"[{_read(process, 'comm').strip()}]"
    return line if len(line) <= _LONGEST_COMMAND else f"{line[: _LONGEST_COMMAND - 3]}..."


def _read(process: int, what: str) -> str:
    try:
        with open(f"/proc/{process}/{what}", errors="replace") as file:
            return file.read()
    except OSError:  # it has ended
        return ""
