"""The error family: what can go wrong with a store, each with its path and its remedy."""

from typing import Self

__all__ = [
    "LockTimeout",
    "NetworkFilesystem",
    "NoStore",
    "NotAShelf",
    "NotAStateFile",
    "SchemaTooNew",
    "StorageError",
    "UnsafeFork",
]


class StorageError(Exception):
    """Base of all errors a store raises; the message is one line with path and remedy.

    Unless the message says that the outcome is unknown (an I/O error while committing),
    nothing was written. The store itself stays usable: it works again at the next call
    once the cause is gone.

    Args:
        message: what is wrong and what to do about it; the path is put before it.
        path: the file the error is about.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(f"{path}: {message}")
        self.message = message
        self.path = path

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        # Exceptions are pickled as their args, which here are not what __init__ takes;
        # a multiprocessing pool that cannot unpickle a worker's error hangs.
        return type(self), (self.message, self.path)


class LockTimeout(StorageError, TimeoutError):
    """Other writers held the file for longer than ``timeout``. Nothing was written."""


class NotAStateFile(StorageError):
    """The path is a directory, no SQLite database, another application's, or damaged.

    Nothing is written to it. (If its own application crashed, it is brought up to date from
    its log, as by whichever SQLite program opens it first.)
    """


class NoStore(StorageError):
    """There is no store at this path, and the caller did not want one made.

    Raised by an `ExistingStorage` and by the operator's command. Nothing was created.
    """


class NotAShelf(StorageError):
    """The path leads to no file that a ``ShelveStorage`` wrote, or to a damaged one.

    Nothing is written to it or beside it. What was read from it before the damage was met is
    right.
    """


class SchemaTooNew(StorageError):
    """The file was written by a newer version of this package. It is left untouched."""


class UnsafeFork(StorageError):
    """This process was forked, past Python's fork hooks, while the store was open.

    SQLite's bookkeeping of its locks came along with the fork, but the locks did not: going
    on would lose acknowledged writes of this process and of its parent. Raised by every
    call in the child; the parent is not affected. Nothing was written.
    See https://www.sqlite.org/howtocorrupt.html section 2.6.
    """


class NetworkFilesystem(StorageError):
    """The file lies on a file system that machines share, whose processes share no memory.

    Those are network and cluster file systems, object stores that are mounted, and the folders that
    a virtual machine shares with its host (virtiofs, vboxsf).

    SQLite's write-ahead log needs all processes on one host: https://www.sqlite.org/wal.html.
    Nothing was opened or created.
    """
