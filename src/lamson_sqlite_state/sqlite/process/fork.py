"""The hooks around os.fork: no SQLite connection and no file lock ever crosses a fork.

SQLite keeps a table of the POSIX locks that its process holds. A fork copies the table, but not the
locks. So SQLite in the child would rely on locks that the child does not hold, even through a new
connection. An inherited flock descriptor is as bad, because parent and child then hold one lock
together. So every store is closed before a fork, and opened again at the next call on either side.

The hooks of one fork, in order:

1. `_before` blocks all signals in the forking thread, takes the lock of every store, so that no
   thread is inside SQLite, and then `open_lock`, so that no connection can appear. Then it closes
   all stores, and what stores that are garbage already have left open (`close_before_fork`).
2. The kernel forks.
3. `_after_in_child` gives a new lock to each store of the child whose old lock the forking thread
   has not taken.
4. `_end` releases the locks and unblocks the signals, in the parent and in the child.

A signal handler may raise between any two lines, even while all signals are blocked, because the
main thread also handles a Ctrl-C that the kernel has delivered to another thread. CPython swallows
an exception that is raised in a hook, and forks all the same. So each lock that a hook takes is
noted in `_forks`, where `_end` finds it. A handler may also fork, so one thread may have several
forks under way. And a handler may use a store between steps 1 and 2. A call that opens a store then
closes it again before it returns (`is_about_to_fork`).

A fork by C code runs no hooks. The child notices that at its next call (`process_mark`), and
`adopt_process` mends what can be mended.

Locks, in the order in which they are taken: the RLock of every live store, then `open_lock`.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import threading
import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from . import process_mark
from .filesystem import Identity
from .reentry import LockSet

T = TypeVar("T")


class ForkAware(Protocol):
    """The part of a store that the hooks use."""

    @property
    def lock(self) -> threading.RLock:
        """The store's own lock: the thread that holds it is alone inside the store."""

    @property
    def inherited_identity(self) -> Identity | None:
        """The database that was open in this store when C code forked this process, if any."""

    def close_for_fork(self) -> None:
        """Close the connection and the lock descriptor. Called with `lock` held."""

    def start_in_child(self, *, with_new_lock: bool) -> None:
        """Make this the store of the calling process, with a new `lock` if need be."""

    def abandon(self) -> None:
        """Never close the inherited connection, not even when the interpreter exits."""


open_lock: threading.RLock = threading.RLock()
"""Held while a connection is being opened, and across a fork.

The lock guards two things. No connection can appear between the closing of all stores and the fork.
And no two threads open and probe one file at once (see `engine.lock_probe`). A thread that holds
the lock waits for nothing but the disk.
"""

close_before_fork: Final[list[Callable[[], None]]] = []
"""Functions that close before each fork what no live store closes. Called with all locks held."""

_live: Final[weakref.WeakSet[Any]] = weakref.WeakSet()

_inherited: Final[set[Identity]] = set()
"""Databases that were open here when C code forked this process. SQLite's table of locks is wrong
about these databases for as long as this process lives."""


class _Fork:
    """One fork under way: the locks that are held for the fork, and whether all is closed."""

    def __init__(self) -> None:
        self.locks = LockSet()
        self.is_ready = False

    def let_go(self) -> None:
        """Release all locks that were taken; harmless if they have been released already."""
        self.is_ready = False
        any(self.locks.releases)  # one call into C: see rule 1 of `reentry`
        self.locks = LockSet()


_forks: Final[dict[int, list[_Fork]]] = {}
"""The forks under way of each thread, by its id: several if a signal handler forks in a fork."""

_masks: Final[dict[int, set[int]]] = {}
"""The signals that each thread had blocked before its outermost fork. The thread blocks all
signals during the fork, because a signal handler that uses a store would open the store again."""

_interrupts: Final[list[int]] = []
"""Holds SIGINT if a Ctrl-C has interrupted a hook of the last fork; empty otherwise."""


def register(store: ForkAware) -> None:
    """Have ``store`` closed before every fork, for as long as it lives."""
    adopt_process()
    _live.add(store)


def close_stores(timeout_seconds: float = 0) -> None:
    """Close every store of this process, except those that another thread is inside of.

    Args:
        timeout_seconds: how long to wait, at each store, for another thread to leave the store.
    """
    for store in _own_stores():
        locks = LockSet()
        try:
            if locks.take(store.lock, timeout=timeout_seconds):
                store.close_for_fork()
        finally:
            any(locks.releases)


def is_about_to_fork() -> bool:
    """Whether this thread is between the beginning of `_before` and the end of `_end`.

    A signal handler may run there. So does an application's own hook if it was registered before
    ours, because the hooks before a fork run in reverse order. Either may open a store that our
    hook has already closed.
    """
    return bool(_forks and _forks.get(threading.get_ident()))


def was_inherited(identity: Identity) -> bool:
    """Whether a database was open here when C code forked this process."""
    return identity in _inherited


