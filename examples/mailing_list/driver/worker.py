"""The child's side of a fork: Salmon's QueueReceiver until the lifeline is cut."""

import importlib
import json
import logging
import os
import select
import signal
from contextlib import suppress
from types import FrameType

from salmon.routing import Router

THREADS = 4


class PipeLifeline:
    """A pipe nothing is ever written to: it ends when the parent closes it, or dies.

    SIGTERM cuts it as well. The handler sets a plain attribute and nothing more: it runs
    between any two instructions, where a lock could be held already.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._has_ended = False

    def is_cut(self, wait_seconds: float = 0.0) -> bool:
        """Tell whether it is time to stop, at the latest after this many seconds."""
        if not self._has_ended:
            readable, _, _ = select.select([self._descriptor], [], [], wait_seconds)
            # Not simply assigned: the signal may have come while we waited.
            if readable:
                self._has_ended = True
        return self._has_ended

    def cut(self, signal_number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM."""
        self._has_ended = True


def work(lifeline_descriptor: int, report_descriptor: int) -> None:
    """Handle mail until there is to be no more; what is held then is handled to its end."""
    # By name, as they are found only where the application was installed.
    settings = importlib.import_module("config.settings")
    shared_queue = importlib.import_module("app.shared_queue")
    lifeline = PipeLifeline(lifeline_descriptor)
    signal.signal(signal.SIGTERM, lifeline.cut)
    # Ctrl-C reaches the whole process group. The parent ends the workers in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def report(key: str, outcome: str) -> None:
        # One write of less than PIPE_BUF bytes: lines of several threads don't mix.
        line = json.dumps([key, outcome]).encode() + b"\n"
        with suppress(BrokenPipeError):  # the parent has died; so will we, of the lifeline
            os.write(report_descriptor, line)

    undeliverable = Router.UNDELIVERABLE_QUEUE
    queue = shared_queue.SharedQueue(
        settings.queue_dir, undeliverable, lifeline, report, at_once=THREADS
    )
    shared_queue.SharedQueueReceiver(queue, undeliverable, THREADS).start(one_shot=True)
    logging.info("worker has ended")
