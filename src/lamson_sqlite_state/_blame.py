"""Whose error it is: a signal handler may run between any two of our lines, and may raise there."""

from typing import Final

__all__ = ["is_ours"]

_OUR_MODULES: Final = (__name__.partition(".")[0], "filelock", "os", "contextlib")


def is_ours(error: BaseException) -> bool:
    """Whether an error arose in this package's own work.

    What a handler raises comes out of whatever it interrupted: a missing file of its own, a
    reset connection, the "database is locked" of another database. None of that is for us to
    judge or to swallow.
    """
    step = error.__traceback__
    while step is not None:
        module: str = step.tb_frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _OUR_MODULES:
            return False
        step = step.tb_next
    return True