def mark_inherited(identity: Identity) -> None:
    """Remember that a database was open here when C code forked this process."""
    _inherited.add(identity)


def adopt_process() -> None:
    """Notice a fork by C code, which runs no hooks, and mend what can be mended.

    Every store that was closed at that fork gets a new lock, because a thread that the fork left
    behind may hold the old one. A store that was open is abandoned, and its database stays marked
    as inherited.
    """
    global open_lock
    if not process_mark.is_own_process():
        open_lock = threading.RLock()
        _forks.clear()
        _start_in_child(locked=())


def snapshot(of: weakref.WeakSet[T]) -> list[T]:
    """Return the members of a set that other threads and signal handlers may change meanwhile."""
    while True:
        try:
            return list(of)
        except RuntimeError:  # the set has changed its size
            continue


def _own_stores() -> list[ForkAware]:
    return [store for store in snapshot(_live) if store.inherited_identity is None]


def _take_all(fork: _Fork) -> None:
    # Another thread may hold one store's lock and wait for a second one's, where a signal handler
    # uses a second store. To hold the second lock here and wait for the first would never end. So
    # this thread waits for a store's lock only while it holds none.
    first: threading.RLock | None = None
    while True:
        locks = [store.lock for store in _own_stores()]
        locks.sort(key=lambda lock: lock is not first)
        # Stop at the first lock that another thread holds. The next round begins with that lock,
        # and waits for it.
        first = next((lock for lock in locks if not _is_taken(fork, lock)), None)
        if first is None:
            fork.locks.take(open_lock)
            # Another thread may have made and opened a store meanwhile. From here on, no store can
            # be opened.
            if all(store.lock in locks for store in _own_stores()):
                return
        fork.let_go()


def _is_taken(fork: _Fork, lock: threading.RLock) -> bool:
    return fork.locks.take(lock, blocking=not fork.locks)


def _before() -> None:
    thread = threading.get_ident()
    forks = _forks.setdefault(thread, [])
    if forks and forks[-1].is_ready:
        return  # the first copy of this hook has done the work
    if not forks:
        _interrupts.clear()
        _masks[thread] = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    fork = _Fork()
    forks.append(fork)
    adopt_process()
    _take_all(fork)
    for store in _own_stores():
        store.close_for_fork()
    for close in close_before_fork:
        close()
    fork.is_ready = True


def _end() -> None:
    # End the last fork whose `_before` ran to its end, and each later one, whose `_before` was
    # interrupted.
    thread = threading.get_ident()
    forks = _forks.get(thread, [])
    while forks:
        is_whole = forks[-1].is_ready
        forks[-1].let_go()
        forks.pop()
        if is_whole:
            break
    if not forks and thread in _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks[thread])
        _masks.pop(thread, None)


def _after_in_child() -> None:
    _interrupts.clear()  # the Ctrl-C was meant for the parent
    forks = _forks.get(threading.get_ident(), [])
    _start_in_child([lock for fork in forks for lock in fork.locks])
    _end()


def _start_in_child(locked: Collection[threading.RLock]) -> None:
    if process_mark.is_own_process():
        return
    for store in snapshot(_live):
        identity = store.inherited_identity
        if identity is None:
            # The forking thread lives on in the child, and releases the locks that it took. Any
            # other lock may be held by a thread that the fork left behind, and would stay locked.
            store.start_in_child(with_new_lock=store.lock not in locked)
        else:
            mark_inherited(identity)
            store.abandon()
    process_mark.adopt()


def _at_exit() -> None:
    # A child of a fork by C code may exit without any call of a store. Its interpreter frees all
    # objects then, and to close the inherited connection would delete the log under the parent.
    adopt_process()
    # Close the other stores while threads still run. Later, the interpreter freezes its daemon
    # threads, and to wait for a lock that a frozen thread holds would never end.
    close_stores(timeout_seconds=1)


def _keeping_ctrl_c(hook: Callable[[], None]) -> Callable[[], None]:
    """Make a hook note a Ctrl-C in `_interrupts`, because CPython would swallow the exception."""

    def keeping() -> None:
        try:
            hook()
        except KeyboardInterrupt:
            _interrupts[:] = [signal.SIGINT]

    return keeping


# Each hook is registered twice, because an exception that a signal handler raises as a hook begins
# skips that copy of the hook. Where the first copy has done the work, the second does nothing.
for _copy in range(2):
    os.register_at_fork(
        before=_keeping_ctrl_c(_before),
        after_in_parent=_keeping_ctrl_c(_end),
        after_in_child=_keeping_ctrl_c(_after_in_child),
    )

# Has Python raise the noted Ctrl-C once the fork has returned. `sorted` is a way to call
# interrupt_main for each noted signal in C. A hook written in Python would be interrupted itself,
# and CPython would swallow the exception.
_raise_kept_interrupts: Final = partial(sorted, _interrupts, key=_thread.interrupt_main)
os.register_at_fork(after_in_parent=_raise_kept_interrupts)

atexit.register(_at_exit)
