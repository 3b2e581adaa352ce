"""Faults inside a worker: signal handlers that use the store, a clock that goes back."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final
from unittest import mock

from workers.worker import Worker

from ._fault import Fault

__all__ = ["Clock", "Signals"]

# Threads of the history that no thread of a worker has.
_HANDLER: Final = 200

_TIMER_SECONDS: Final = 0.003


class Signals(Fault):
    """Handlers that re-enter the store."""

    name = "signals"
    about = (
        "a timer interrupts every worker's main thread every 3 ms, and the signal's handler calls "
        "the store in the middle of whatever was called"
    )
    allows = (
        "a call that is interrupted while it asks for locks keeps the descriptor open, as closing "
        "it would drop the locks of what the handler has opened"
    )
    keeps_descriptors = True

    @contextmanager
    def inside(self, worker: Worker) -> Iterator[None]:
        driver = worker.driver(_HANDLER)
        handled = 0
        is_inside = False

        def handle(_signal: int, _frame: FrameType | None) -> None:
            nonlocal handled, is_inside
            if not is_inside:  # the records of one thread know one call at a time
                is_inside = True
                try:
                    driver.act()
                    handled += 1
                finally:
                    is_inside = False

        before = signal.signal(signal.SIGALRM, handle)
        with worker.log.struck(self.name, "handlers called", number=worker.number) as event:
            signal.setitimer(signal.ITIMER_REAL, _TIMER_SECONDS, _TIMER_SECONDS)
            try:
                yield
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
                event["times"] = handled


class Clock(Fault):
    """The time of day."""

    name = "clock"
    about = (
        "in each worker the clock is set back by up to a day, and right again (a fake time.time)"
    )
    wrong_clock = True

    @contextmanager
    def inside(self, worker: Worker) -> Iterator[None]:
        true_ns = time.time_ns
        off_ns = 0

        def shift() -> None:
            nonlocal off_ns
            while not worker.is_over:
                with worker.log.struck(self.name, "clock set back", number=worker.number) as event:
                    off_ns = -int(worker.random.uniform(0.001, 86_400) * 1e9)
                    event["by_seconds"] = off_ns / 1e9
                    time.sleep(worker.random.uniform(0.01, 0.1))
                off_ns = 0
                time.sleep(worker.random.uniform(0.01, 0.1))

        def false_ns() -> int:
            return true_ns() + off_ns

        def false_seconds() -> float:
            return false_ns() / 1e9

        with (
            mock.patch.object(time, "time_ns", false_ns),
            mock.patch.object(time, "time", false_seconds),
            worker.thread(shift),
        ):
            yield
