"""The numbers of the descriptors that SQLite has: whether they still stand for its files.

A program that becomes a daemon closes all descriptors, also those of an open store, and what it
opens next is given their numbers. SQLite would go on to write into that, and would close it.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Collection, Mapping
from typing import Final

from ._filesystem import Identity

__all__ = ["MARK", "are_lost", "found_since", "has_mark", "numbers", "secured"]

_DIRECTORY: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"

MARK: Final = 2**30 + int.from_bytes(os.urandom(3), "big")
"""The position in a file that has no other use for it. To ask for that takes a quarter of the time
that `fstat` takes, and no file of another has the same."""


def has_mark(descriptor: int) -> bool:
    """Whether a descriptor at position `MARK` is still what it was."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_CUR) == MARK
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ESPIPE):
            raise
        return False


def numbers() -> frozenset[int]:
    """Return which descriptors this process has open; none where nobody can tell."""
    # Without the one that the list was read through.
    return frozenset(number for number in _listed() if _identity(number) is not None)


def found_since(before: Collection[int], files: Collection[Identity | None]) -> dict[int, Identity]:
    """Return which descriptors of these files were opened since `numbers` had been asked."""
    there = {number: _identity(number) for number in _listed().difference(before)}
    return {number: found for number, found in there.items() if found and found in files}


def are_lost(descriptors: Mapping[int, Identity]) -> bool:
    """Whether any of these does not stand for its file any more."""
    return any(_identity(number) != identity for number, identity in descriptors.items())


def secured(descriptors: Mapping[int, Identity]) -> bool:
    """Whether all may be closed: each is its file's still, or stands for nothing.

    A number that was free stands for nothing from then on, until it is closed: another thread that
    opens a file meanwhile is not given it.
    """
    taken: list[int] = []
    for number, identity in descriptors.items():
        found = _identity(number)
        if found == identity:
            continue
        if found is None and _take(number):
            taken.append(number)
            continue
        for each in taken:
            os.close(each)
        return False
    return True


def _listed() -> frozenset[int]:
    try:
        return frozenset(map(int, os.listdir(_DIRECTORY)))
    except OSError:
        return frozenset()


def _take(number: int) -> bool:
    # Read-only, so that SQLite can neither write to it nor believe in a lock that excludes others.
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing == number:
        return True
    try:
        got = fcntl.fcntl(nothing, fcntl.F_DUPFD_CLOEXEC, number)
    finally:
        os.close(nothing)
    if got != number:
        os.close(got)
    return got == number


def _identity(number: int) -> Identity | None:
    try:
        found = os.fstat(number)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return None
    return found.st_dev, found.st_ino
