"""Rules for re-entry: signal handlers may use, close or fork a store in the middle of its calls.

Python runs a signal handler on the main thread where a function begins, where a call has returned,
and where a loop goes back; it runs a finalizer (``__del__``) wherever an object is freed. Both may
call any method of the store, close it, fork, or raise. The other rooms of this package can be read
as if nothing ever interrupted them, because they keep five rules:

1. A thread lock is taken and noted by one call into C, and released by one call into C, the first
   that a ``finally`` makes. Otherwise a handler that raises (Ctrl-C) could strike between
   ``lock.acquire()`` and the ``try`` behind it, or as a function of ours that releases the lock
   begins, and the lock would never be released. ``with lock:`` has that gap on Python 3.14, where a
   handler may run once ``__enter__`` has returned. So::

       locks = LockSet()
       try:
           locks.take(lock)
           ...
       finally:
           any(locks.releases)

2. A statement runs whole, in one call into C (`engine.queries`). A handler never meets a statement
   that is half read, which would keep a closed connection's files open.

3. What was true before a call may be untrue after the call. So each release of the write lock, and
   each write under the lock, changes `WriteLock.sequence`. A call that finds the number that it has
   set itself knows that neither happened since. The number is tested right before each deed that
   needs it, with no call between the two. `WriteLock.depth` tells a nested call that an outer one
   is at work.

4. What is open can be found. A connection and a descriptor stand where `close` and the fork hooks
   find them before they hold anything, and are forgotten only after they are closed. A call whose
   connection was closed under it gets a ProgrammingError, and begins again
   (`OpenDatabase.reopen_if_closed`).

5. What lives on is replaced, not emptied. Whoever is about to put something into the cache names
   the dictionary that was there before the database was asked (`Cache.keep`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Final, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

ACQUIRE: Final = methodcaller("acquire")
RELEASE: Final = methodcaller("release")


class LockSet(list[threading.RLock]):
    """The locks that one call has taken, for as long as the call lasts: see rule 1.

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
