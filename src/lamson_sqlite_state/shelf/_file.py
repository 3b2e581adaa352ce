"""Reads parts of a shelf's file, and refuses offsets that lead outside of the file."""

import errno
import os
import stat
import struct
from collections.abc import Container
from typing import Final

from ..errors import NotAShelf, Obstacle, StorageError, from_os_error

_NOT_READABLE: Final = Obstacle(
    "permission-denied", "give this user permission to read it and to enter its directories"
)

_OBSTACLES: Final = {
    errno.EACCES: _NOT_READABLE,
    errno.EPERM: _NOT_READABLE,
    errno.ELOOP: Obstacle("wrong-file-type", "look at the links on the path"),
}


def reading_error(error: OSError, path: str) -> StorageError:
    """Return the error to raise ``from`` an `OSError` met in reading ``path``."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        remedy = "give the path that ShelveStorage was given"
        return NotAShelf("there is no such file", remedy, path)
    return from_os_error(error, path, _OBSTACLES.get(error.errno or 0))


def damaged(why: str, path: str) -> NotAShelf:
    """Return the error to raise where a file contradicts itself."""
    return NotAShelf(
        f"this file is damaged ({why})",
        "take it from a backup, and only while no mail server writes to it",
        path,
        code="damaged",
    )


def byte_order(start: bytes, at: int, magics: Container[int]) -> str | None:
    """Return the byte order in which a magic number stands at an offset, or None if none does."""
    for order in "<>":
        if len(start) >= at + 4 and struct.unpack_from(order + "I", start, at)[0] in magics:
            return order
    return None


def is_page_size(size: int, smallest: int) -> bool:
    """Whether Berkeley DB makes pages of this size: a power of 2, of at most 64 KiB."""
    return smallest <= size <= 65536 and size & (size - 1) == 0


class Source:
    """One regular file, opened for reading; every read is checked against the file's size.

    The file is read with ``pread`` and not mapped into memory, for two reasons. A file that is
    truncated meanwhile is an error, where a mapping would kill the process (SIGBUS). And the bytes
    that have been read do not stay in the memory of this process.

    Raises:
        NotAShelf: there is no such file, or it is a directory, a pipe or the like.
        StorageError: the file may not be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # O_NONBLOCK, because opening a named pipe would wait for a writer.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise reading_error(error, path) from error
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise NotAShelf("this is no regular file", "give the path of a shelf", path)
        self.size = found.st_size

    def close(self) -> None:
        """Close the file. A second time, do nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def damaged(self, why: str) -> NotAShelf:
        """Return the error to raise where this file contradicts itself."""
        return damaged(why, self.path)

    def holds(self, offset: int, length: int) -> bool:
        """Whether ``length`` bytes from ``offset`` lie in the file."""
        return min(offset, length) >= 0 and offset + length <= self.size

    def start(self, length: int) -> bytes:
        """Return the first ``length`` bytes, or all bytes if there are fewer."""
        return self.read(0, min(length, self.size))

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``.

        Raises:
            NotAShelf: the bytes do not lie in the file, or the file has been truncated.
            StorageError: the file system failed.
            ValueError: the source is closed.
        """
        if not self.holds(offset, length):
            raise self.damaged("something in it points outside of it")
        if self._descriptor < 0:
            raise ValueError("the shelf is closed")
        try:
            read = os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise reading_error(error, self.path) from error
        if len(read) != length:
            raise self.damaged("it has become shorter while it was read")
        return read
