"""What happens around os.fork: no SQLite connection and no file lock ever crosses one.

SQLite keeps the book of its POSIX locks per process, and the book comes along with a fork
while the locks do not: a child that goes on, even with a connection of its own, believes in
locks it does not hold. An inherited flock descriptor is as bad, as parent and child then hold
one lock together. So every store is closed before a fork, under its lock so that no thread is
inside SQLite, and both sides open again at their next call.

Locks, in the order they are taken: the RLock of every live store, then `opening`.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol, TypeVar

from ._filesystem import Identity

__all__ = ["ForkAware", "adopt_process", "members", "opening", "register", "was_inherited"]


T = TypeVar("T")


class ForkAware(Protocol):
    """What the hooks need of a store."""

    @property
    def lock(self) -> threading.RLock:
        """The store's own lock: whoever holds it is alone inside the store."""

    @property
    def inherited_identity(self) -> Identity | None:
        """The database this store was left open on by a process that we are a copy of."""

    def close_for_fork(self) -> None:
        """Close connection and lock descriptor; called with the lock held."""

    def start_in_child(self, *, with_new_lock: bool) -> None:
        """Belong to the calling process from now on."""

    def abandon(self) -> None:
        """Never close the inherited connection, not even when the interpreter exits."""


opening = threading.RLock()
"""Held while a connection is being opened, and across a fork.

It guards two things: no connection can appear between the hooks' closing of all stores and
the fork itself; and no two threads open and probe one file at once (see `_database`). A
holder waits for nothing but the disk.
"""

_live: Final["weakref.WeakSet[Any]"] = weakref.WeakSet()
_inherited: Final[set[Identity]] = set()
"""Databases that were open here when this process was forked past the hooks. SQLite's book of
this process is wrong about them for good."""

_pid = os.getpid()
_forks: Final[list[list[ForkAware]]] = []
"""The stores locked for each fork under way; a list of lists because a signal handler may
fork in the middle of the hooks of a fork."""


def register(store: ForkAware) -> None:
    """Have ``store`` closed before every fork, for as long as it lives."""
    _live.add(store)


def was_inherited(identity: Identity) -> bool:
    """Whether SQLite's bookkeeping of this database came here through an unhooked fork."""
    return identity in _inherited


def adopt_process() -> None:
    """Notice a fork that went past Python's hooks (C code: uWSGI), as far as it can be mended.

    Every store that was closed at that fork gets a fresh lock, as a thread that did not come
    along may hold the old one. A store that was open stays marked as inherited.
    """
    global opening
    if _pid == os.getpid():
        return
    opening = threading.RLock()
    _forks.clear()
    _start_in_child(locked=())


def _start_in_child(locked: Collection[ForkAware]) -> None:
    global _pid
    for store in members(_live):
        identity = store.inherited_identity
        if identity is None:
            # The forking thread came along and releases what it locked. Any other lock may
            # be held by a thread that did not come along, and would never be free again.
            store.start_in_child(with_new_lock=store not in locked)
        else:
            _inherited.add(identity)
            store.abandon()
    _pid = os.getpid()


def members(of: "weakref.WeakSet[T]") -> list[T]:
    """Return what is in a set that other threads and signal handlers may add to meanwhile."""
    while True:
        try:
            return list(of)
        except RuntimeError:  # it changed its size while we were counting
            continue


def _lock_all(stores: Iterable[ForkAware]) -> None:
    # Two threads may hold and want two stores in opposite order: a fork here, a signal
    # handler that uses a second store there. So block on one lock only while holding none.
    stores = list(stores)
    while stores:
        stores[0].lock.acquire()
        for taken, store in enumerate(stores[1:], 1):
            if not store.lock.acquire(blocking=False):
                for other in stores[:taken]:
                    other.lock.release()
                stores.insert(0, stores.pop(taken))
                break
        else:
            return


def _before() -> None:
    adopt_process()
    while True:
        stores = [store for store in members(_live) if store.inherited_identity is None]
        _lock_all(stores)
        opening.acquire()
        # A store made meanwhile may be open already; from here on none can be opened.
        if all(store in stores for store in members(_live) if store.inherited_identity is None):
            break
        opening.release()
        for store in stores:
            store.lock.release()
    _forks.append(stores)
    for store in stores:
        store.close_for_fork()


def _release(stores: Iterable[ForkAware]) -> None:
    opening.release()
    for store in stores:
        store.lock.release()


def _after_in_parent() -> None:
    _release(_forks.pop())


def _after_in_child() -> None:
    locked = _forks.pop()
    _start_in_child(locked)
    _release(locked)


def _abandon_inherited() -> None:
    adopt_process()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
# A child of an unhooked fork that never calls us still frees its objects when it exits, and
# closing the inherited connection then would delete the log under its parent.
atexit.register(_abandon_inherited)
