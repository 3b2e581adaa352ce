"""Run a function in a forked child, and have the test fail when the child does.

    assert in_child(store.get, "app", "a@b") == "POSTING"

    with forked(deliver_everything, store) as child:
        store.close()                   # while the child is at work
    # left the block: the child has exited with 0, or the test has failed with its traceback

A child never runs pytest's own exit: it leaves with ``os._exit``, so it flushes no buffers and
runs no handlers that belong to its parent. What it returns or raises comes back over a pipe.
"""

import contextlib
import os
import pickle
import resource
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, NoReturn, ParamSpec, TypeVar

__all__ = ["Child", "forked", "in_child", "in_children", "peak_growth_kib"]

P = ParamSpec("P")
T = TypeVar("T")

# Below pytest's own timeout, so that it is the test that fails and not the whole run.
_TIMEOUT_SECONDS: Final = 40.0


class Child(Generic[T]):
    """A forked process at work. Made by `forked`.

    Attributes:
        pid: its process id.
        was_killed: whether `kill` ended it, or a `wait` that took too long.
    """

    def __init__(self, pid: int, report: int) -> None:
        self.pid = pid
        self.was_killed = False
        self._report: int | None = report
        self._received = b""
        self._status: int | None = None

    def wait(self, timeout_seconds: float = _TIMEOUT_SECONDS) -> T:
        """Return what the function returned, once the child has exited.

        May be called again, and returns the same. A child that takes longer is killed.

        Raises:
            AssertionError: the function raised (its traceback is the message), or the child
                did not exit with 0 in time.
        """
        __tracebackhide__ = True
        is_in_time = self._status is not None or self._receive(time.monotonic() + timeout_seconds)
        if not is_in_time:
            self.kill()
            raise AssertionError(f"child {self.pid} was still running after {timeout_seconds} s")
        status = self._reap()
        outcome: Any = pickle.loads(self._received) if self._received else (None, "")
        result, failure = outcome
        assert not failure, f"in child {self.pid}:\n{failure}"
        code = os.waitstatus_to_exitcode(status)
        assert code == 0, f"child {self.pid} ended with {_described(code)}"
        returned: T = result
        return returned

    def kill(self) -> None:
        """Kill the child with SIGKILL, if it is still there, and wait until it is gone."""
        if self._status is None:
            self.was_killed = True
            os.kill(self.pid, signal.SIGKILL)
            self._reap()

    def _receive(self, deadline: float) -> bool:
        """Read the report until the child is gone. False: it is still there at the deadline."""
        assert self._report is not None
        # The pipe alone does not tell that the child is gone: a grandchild may hold it open.
        process = os.pidfd_open(self.pid) if hasattr(os, "pidfd_open") else -1
        watched = [self._report] + ([process] if process >= 0 else [])
        try:
            while True:
                patience = max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select(watched, [], [], patience)
                if not ready:
                    return False
                if self._report in ready:
                    chunk = os.read(self._report, 65_536)
                    self._received += chunk
                    if chunk:
                        continue
                    watched.remove(self._report)
                if process in ready or not watched:
                    return True
        finally:
            if process >= 0:
                os.close(process)

    def _reap(self) -> int:
        if self._status is None:
            _, self._status = os.waitpid(self.pid, 0)
        if self._report is not None:
            os.close(self._report)
            self._report = None
        return self._status


@contextlib.contextmanager
def forked(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Iterator[Child[T]]:
    """Run ``function`` in a child of this process while the block is at work.

    Leaving the block waits for the child as `Child.wait` does. Where the block itself fails, the
    child is killed, and what it had to say is added to the error as a note. A block that kills
    the child itself need not wait for it.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _run(writing, function, *args, **kwargs)
    os.close(writing)
    child: Child[T] = Child(pid, reading)
    try:
        yield child
    except BaseException as error:
        try:
            child.wait(timeout_seconds=0)
        except AssertionError as failure:
            if str(failure) != str(error):
                error.add_note(str(failure))
        raise
    if not child.was_killed:
        child.wait()


def in_child(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what ``function`` returns when it is run in a forked child."""
    with forked(function, *args, **kwargs) as child:
        return child.wait()


def peak_growth_kib(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> int:
    """Return by how many KiB the peak of a forked child's memory grows while it runs a function."""

    def scene() -> int:
        # Linux counts a child's peak from its parent's, and anew from here.
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        function(*args, **kwargs)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    with forked(scene) as child:
        return child.wait(150)


def in_children(count: int, function: Callable[[int], T]) -> list[T]:
    """Run ``function(0)`` to ``function(count - 1)`` in as many children at the same time.

    None of them starts before all have been forked.
    """
    starting, start = os.pipe()

    def run_when_all_are_there(number: int) -> T:
        os.read(starting, 1)
        return function(number)

    try:
        with contextlib.ExitStack() as stack:
            children = [
                stack.enter_context(forked(run_when_all_are_there, number))
                for number in range(count)
            ]
            os.write(start, b"." * count)
            return [child.wait() for child in children]
    finally:
        os.close(starting)
        os.close(start)


def _run(
    writing: int, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs
) -> NoReturn:
    code = 70
    try:
        try:
            report = pickle.dumps((function(*args, **kwargs), ""))
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it was, the parent reports it
            report = pickle.dumps((None, traceback.format_exc()))
        with open(writing, "wb") as pipe:
            pipe.write(report)
    finally:
        os._exit(code)


def _described(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
