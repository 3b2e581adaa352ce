"""Looks for processes that keep the locks of a store, and for a file system without locks.

A look waits for no lock and keeps none. It samples the locks for a second or so; a process at work
lets go of them many times in a second. To be called before this process opens the database: the
locks on a file that this process has open cannot be asked for (`lock_probe`).
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from filelock import unlock_descriptor

from ..engine import lock_probe
from ..process import filesystem, fork
from ..process.clock import Clock
from ..process.reentry import holding
from ._look import Finding, Target, age, from_error, samples
from ._processes import HeldLock, described, held_locks, holders, is_stopped, remedy_for

_WRITE_LOCK: Final = "held the write lock"

_LOOKING_SECONDS: Final = 1.0
_NAP_SECONDS: Final = 0.002

# Length and start of the writer's lock in a -shm
# (https://www.sqlite.org/walformat.html section 2.3).
_WRITER: Final = (1, 120)

# Length and start of the bytes in a database that SQLite locks to shut everybody out: PENDING_BYTE
# and the bytes behind it.
_DATABASE_LOCKS: Final = (512, 0x40000000)

Stamp: TypeAlias = tuple[int, ...] | None
"""Which log there was, and how far it was written."""

Holders: TypeAlias = frozenset[tuple[int, Stamp]]
"""Processes, each with the log as the process had it; without a log for a stopped process."""

Question: TypeAlias = Callable[[Sequence[HeldLock]], set[int]]
"""Returns which processes hold a certain lock now."""


def refused(target: Target) -> Iterator[Finding]:
    """Find that the file system has no locks."""
    # The locking is tried by an unlock: where this descriptor has no lock, that disturbs nobody,
    # and it is refused where locking is. (The database itself must not be opened.)
    for file in (target.paths.lock, target.directory):
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # the file is missing, or this user may not read it
            continue
        try:
            unlock_descriptor(descriptor)
        except OSError as error:
            yield from_error("lock", filesystem.flock_refused(error, file))
            return
        finally:
            os.close(descriptor)


def shut_out(target: Target) -> Iterator[Finding]:
    """Find a process that keeps the whole database locked, so that others cannot even read."""
    yield from _kept(target, {"locked the whole database": partial(_excluders, target)})


def held(target: Target) -> Iterator[Finding]:
    """Find processes that keep the write lock or a writing transaction, and write nothing."""
    questions: dict[str, Question] = {
        _WRITE_LOCK: partial(_flock_holders, target.paths.lock),
        "kept a writing transaction open": partial(_writers, target.paths.shm),
    }
    # `shut_out` has found the processes that keep readers out, too.
    yield from _kept(target, questions, known=_excluders(target, held_locks()))


def _kept(
    target: Target, questions: Mapping[str, Question], known: Iterable[int] = ()
) -> Iterator[Finding]:
    """Yield a finding for each process that keeps a lock, but for those that are known already."""
    lock, wal = target.paths.lock, target.paths.wal
    start = Clock.monotonic()
    lasting = _lasting(wal, questions, partial(target.tell, "locks", 0, None))
    seconds = Clock.monotonic() - start
    seen = set(known)
    for deed, found in lasting.items():
        is_flock = deed == _WRITE_LOCK
        for process in sorted({process for process, _ in found} - seen):
            # A worker that is stopped in the middle of a commit has both the lock and a
            # transaction. One finding is enough.
            seen.add(process)
            yield Finding(
                "lock" if is_flock else "transaction",
                f"{described(process)} has {deed} for at least {seconds:.1f} s, and every writer "
                f"waits for it{_last_write(wal)}",
                remedy_for(process, filesystem.identity(lock) if is_flock else None),
                lock if is_flock else target.path,
            )


def _lasting(
    wal: str, questions: Mapping[str, Question], progress: Callable[[], None]
) -> dict[str, Holders]:
    """Return for each question the processes that hold the lock in every sample.

    A process counts only as long as the log stays as it is: a process that writes on and on may
    hold the lock in every sample by chance. The log of a stopped process is not asked for, because
    other programs may write past the lock.
    """
    lasting: dict[str, Holders] = {}
    for _ in samples(_LOOKING_SECONDS, _NAP_SECONDS):
        locks, stamp = held_locks(), _stamp(wal)
        for deed, question in questions.items():
            now = frozenset(
                (process, None if is_stopped(process) else stamp) for process in question(locks)
            )
            lasting[deed] = lasting.get(deed, now) & now
        if not any(lasting.values()):
            break
        progress()
    return lasting


def _stamp(wal: str) -> Stamp:
    try:
        found = os.stat(wal)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _excluders(target: Target, locks: Sequence[HeldLock]) -> set[int]:
    exclusive = [lock for lock in locks if lock.is_exclusive]
    return holders(exclusive, target.identity, _DATABASE_LOCKS)


def _flock_holders(lock: str, locks: Sequence[HeldLock]) -> set[int]:
    found = holders(locks, filesystem.identity(lock), None)
    return found or ({0} if _is_refused(lock) else set())


def _is_refused(lock: str) -> bool:
    # A process that is not visible here, as it is in another container, can only be noticed by
    # taking the lock. It is taken shared, and let go of at once: a writer that tries to take it in
    # that moment naps for 0.1 ms.
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
    found = holders(locks, identity, _WRITER)
    if identity and not found:
        with contextlib.suppress(OSError):
            holder = holding(fork.open_lock, lock_probe.lock_holder, shm, identity, _WRITER)
            found = set() if holder is None else {holder}
    return found - {os.getpid()}


def _last_write(wal: str) -> str:
    try:
        seconds = time.time() - os.stat(wal).st_mtime
    except OSError:
        return ""
    return f"; the last write was {age(seconds)} ago"
