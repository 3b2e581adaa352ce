"""What happens around os.fork: no SQLite connection and no file lock ever crosses one.

SQLite keeps the book of its POSIX locks per process, and the book comes along with a fork
while the locks do not: a child that goes on, even with a connection of its own, believes in
locks it does not hold. An inherited flock descriptor is as bad, as parent and child then hold
one lock together. So every store is closed before a fork, under its lock so that no thread is
inside SQLite, and both sides open again at their next call.

Locks, in the order they are taken: the RLock of every live store, then `open_lock`.
"""

import _thread
import atexit
import contextlib
import mmap
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from .filesystem import Identity
from .reentry import LockSet

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


open_lock: threading.RLock = threading.RLock()
"""Held while a connection is being opened, and across a fork.

It guards two things: no connection can appear between the hooks' closing of all stores and
the fork itself; and no two threads open and probe one file at once (see `database`). A
holder waits for nothing but the disk.
"""

_live: Final["weakref.WeakSet[Any]"] = weakref.WeakSet()
_inherited: Final[set[Identity]] = set()
"""Databases that were open here when this process was forked past the hooks. SQLite's book of
this process is wrong about them for good."""

close_before_fork: Final[list[Callable[[], None]]] = []
"""What else has to be closed before each fork; called with all locks held."""

_pid = os.getpid()

_MADV_WIPEONFORK: Final = 18  # linux/mman.h, from Linux 4.14 on; Python has no name for it


class Mark(Protocol):
    """Says by its first item whether this process is the one that set it."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


class _ByProcessId:
    """Asks the kernel each time, which takes eight times as long."""

    def __getitem__(self, _index: int) -> int:
        return _pid == os.getpid()

    def __setitem__(self, _index: int, _value: int) -> None:
        pass


def _new_mark() -> Mark:
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(-1)  # an emulator that takes any advice follows none (old QEMU)
        except OSError:
            with contextlib.suppress(OSError):
                page.madvise(_MADV_WIPEONFORK)
                page[0] = 1
                return memoryview(page)
    return _ByProcessId()


process_mark: Final = _new_mark()
"""0 in a process that was forked, by whatever way, until it has been adopted."""

NO_PROCESS: Final[Mark] = memoryview(bytearray(1))
"""For what belongs to no process that runs."""


class _Fork:
    """What the hooks of one fork hold.

    The hooks must neither leave a lock behind nor miss one, though a signal handler may raise
    between any two of their lines (Ctrl-C), and CPython swallows what is raised in a hook.
    """

    def __init__(self) -> None:
        self.locks = LockSet()
        self.is_ready = False

    def let_go(self) -> None:
        """Release all locks that were taken; harmless where that was done."""
        self.is_ready = False
        any(self.locks.releases)
        self.locks = LockSet()


_forks: Final[dict[int, list[_Fork]]] = {}
"""The forks under way, by the id of their thread; several in one if a signal handler forks."""


def is_about_to_fork() -> bool:
    """Whether this thread is between the beginning of our hook before a fork and those after it.

    A hook of an application's that was registered before ours runs there, and a signal handler
    may: what they open, the hook before the fork may have closed already.
    """
    return bool(_forks.get(threading.get_ident()))


_masks: Final[dict[int, set[int]]] = {}
"""The signals that were blocked before the outermost of them. Between our hooks no signal is
to be handled in the forking thread: a handler that uses a store would open it again."""


_interrupts: Final[list[int]] = []
"""SIGINT, if Ctrl-C has struck inside of a hook of the last fork."""


def register(store: ForkAware) -> None:
    """Have ``store`` closed before every fork, for as long as it lives."""
    adopt_process()
    _live.add(store)


def close_stores() -> None:
    """Close every store that no other thread is in."""
    for store in snapshot(_live):
        if store.inherited_identity is None:
            locks = LockSet()
            try:
                if locks.take(store.lock, blocking=False):
                    store.close_for_fork()
            finally:
                any(locks.releases)


def was_inherited(identity: Identity) -> bool:
    """Whether SQLite's bookkeeping of this database came here through an unhooked fork."""
    return identity in _inherited


