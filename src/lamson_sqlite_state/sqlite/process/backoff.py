"""How a call waits for other processes, and for how long."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from ...errors import LockTimeout
from .clock import Clock
from .reentry import LockSet

LOG: Final = logging.getLogger("lamson_sqlite_state")
"""Tells the operator what has to be known afterwards. Nothing is logged where all goes well, and no
mail address."""

_LONG_SECONDS: Final = 1.0


class Backoff:
    """The waiting of one call: short naps, until the call's timeout is used up.

    A blocking flock would be fairer still but knows no timeout; filelock's own polling every
    50 ms makes the slowest of eight writers wait 50 times longer (see ``make bench``).

    Only the first thread in the queue of a store's threads naps and tries again and again, because
    32 threads that all do leave the lock's holder no processor to finish on. The queue is no more
    than advice: a thread that waits in vain for its place, because a signal or an exception took
    the first thread away, tries again by itself.

    Args:
        timeout_seconds: how long the call may wait.
        queue: the place at the head of the queue, one for all threads of a store.

    Attributes:
        place: holds ``queue`` while this call is the first. The call releases ``queue`` at its end,
            so that the next thread becomes the first.
    """

    # Naps are short while the holder is in the middle of a write, and longer, easier on the
    # processor, once the holder must be stopped or stuck. But not so long that a call that has
    # waited for long, on a busy machine, loses to all calls that come later.
    _EAGER_SECONDS: Final = 0.05
    _SHORT_NAP_SECONDS: Final = 0.0001
    _LONG_NAP_SECONDS: Final = 0.001
    _QUEUE_SECONDS: Final = 0.02

    def __init__(self, timeout_seconds: float, queue: threading.RLock) -> None:
        self._timeout_seconds = timeout_seconds
        self._queue = queue
        self.place: LockSet = LockSet()
        self._start = Clock.monotonic()
        self._blocker = ""

    def wait(self, path: str, blocker: str, grace_seconds: float = 0) -> None:
        """Nap once, or wait to become the first.

        Args:
            path: the database.
            blocker: who keeps this call waiting, as a clause.
            grace_seconds: how long to wait for that one at least, whatever the timeout.

        Raises:
            LockTimeout: the timeout is used up.
        """
        self._blocker = blocker
        waited = Clock.monotonic() - self._start
        left = max(self._timeout_seconds, grace_seconds) - waited
        if left <= 0:
            raise LockTimeout(
                f"waited {waited:.1f} s, but {blocker}; nothing was written",
                "find that process (lamson-state check, lsof), or give a longer timeout",
                path,
            )
        if self.place:
            is_eager = waited < self._EAGER_SECONDS
            nap_seconds = self._SHORT_NAP_SECONDS if is_eager else self._LONG_NAP_SECONDS
            time.sleep(min(nap_seconds, left))
        else:
            self.place.take(self._queue, timeout=min(self._QUEUE_SECONDS, left))

    def log(self, path: str) -> None:
        """Log a warning if the call has waited for over a second."""
        waited = Clock.monotonic() - self._start
        if waited > _LONG_SECONDS:
            LOG.warning("%s: a call waited %.1f s, because %s", path, waited, self._blocker)
