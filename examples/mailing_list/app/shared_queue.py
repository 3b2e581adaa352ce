"""One maildir, many workers: what Salmon's QueueReceiver needs to be run more than once.

Salmon's own Queue is made for one consumer. It reads a message and removes it afterwards,
so two processes can get the same one; the slower one's FileNotFoundError ends its loop;
and a message that can't be decoded is removed and lost.
"""

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from typing import Final, Protocol

from salmon import queue
from salmon.mail import MailRequest
from salmon.server import QueueReceiver

LOG = logging.getLogger("shared_queue")

HANDLED: Final = "handled"
UNROUTED: Final = "no handler"
FAILED: Final = "handler failed"
UNDECODABLE: Final = "undecodable"
"""The outcomes, one for each message; all but the first are kept among the undeliverable."""

Report = Callable[[str, str], None]
"""Takes the message's key and its outcome, once it is no longer in the queue."""

POLL_SECONDS: Final = 0.02


class Lifeline(Protocol):
    """Says whether to go on."""

    def is_cut(self, wait_seconds: float = 0.0) -> bool:
        """Tell whether it is time to stop, at the latest after this many seconds."""
        ...


class UndeliverableQueue(queue.Queue):
    """Keeps messages nothing could be done with, and remembers for each thread why.

    It keeps what came in, byte for byte, where Salmon would keep its own rendering: the
    messages that end up here are those that can't always be rendered.
    """

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self._thread = threading.local()

    def push(self, message: MailRequest | bytes) -> str:
        """Keep the message; its key is returned."""
        # The Router pushes from an except block if a handler failed, else because none was found.
        self._thread.outcome = UNROUTED if sys.exception() is None else FAILED
        return super().push(message if isinstance(message, bytes) else message.Data)

    def take_outcome(self) -> str:
        """Return what became of the message this thread has just processed."""
        outcome, self._thread.outcome = getattr(self._thread, "outcome", HANDLED), HANDLED
        return outcome


class SharedQueue(queue.Queue):
    """A maildir from which every message is taken by exactly one worker.

    A worker claims a message by renaming it from ``new`` to ``cur``: the system lets one of
    them succeed. It leaves ``cur`` when it has been processed, so a worker that is killed
    leaves what it held there, and `recover` puts that back. No worker holds more than
    ``at_once`` messages: what it doesn't hold others can take, and it is soon done when it
    is told to stop.
    """

    def __init__(
        self,
        directory: str,
        undeliverable: UndeliverableQueue,
        lifeline: Lifeline,
        report: Report,
        at_once: int,
    ) -> None:
        super().__init__(directory)
        self._free = threading.Semaphore(at_once)
        self._undeliverable = undeliverable
        self._lifeline = lifeline
        self._report = report
        self._seen: deque[str] = deque()

    def __len__(self) -> int:
        """Wait for mail, and say how much there is; 0 means that it is time to stop.

        That is what Salmon's loop needs in its one-shot form, which ends when its queue is
        empty: ours never is while there is work to come.
        """
        while not self._lifeline.is_cut():
            if self._seen or self._look():
                return len(self._seen)
            self._lifeline.is_cut(POLL_SECONDS)
        return 0

    def pop(self) -> tuple[str, MailRequest]:
        """Claim a message that nobody else can have any more; KeyError when there is none.

        Waits while this worker holds all that it may. Each message must be let go of.
        """
        self._free.acquire()
        try:
            return self._claim_next()
        except BaseException:
            self._free.release()
            raise

    def let_go(self) -> None:
        """Say that a message which was popped is no longer being worked on."""
        self._free.release()

    def settle(self, key: str, outcome: str) -> None:
        """Remove a message that was claimed, and report what became of it."""
        os.unlink(self._path("cur", key))
        self._report(key, outcome)

    def _claim_next(self) -> tuple[str, MailRequest]:
        while self._seen or self._look():
            key = self._seen.popleft()
            try:
                os.rename(self._path("new", key), self._path("cur", key))
            except FileNotFoundError:
                continue  # another worker was faster
            with open(self._path("cur", key), "rb") as claimed:
                data = claimed.read()
            try:
                return key, self._decode(key, data)
            except Exception:  # whatever real mail makes the parsers raise
                LOG.exception("%s can't be decoded", key)
                self._set_aside(key, data)
        raise KeyError

    def _set_aside(self, key: str, data: bytes) -> None:
        try:
            self._undeliverable.push(data)
            self._undeliverable.take_outcome()
            self.settle(key, UNDECODABLE)
        except OSError:
            # A full disk. It stays claimed, and the worker, who can do without it, goes on.
            LOG.exception("%s stays in the queue", key)

    def _decode(self, key: str, data: bytes) -> MailRequest:
        trace = BytesHeaderParser().parsebytes(data)
        # Empty is what stands for a bounce's MAIL FROM:<>, and Salmon wants None for it.
        sender = parseaddr(str(trace["Return-Path"] or ""))[1] or None
        recipient = parseaddr(str(trace["Delivered-To"] or ""))[1] or None
        message = MailRequest(self.dir, sender, recipient, data)
        message.queue_key = key
        return message

    def _look(self) -> bool:
        # Names begin with the time of arrival.
        self._seen.extend(sorted(os.listdir(os.path.join(self.dir, "new"))))
        return bool(self._seen)

    def _path(self, folder: str, key: str) -> str:
        return os.path.join(self.dir, folder, key)


def recover(directory: str) -> int:
    """Put back what killed workers held, while none is running; returns how many there were."""
    held = os.listdir(os.path.join(directory, "cur"))
    for key in held:
        os.rename(os.path.join(directory, "cur", key), os.path.join(directory, "new", key))
    return len(held)


class SharedQueueReceiver(QueueReceiver):
    """Salmon's receiver on a queue that other workers take from, too."""

    def __init__(
        self, shared: SharedQueue, undeliverable: UndeliverableQueue, threads: int
    ) -> None:
        super().__init__(shared.dir, sleep=POLL_SECONDS, workers=threads)
        self.queue = shared
        self._undeliverable = undeliverable

    def process_message(self, msg: MailRequest) -> None:
        """Process one message to its end: it leaves the queue afterwards and not before."""
        try:
            super().process_message(msg)
            self.queue.settle(msg.queue_key, self._undeliverable.take_outcome())
        except Exception:
            # Not even the undeliverable could be kept: a full disk. It stays claimed.
            LOG.exception("%s stays in the queue", msg.queue_key)
        finally:
            self.queue.let_go()
