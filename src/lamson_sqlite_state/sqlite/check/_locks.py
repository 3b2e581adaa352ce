"""A check's look at who holds the locks of a store, and for how long.

Nothing is waited for and no lock is kept: the locks are looked at again and again, for a second or
so, and who works lets go of them many times in that. To be called before this process opens
the database, as what it has open itself cannot be asked (`connections`).
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from filelock import unlock_descriptor

from ..engine import lock_probe
from ..process import filesystem, fork
from ..process.clock import Clock
from ..process.filesystem import Identity
from ..process.reentry import holding
from ._finding import Finding, from_error
from ._processes import HeldLock, described, held_locks, is_stopped, remedy_for
from ._sampling import looks

# What a process does that keeps even readers out.
_WHOLE_DATABASE: Final = "locked the whole database"

_WRITE_LOCK: Final = "held the write lock"

_LOOKING_SECONDS: Final = 1.0
_NAP_SECONDS: Final = 0.002

# Length and start of the writer's lock in a -shm
# (https://www.sqlite.org/walformat.html section 2.3).
_WRITER: Final = (1, 120)

# Of the bytes that who shuts everybody out locks in a database: PENDING_BYTE and what follows it.
_DATABASE_LOCKS: Final = (512, 0x40000000)

Stamp: TypeAlias = tuple[int, ...] | None
Holders: TypeAlias = frozenset[tuple[int, Stamp]]
Question: TypeAlias = Callable[[Sequence[HeldLock]], set[int]]


def held(path: str, identity: Identity, progress: Callable[[], None]) -> tuple[list[Finding], bool]:
    """Find locks that one process holds all the time, without writing anything.

    Also tell whether one of them keeps readers out.

    Args:
        path: of the database.
        identity: of the database.
        progress: is called now and then.
    """
    lock, shm = f"{path}.lock", f"{path}-shm"
    questions: dict[str, Question] = {
        _WRITE_LOCK: partial(_flock_holders, lock),
        "kept a writing transaction open": partial(_writers, shm),
        _WHOLE_DATABASE: partial(_excluders, identity),
    }
    start = Clock.monotonic()
    holders = _lasting(path, questions, progress)
    seconds = Clock.monotonic() - start
    findings = []
    # A worker that is stopped in the middle of a commit holds the first two.
    seen: set[int] = set()
    for what, found in holders.items():
        is_flock = what == _WRITE_LOCK
        flocked = filesystem.identity(lock) if is_flock else None
        for process, _ in sorted(found, key=lambda holder: holder[0]):
            if process in seen:
                continue
            seen.add(process)
            found_lock = Finding(
                "lock" if is_flock else "transaction",
                f"{described(process)} has {what} for at least "
                f"{seconds:.1f} s, and every writer waits for it{_last_write(path)}",
                remedy_for(process, flocked),
                lock if is_flock else path,
            )
            findings.append(found_lock)
    return findings, bool(holders[_WHOLE_DATABASE])


def refused(path: str) -> Iterator[Finding]:
    """Find that no lock can be taken here.

    Args:
        path: of the database.
    """
    # Letting go of a lock that this descriptor does not have disturbs nobody, and is refused where
    # locking is. (The database itself must not be opened.)
    for file in (f"{path}.lock", os.path.dirname(path)):
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # it is missing, or not ours to read
            continue
        try:
            unlock_descriptor(descriptor)
        except OSError as error:
            yield from_error("lock", filesystem.flock_refused(error, file))
            return
        finally:
            os.close(descriptor)


def _lasting(
    path: str, questions: Mapping[str, Question], progress: Callable[[], None]
) -> dict[str, Holders]:
    """Return who holds each lock each time one looks, and writes nothing meanwhile."""
    holders: dict[str, Holders] = {}
    for _ in looks(_LOOKING_SECONDS, _NAP_SECONDS):
        locks, stamp = held_locks(), _stamp(path)
        for what, question in questions.items():
            now = frozenset(
                (process, None if is_stopped(process) else stamp) for process in question(locks)
            )
            holders[what] = holders.get(what, now) & now
        if not any(holders.values()):
            break
        progress()
    return holders


def _stamp(path: str) -> Stamp:
    # Of who writes on and on it is only by chance that he is never seen without the lock.
    try:
        found = os.stat(f"{path}-wal")
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _flock_holders(lock: str, locks: Sequence[HeldLock]) -> set[int]:
    identity = filesystem.identity(lock)
    if identity is None:
        return set()
    found = {each.process for each in locks if each.is_flock and each.is_on(identity)}
    return found or ({0} if _is_refused(lock) else set())


def _is_refused(lock: str) -> bool:
    # Who is not visible here, in another container, can only be noticed by trying. Shared, and
    # let go of at once: a writer that tries in that moment naps for 0.1 ms.
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(descriptor)
    return False


def _writers(shm: str, locks: Sequence[HeldLock]) -> set[int]:
    identity = filesystem.identity(shm)
    if identity is None:
        return set()
    found = {
        each.process
        for each in locks
        if not each.is_flock and each.covers(*_WRITER) and each.is_on(identity)
    }
    if not found:
        with contextlib.suppress(OSError):
            holder = holding(fork.open_lock, lock_probe.lock_holder, shm, identity, _WRITER)
            found = set() if holder is None else {holder}
    return found - {os.getpid()}


def _excluders(identity: Identity, locks: Sequence[HeldLock]) -> set[int]:
    return {
        each.process
        for each in locks
        if each.is_exclusive
        and not each.is_flock
        and each.covers(*_DATABASE_LOCKS)
        and each.is_on(identity)
    }


def _last_write(path: str) -> str:
    try:
        seconds = time.time() - os.stat(f"{path}-wal").st_mtime
    except OSError:
        return ""
    return f"; the last write was {max(0, seconds):.0f} s ago"
