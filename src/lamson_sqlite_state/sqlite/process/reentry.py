"""Rules for re-entry: signal handlers may use, close or fork a store in the middle of its calls.

Python runs a signal handler on the main thread where a function begins, where a call has returned,
and where a loop goes back. It runs a finalizer (``__del__``) wherever an object is freed. Both may
call any method of the store, close the store, or fork; and a handler may raise. The other modules
can be read as if nothing ever interrupted them, because they keep five rules:

1. A thread lock is taken and noted by one call into C. It is released by one call into C, the first
   call of a ``finally``. Otherwise a handler that raises (Ctrl-C) could interrupt between
   ``lock.acquire()`` and the ``try`` behind it, or at the beginning of a Python function that
   releases the lock. Then the lock would never be released. ``with lock:`` has that gap on Python
   3.14, where a handler may run once ``__enter__`` has returned. So::

       locks = LockSet()
       try:
           locks.take(lock)
           ...
       finally:
           any(locks.releases)

2. A statement runs whole, in one call into C (`engine.queries`). So a handler never interrupts a
   statement that is half read. Such a statement would keep a closed connection's files open.

3. A fact that was tested before a call is tested again after the call, because a handler may have
   changed it. Each release of the write lock, and each `Versions.commit`, changes
   `WriteLock.sequence`. If a call still finds the number that it has noted, neither has happened
   since. The number is tested right before each step that needs it, with no call between the two.
   `WriteLock.depth` tells a nested call that an outer one is at work.

4. Everything open can be found by `close` and the fork hooks. A connection or a descriptor of the
   lock file is noted before it holds a lock. A connection is forgotten only after it is closed; the
   descriptor just before, because its number may be another file's right after. If a handler closes
   a call's connection, the call gets a ProgrammingError and begins again
   (`OpenDatabase.reopen_if_closed`).

5. The dictionary of the cache is replaced, not emptied. A call that puts a state into the cache
   names the dictionary that was there before the call asked the database. If another dictionary is
   there by then, the state is not put in (`Cache.keep`).
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
    """The locks that one call has taken and not released yet: see rule 1.

    One thread uses it, and uses it once.

    Attributes:
        releases: an iterator that releases one lock with each step. ``any`` goes through all steps.
    """

    __slots__ = ("releases",)

    def __init__(self) -> None:
        self.releases: Iterator[None] = map(RELEASE, self)

    def take(self, lock: threading.RLock, *, blocking: bool = True, timeout: float = -1) -> bool:
        """Take a lock and note it. Return False if another thread holds the lock.

        Args:
            lock: this thread may have taken it already.
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