def mark_inherited(identity: Identity) -> None:
    """Remember that a database was open here at an unhooked fork."""
    _inherited.add(identity)


def adopt_process() -> None:
    """Notice a fork that went past Python's hooks (C code: uWSGI), as far as it can be mended.

    Every store that was closed at that fork gets a fresh lock, as a thread that did not come
    along may hold the old one. A store that was open stays marked as inherited.
    """
    global open_lock
    if _pid == os.getpid():
        return
    open_lock = threading.RLock()
    _forks.clear()
    _start_in_child(locked=())


def _start_in_child(locked: Collection[threading.RLock]) -> None:
    global _pid
    if _pid == os.getpid():
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
    _pid = os.getpid()
    process_mark[0] = 1


def snapshot(of: "weakref.WeakSet[T]") -> list[T]:
    """Return what is in a set that other threads and signal handlers may add to meanwhile."""
    while True:
        try:
            return list(of)
        except RuntimeError:  # it changed its size while we were counting
            continue


def _take_all(fork: _Fork) -> None:
    # Two threads may hold and want two stores in opposite order: a fork here, a signal
    # handler that uses a second store there. So wait for one lock only while holding none.
    first: threading.RLock | None = None
    while True:
        locks = [store.lock for store in snapshot(_live) if store.inherited_identity is None]
        locks.sort(key=lambda lock: lock is not first)
        for lock in locks:
            if not fork.locks.take(lock, blocking=not fork.locks):
                first = lock
                fork.let_go()
                break
        else:
            fork.locks.take(open_lock)
            # A store made meanwhile may be open already; from here on none can be opened.
            if all(
                store.lock in locks for store in snapshot(_live) if store.inherited_identity is None
            ):
                return
            fork.let_go()


def _kept(hook: Callable[[], None]) -> Callable[[], None]:
    """Have a Ctrl-C in the middle of a hook kept for `_interrupts`, not swallowed by CPython.

    Blocking it does not help where other threads are: one of them takes the signal, and the
    handler runs in the main thread all the same.
    """

    def kept() -> None:
        try:
            hook()
        except KeyboardInterrupt:
            _interrupts[:] = [signal.SIGINT]

    return kept


def _before() -> None:
    thread = threading.get_ident()
    forks = _forks.setdefault(thread, [])
    if forks and forks[-1].is_ready:
        return  # by the hook before this one
    if not forks:
        _interrupts.clear()
        _masks[thread] = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    fork = _Fork()
    forks.append(fork)
    adopt_process()
    _take_all(fork)
    for store in snapshot(_live):
        if store.inherited_identity is None:
            store.close_for_fork()
    for close in close_before_fork:
        close()
    fork.is_ready = True


def _let_go() -> None:
    # Those of hooks that were interrupted, too.
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


def _after_in_parent() -> None:
    _let_go()


def _after_in_child() -> None:
    _interrupts.clear()  # it was meant for the parent
    forks = _forks.get(threading.get_ident(), [])
    _start_in_child([lock for fork in forks for lock in fork.locks])
    _let_go()


def _at_exit() -> None:
    # A child of an unhooked fork that never calls us still frees its objects when it exits, and
    # closing the inherited connection then would delete the log under its parent.
    adopt_process()
    # The others are closed while threads still run: later, a daemon thread that was frozen
    # with one of our locks would keep the interpreter from ever ending.
    for store in snapshot(_live):
        locks = LockSet()
        try:
            if store.inherited_identity is None and locks.take(store.lock, timeout=1):
                store.close_for_fork()
        finally:
            any(locks.releases)


# Twice, as an exception that a signal handler raises on the doorstep of a hook skips that one.
for _twice in range(2):
    os.register_at_fork(
        before=_kept(_before),
        after_in_parent=_kept(_after_in_parent),
        after_in_child=_kept(_after_in_child),
    )
# Last, and in C alone, so that the handler runs when the fork has returned: it calls
# interrupt_main for what is in the list.
os.register_at_fork(after_in_parent=partial(sorted, _interrupts, key=_thread.interrupt_main))
atexit.register(_at_exit)
