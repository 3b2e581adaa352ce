"""The child's side of a fork: Salmon's QueueReceiver until the lifeline is cut."""

import json
import logging
import os
import select
import signal
from contextlib import suppress
from types import FrameType

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
    # Modules of the application, which the parent has imported from where it was installed.
    from app.shared_queue import SharedQueue, SharedQueueReceiver
    from config import settings
    from salmon.routing import Router

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
    shared = SharedQueue(settings.queue_dir, undeliverable, lifeline, report, at_once=THREADS)
    SharedQueueReceiver(shared, undeliverable, THREADS).start(one_shot=True)
    logging.info("worker has ended")
