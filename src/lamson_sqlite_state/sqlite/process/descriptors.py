"""Notices when descriptors that SQLite has opened do not stand for SQLite's files any more.

A program that becomes a daemon closes all descriptors, also those of an open store. The files that
the program opens next are given the same numbers. SQLite would write into those files, and close
them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Collection, Mapping
from typing import Final

from .filesystem import Identity

# New files are given the lowest free number. So SQLite's descriptors are looked for from there on:
# up to so many numbers further, and until more than so many free numbers in a row were met, which
# other files may have had meanwhile.
_FARTHEST: Final = 256
_HOLES: Final = 4

MARK: Final = 2**30 + int.from_bytes(os.urandom(3), "big")
"""A random file position, which tells a lock file's descriptor from those of other files. Nothing
is read or written through that descriptor, so its position is free for this use, and asking for a
position takes a quarter of the time of `fstat`."""


def has_mark(descriptor: int) -> bool:
    """Whether a descriptor that was set to position `MARK` still stands for the same file."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_CUR) == MARK
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ESPIPE):
            raise
        return False


def lowest_free() -> int:
    """Return the descriptor that the next file to be opened will be given."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def found_from(lowest: int, files: Collection[Identity | None]) -> dict[int, Identity]:
    """Return the descriptors of files that were opened since a number was the lowest free one.

    A file that got a lower number, because another thread has closed one meanwhile, is missed. So
    is a file that another connection of this process had open already: SQLite opens no second
    descriptor of a -shm.

    Args:
        lowest: the number.
        files: the files.
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
    """Whether any of these descriptors does not stand for its file any more."""
    return any(_identity(number) != identity for number, identity in descriptors.items())


def secured(descriptors: Mapping[int, Identity]) -> bool:
    """Whether all may be closed: each still stands for its file, or for no file at all.

    A number that is free is taken for /dev/null, so that another thread that opens a file before
    the closing is not given that number.
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
    # Read-only, so that SQLite can neither write to it, nor lock it and believe that the lock
    # excludes others.
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
