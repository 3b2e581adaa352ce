"""How a check looks again and again at what should last a moment only."""

import time
from collections.abc import Iterator
from typing import Final

from ..process.clock import Clock

# So many naps one may take at most: one that took longer had this process stopped or starved, and
# with it perhaps whoever it looks at, who is to have the time that is left to go on.
_NAPS: Final = 10


def looks(seconds: float, nap_seconds: float) -> Iterator[None]:
    """Yield for each look that is to be taken, for so long at least; take a nap between two.

    Of a time in which this process was held up (suspended, throttled, stopped with Ctrl-Z),
    hardly anything counts. So there are always a number of looks behind it.
    """
    looked, last = 0.0, Clock.monotonic()
    yield
    while looked < seconds:
        time.sleep(nap_seconds)
        now = Clock.monotonic()
        looked += min(now - last, _NAPS * nap_seconds)
        last = now
        yield
