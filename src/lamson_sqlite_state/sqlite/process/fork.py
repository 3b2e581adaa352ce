"""What happens around os.fork: no SQLite connection and no file lock ever crosses a fork.

SQLite keeps the book of its POSIX locks per process. A fork copies the book, but not the locks: a
child that goes on, even with a connection of its own, believes in locks that the child does not
hold. An inherited flock descriptor is as bad, because parent and child then hold one lock together.
So every store is closed before a fork, and both sides open it again at their next call.

The hooks of one fork, in order:

1. `_before` blocks all signals in the forking thread, takes the lock of every store, so that no
   thread is inside SQLite, and then `open_lock`, so that no connection can appear. Then it closes
   all stores, and whatever their garbage left open (`close_before_fork`).
2. The kernel forks.
3. `_after_in_child` gives the child's stores new locks where another thread held the old ones.
4. `_end` releases the locks and unblocks the signals, in the parent and in the child.

A signal handler may raise between any two lines: a Ctrl-C that another thread has taken is handled
in the main thread, blocked or not. CPython swallows what is raised in a hook, and forks all the
same. Whatever a hook has taken until then stands in `_forks`, where `_end` finds it. A handler may
also fork or use a store, so a thread may have several forks under way. What a handler opens between
1 and 2 is closed at the end of the call that opened it (`is_about_to_fork`).

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
    """What the hooks need of a store."""

    @property
    def lock(self) -> threading.RLock:
        """The store's own lock: the thread that holds it is alone inside the store."""

    @property
    def inherited_identity(self) -> Identity | None:
        """The database that was open in this store when C code forked this process, if any."""

    def close_for_fork(self) -> None:
        """Close connection and lock descriptor; called with the lock held."""

    def start_in_child(self, *, with_new_lock: bool) -> None:
        """Belong to the calling process from now on."""

    def abandon(self) -> None:
        """Never close the inherited connection, not even when the interpreter exits."""


open_lock: threading.RLock = threading.RLock()
"""Held while a connection is being opened, and across a fork.

The lock guards two things: no connection can appear between the closing of all stores and the fork;
and no two threads open and probe one file at once (see `engine.open_database`). Its holder waits
for nothing but the disk.
"""

close_before_fork: Final[list[Callable[[], None]]] = []
"""What else has to be closed before each fork; called with all locks held."""

_live: Final[weakref.WeakSet[Any]] = weakref.WeakSet()

_inherited: Final[set[Identity]] = set()
"""Databases that were open here when C code forked this process. SQLite's book of this process is
wrong about them for good."""


class _Fork:
    """One fork under way: the locks that are held for it, and whether all is closed."""

    def __init__(self) -> None:
        self.locks = LockSet()
        self.is_ready = False

    def let_go(self) -> None:
        """Release all locks that were taken; harmless where that was done."""
        self.is_ready = False
        any(self.locks.releases)  # one call into C: see rule 1 of `reentry`
        self.locks = LockSet()


_forks: Final[dict[int, list[_Fork]]] = {}
"""The forks under way, by the id of their thread; several in one if a signal handler forks."""

_masks: Final[dict[int, set[int]]] = {}
"""The signals that were blocked before the outermost fork of each thread. No signal is to be
handled in the forking thread between the hooks: a handler that uses a store would open the store
again."""

_interrupts: Final[list[int]] = []
"""SIGINT, if a Ctrl-C has struck in the middle of a hook of the last fork."""


def register(store: ForkAware) -> None:
    """Have ``store`` closed before every fork, for as long as it lives."""
    adopt_process()
    _live.add(store)


def close_stores(timeout_seconds: float = 0) -> None:
    """Close every store that no other thread is in.

    Args:
        timeout_seconds: how long to wait for the other thread to leave each store.
    """
    for store in _own_stores():
        locks = LockSet()
        try:
            if locks.take(store.lock, timeout=timeout_seconds):
                store.close_for_fork()
        finally:
            any(locks.releases)


def is_about_to_fork() -> bool:
    """Whether this thread has begun our hook before a fork, and not ended those after the fork.

    A hook of an application's that was registered before ours runs there, and a signal handler
    may: what they open, our hook may have closed already.
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

    Every store that was closed at that fork gets a new lock, because a thread that did not come
    along may hold the old one. A store that was open stays marked as inherited.
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
    # Two threads may hold and want two stores in opposite order: a fork here, a signal handler
    # that uses a second store there. So wait for one lock only while holding none.
    first: threading.RLock | None = None
    while True:
        locks = [store.lock for store in _own_stores()]
        locks.sort(key=lambda lock: lock is not first)
        # all() stops at the first lock that another thread has: begin again by waiting for that.
        first = next((lock for lock in locks if not _is_taken(fork, lock)), None)
        if first is None:
            fork.locks.take(open_lock)
            # A store made meanwhile may be open already; from here on none can be opened.
            if all(store.lock in locks for store in _own_stores()):
                return
        fork.let_go()


def _is_taken(fork: _Fork, lock: threading.RLock) -> bool:
    return fork.locks.take(lock, blocking=not fork.locks)


def _before() -> None:
    thread = threading.get_ident()
    forks = _forks.setdefault(thread, [])
    if forks and forks[-1].is_ready:
        return  # the other copy of this hook did it
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
    # Ends the last fork whose hooks came through, and those on top of it that were interrupted.
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
            # The forking thread came along and releases what it locked. Any other lock may
            # be held by a thread that did not come along, and would never be free again.
            store.start_in_child(with_new_lock=store.lock not in locked)
        else:
            mark_inherited(identity)
            store.abandon()
    process_mark.adopt()


def _at_exit() -> None:
    # The child of a fork by C code that never calls us still frees its objects when it exits, and
    # closing the inherited connection then would delete the log under its parent.
    adopt_process()
    # The other stores are closed while threads still run: later, a daemon thread that was frozen
    # with one of our locks would keep the interpreter from ever ending.
    close_stores(timeout_seconds=1)


def _keeping_ctrl_c(hook: Callable[[], None]) -> Callable[[], None]:
    """Have a Ctrl-C in the middle of a hook noted in `_interrupts`, not swallowed by CPython."""

    def keeping() -> None:
        try:
            hook()
        except KeyboardInterrupt:
            _interrupts[:] = [signal.SIGINT]

    return keeping


# Registered twice, because an exception that a signal handler raises as a hook begins skips that
# copy of the hook. Where the first copy has done the work, the second does nothing.
for _copy in range(2):
    os.register_at_fork(
        before=_keeping_ctrl_c(_before),
        after_in_parent=_keeping_ctrl_c(_end),
        after_in_child=_keeping_ctrl_c(_after_in_child),
    )

# Raises what was kept, once the fork has returned. `sorted` calls interrupt_main for each item of
# the list in C: a hook in Python would be interrupted itself, and CPython would swallow that.
_raise_kept_interrupts: Final = partial(sorted, _interrupts, key=_thread.interrupt_main)
os.register_at_fork(after_in_parent=_raise_kept_interrupts)

atexit.register(_at_exit)
