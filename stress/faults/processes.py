"""Faults that befall processes: killed, stopped, forked, orphaned, many at once."""

import itertools
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from lamson_sqlite_state import SQLiteStorage
from workers.setting import Setting
from workers.stage import Stage
from workers.worker import Worker

from ._fault import Fault, WritersWait

__all__ = ["Crowd", "ForkStorm", "Kill", "Multiprocessing", "Orphan", "ShortLived", "Stop"]

_BY_MULTIPROCESSING: Final = Path(__file__).parent / "_by_multiprocessing.py"
_SCRIPT_SECONDS: Final = 60.0
_METHODS: Final = ("fork", "spawn", "forkserver")
_MOST_SHORT_LIVED: Final = 150
_MOST_ORPHANS: Final = 20

# Out of the way of the workers' numbers.
_FIRST_ORPHAN: Final = 500
_FIRST_SCRIPT: Final = 600


class Kill(Fault):
    """SIGKILL."""

    name = "kill"
    about = (
        "workers are killed (SIGKILL) at random moments, every other time while they hold the "
        "write lock; others take their places"
    )
    allows = "the call in which a process dies may or may not have happened"
    debris = (".versions.new", ".rescue", ".rescue-journal", "-wal", "-shm")

    def strikes(self, stage: Stage) -> Iterator[float]:
        is_holders_turn = True
        while True:
            yield stage.between(0.02, 0.12)
            member = stage.stop_holder() if is_holders_turn else stage.any_worker()
            if member is not None:
                what = "killed with the write lock held" if is_holders_turn else "killed"
                with stage.log.struck(self.name, what, number=member.number):
                    stage.kill(member)
                stage.add_worker()
            is_holders_turn = not is_holders_turn


class Stop(WritersWait):
    """SIGSTOP."""

    name = "stop"
    about = (
        "the process that holds the write lock is stopped (SIGSTOP) for longer than the timeout, "
        "then goes on (SIGCONT)"
    )
    allows = "LockTimeout for those who want to write meanwhile; reading must go on"
    errors = (("LockTimeout", "another process holds"),)
    timeout = 0.4

    def strikes(self, stage: Stage) -> Iterator[float]:
        while True:
            yield stage.between(0.05, 0.2)
            since_ns = time.monotonic_ns()
            member = stage.stop_holder()
            if member is None:
                continue
            try:
                with stage.log.struck(self.name, "stopped with the write lock held") as event:
                    event |= {"number": member.number, "writers_wait": True}
                    yield self.timeout * stage.between(2.0, 3.0)
            finally:
                stage.resume(member, since_ns)


class ForkStorm(Fault):
    """Forks under writing threads."""

    name = "fork-storm"
    about = (
        "in every worker a thread forks again and again while the others write; each child makes "
        "some calls and ends"
    )

    def inside(self, worker: Worker) -> AbstractContextManager[object]:
        def storm() -> None:
            while not worker.is_over:
                with worker.log.struck(self.name, "forked", number=worker.number):
                    pid = os.fork()
                    if not pid:
                        _act_and_exit(worker, worker.random.randrange(1, 30))
                    _, status = os.waitpid(pid, 0)
                if status:
                    code = os.waitstatus_to_exitcode(status)
                    raise RuntimeError(f"a child of the storm ended with {code}")
                time.sleep(worker.random.uniform(0.001, 0.02))

        return worker.thread(storm)


class Orphan(Fault):
    """Children that outlive their parents."""

    name = "orphan"
    about = (
        "a worker forks a child and ends, or is killed, while the child goes on to the end of "
        "the round"
    )
    allows = Kill.allows
    debris = Kill.debris

    def strikes(self, stage: Stage) -> Iterator[float]:
        for number in range(_FIRST_ORPHAN, _FIRST_ORPHAN + _MOST_ORPHANS):
            yield stage.between(0.03, 0.15)
            ready, writer = os.pipe()
            try:
                with stage.log.struck(self.name, "left a child behind", number=number):
                    parent = stage.crew.fork(
                        "parent of an orphan",
                        partial(_leave_child, stage, writer),
                        number=number,
                    )
                    os.close(writer)
                    os.read(ready, 1)  # the child is at work
                    if stage.random.random() < 0.5:
                        stage.kill(parent)
            finally:
                os.close(ready)


class ShortLived(Fault):
    """Workers that open, write once and exit."""

    name = "short-lived"
    about = "processes come that open the file, write once and end, closing it or not"

    def strikes(self, stage: Stage) -> Iterator[float]:
        for _ in range(_MOST_SHORT_LIVED):  # each has a sender of its own
            yield stage.between(0.0, 0.02)
            with stage.log.struck(self.name, "came, wrote and went"):
                stage.crew.fork("short-lived", partial(_write_once, stage))


class Crowd(Fault):
    """64 processes."""

    name = "crowd"
    about = "64 processes at once, however few processors there are"
    workers = 64

    def strikes(self, stage: Stage) -> Iterator[float]:
        with stage.log.struck(self.name, "64 processes at once"):
            yield stage.between(0.5, 1.0)


class Multiprocessing(Fault):
    """The standard library's ways to start a process."""

    name = "multiprocessing"
    about = "processes are started by multiprocessing in all three ways, with the store pickled"

    def strikes(self, stage: Stage) -> Iterator[float]:
        for number in itertools.count(_FIRST_SCRIPT, step=len(_METHODS)):
            with ExitStack() as stack:
                for place, method in enumerate(_METHODS):
                    stack.enter_context(stage.log.struck(self.name, f"started by {method}"))
                    stack.enter_context(_script(stage.setting, method, number + place))
                yield stage.between(0.5, 1.5)


def _act_and_exit(worker: Worker, calls: int) -> None:
    code = 1
    try:
        driver = worker.grandchild()
        for _ in range(calls):
            driver.act()
        code = 0
    finally:
        os._exit(code)


def _leave_child(stage: Stage, ready: int, number: int) -> None:
    store = stage.setting.new_store()
    worker = Worker(stage.setting, stage.board, store, number)
    driver = worker.driver(0)
    driver.act()
    if not os.fork():
        child = worker.grandchild()
        child.act()
        os.write(ready, b".")
        os.close(ready)
        child.run()
        os._exit(0)
    os.close(ready)
    for _ in range(20):
        driver.act()
    # Without closing anything: `Crew` ends it with os._exit.


def _write_once(stage: Stage, number: int) -> None:
    worker = Worker(stage.setting, stage.board, stage.setting.new_store(), number)
    worker.driver(0).caller.set_own()
    if worker.random.random() < 0.5:
        assert isinstance(worker.store, SQLiteStorage)
        worker.store.close()


@contextmanager
def _script(setting: Setting, method: str, number: int) -> Iterator[None]:
    """Run a program that starts processes, and wait for its end when the block is left."""
    errors = setting.directory / f"{number}.stderr"
    with errors.open("wb") as stderr:
        script = subprocess.Popen(
            [sys.executable, _BY_MULTIPROCESSING, method, str(number)],
            stdin=subprocess.PIPE,
            stderr=stderr,
            process_group=0,  # a Ctrl-C at the terminal is not for it
        )
    assert script.stdin is not None
    with script.stdin:
        pickle.dump(setting, script.stdin)
    try:
        yield
    finally:
        if script.wait(_SCRIPT_SECONDS):
            text = errors.read_text()
            raise RuntimeError(f"multiprocessing ({method}) ended with {script.returncode}: {text}")
