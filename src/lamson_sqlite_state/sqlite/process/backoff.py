"""Makes a call wait for other processes in short naps, until the call's timeout is used up."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from ...errors import LockTimeout
from .clock import Clock
from .reentry import LockSet

LOG: Final = logging.getLogger("lamson_sqlite_state")
"""Tells the operator of events that may matter later: a store was made, mended or replaced, or a
call waited for long. No mail address is logged."""

_LONG_SECONDS: Final = 1.0


class Backoff:
    """The waiting of one call: short naps, until the call's timeout is used up.

    A blocking flock would be fairer, but has no timeout. With filelock's own polling every 50 ms,
    the slowest of eight writers waits 50 times longer (see ``make bench``).

    Only the first of a store's waiting threads tries again after each nap, because 32 threads that
    all did so would leave the lock's holder no processor to finish on. Each other thread waits for
    the first place. If it has not got that place after 20 ms, it tries again all the same, because
    a signal or an exception may have taken the first thread away.

    Args:
        timeout_seconds: how long the call may wait.
        queue: the lock that the first of the waiting threads holds, one for all threads of a store.

    Attributes:
        place: holds ``queue`` while this call is the first. The call releases ``queue`` at its end,
            so that the next thread becomes the first.
    """

    # At first, naps are short, because the holder is probably in the middle of a write. Later, the
    # holder is probably stopped or stuck. Then naps are longer, to save the processor. But they
    # stay so short that on a busy machine, a call that has waited for long still gets its chance
    # against calls that come later.
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
        """Nap once if this call is the first; otherwise wait to become the first.

        Args:
            path: the database.
            blocker: what keeps this call waiting, as a clause for the error.
            grace_seconds: how long to wait at least, whatever the timeout.

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
