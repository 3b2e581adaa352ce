"""Thread locks that are let go of for certain, whatever a signal handler raises, and wherever.

Python runs signal handlers where a function begins, where a call has returned, and where a loop
goes back. So a handler that raises (Ctrl-C) may strike

- between ``lock.acquire()`` and the ``try`` behind it: the lock would never be released. ``with
  lock:`` has the same gap on Python 3.14, where a handler may run once ``__enter__`` has returned;
- at the beginning of a function of ours that would release the lock.

Therefore a lock is taken and noted by one call into C, and all are released by one call into C,
which is the first that a ``finally`` makes::

    locks = LockSet()
    try:
        locks.take(lock)
        ...
    finally:
        any(locks.releases)
"""

import threading
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

ACQUIRE: Final = methodcaller("acquire")
RELEASE: Final = methodcaller("release")


class LockSet(list[threading.RLock]):
    """The locks that one call has taken, for as long as the call lasts.

    Used by one thread, once.

    Attributes:
        releases: releases a lock for each step; ``any`` goes through all of them.
    """

    __slots__ = ("releases",)

    def __init__(self) -> None:
        self.releases: Iterator[None] = map(RELEASE, self)

    def take(self, lock: threading.RLock, *, blocking: bool = True, timeout: float = -1) -> bool:
        """Take a lock and note it; False: it was not to be had.

        Args:
            lock: may be one that this thread has taken already.
            blocking: whether to wait for the lock.
            timeout: seconds to wait at most, or -1.
        """
        before = len(self)
        self.extend(filter(methodcaller("acquire", blocking, timeout), (lock,)))
        return len(self) > before


def holding(
    lock: threading.RLock, function: Callable[[*Arguments], T], *arguments: *Arguments
) -> T:
    """Call a function with a lock held, and return what it returns."""
    locks = LockSet()
    try:
        locks.take(lock)
        return function(*arguments)
    finally:
        any(locks.releases)
