"""The numbers of the descriptors that SQLite has: whether they still stand for its files.

A program that becomes a daemon closes all descriptors, also those of an open store, and what it
opens next is given their numbers. SQLite would go on to write into that, and would close it.
"""

import errno
import fcntl
import os
from collections.abc import Collection, Mapping
from typing import Final

from .filesystem import Identity

# How far from the lowest free number to look. New files are given the lowest: between and beyond
# those of SQLite, a few numbers may be free that other files have had meanwhile.
_FARTHEST: Final = 256
_HOLES: Final = 4

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


def lowest_free() -> int:
    """Return the number that the next file to be opened is given."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def found_from(lowest: int, files: Collection[Identity | None]) -> dict[int, Identity]:
    """Return the descriptors of files that were opened since a number was the lowest free one.

    One that another thread's closing has given a lower number is missed.

    Args:
        lowest: the number.
        files: the files. Those of which another connection has the only descriptor have none here.
    """
    found: dict[int, Identity] = {}
    free = 0
    for number in range(lowest, lowest + _FARTHEST):
        identity = _identity(number)
        if identity is None:
            free += 1
        elif identity in files:
            found[number] = identity
            free = 0
        if len(found) == len(files) or free > _HOLES:
            break
    return found


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
