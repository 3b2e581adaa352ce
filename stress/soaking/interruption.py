"""A Ctrl-C that is heeded wherever it strikes.

Python's own handler raises KeyboardInterrupt, and that is lost where CPython reports what is
raised and goes on: in the hooks of a fork (`logging` has some), in destructors, in callbacks of
the garbage collector. A run forks thousands of times. So it is remembered as well, and who goes
round a loop asks.
"""

import os
import signal
from types import FrameType

__all__ = ["has_come", "heed", "listen"]

_has_come = False


def listen() -> None:
    """Have SIGINT and SIGTERM raise KeyboardInterrupt in this process, and be remembered.

    A forked process ignores them until it sets handlers of its own: who forked it, which the
    terminal interrupts as well, says when it is to end.

    A shell that starts a command in the background has it ignore Ctrl-C; that ends here, too.
    """
    pid = os.getpid()

    def strike(_number: int, _frame: FrameType | None) -> None:
        if os.getpid() == pid:
            global _has_come
            _has_come = True
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, strike)


def has_come() -> bool:
    """Whether one has struck since `listen`."""
    return _has_come


def heed() -> None:
    """Raise the one that has struck, if there was one.

    Not for what is done after it on its account: there it would strike again and again.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if _has_come:
        raise KeyboardInterrupt
