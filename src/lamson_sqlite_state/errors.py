"""The errors: what can go wrong with a store, in parts for people and for programs.

Every error has a ``code`` for programs. The codes stay the same from release to release. Each code
with what had been written when the error was raised, and its meaning:

    code                   written   meaning
    bad-row                before    A file to be imported has something in it that is no row.
    damaged                before    A store, a copy or a shelf contradicts itself.
    descriptors-lost       nothing   The process closed the open store's file descriptors.
    disk-full              nothing   The disk, the quota or the limit on file sizes is used up.
    file-exists            nothing   The name is taken, and the file may not be replaced.
    hard-links             nothing   The database has several names.
    in-use                 nothing   A running program, or the store itself, has the file given.
    io-error               nothing   The file system failed in another way than those here.
    lock-timeout           nothing   Other writers held the file for longer than the timeout.
    mounted-alone          nothing   The database is mounted without the files beside it.
    network-filesystem     nothing   The file system is one that machines share.
    no-store               nothing   There is no store, and none was to be made.
    no-temporary-file      nothing   There is no place for a temporary file.
    not-a-shelf            nothing   The path leads to no file that a ShelveStorage wrote.
    not-a-state-file       nothing   The path leads to something that is no store.
    old-shelf              nothing   The path leads to a shelf, or one stands beside it.
    outcome-unknown        unknown   The disk failed while a write was committed.
    path-too-long          nothing   SQLite or the file system cannot open so long a path.
    permission-denied      nothing   This user may not do that.
    read-only              nothing   The file system is mounted read-only.
    rename-unsupported     nothing   The file system cannot name a file without replacing another.
    schema-too-new         nothing   A newer version of this package wrote the file.
    sqlite-error           nothing   SQLite failed in another way than those here.
    storage-error          nothing   None of the others. This package raises no such error.
    too-many-files         nothing   No file descriptors are, or were, left.
    unreadable-row         nothing   A row of the store is one that no store has written.
    unsafe-fork            nothing   C code forked the process while the store was open.
    unsuitable-filesystem  nothing   The file system has no locks, or no shared memory.
    wrong-file-type        nothing   A directory, link or device stands where a file has to be.

"before" means: the rows before the bad one in a file or a copy may have been imported. A command
that works in batches (import, restore, prune) has written the batches before the error in any case.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "Code",
    "LockTimeout",
    "NetworkFilesystem",
    "NoStore",
    "NotAShelf",
    "NotAStateFile",
    "SchemaTooNew",
    "StorageError",
    "UnsafeFork",
]

# fmt: off
Code: TypeAlias = Literal[
    # What is there, or is not.
    "no-store", "not-a-shelf", "not-a-state-file",
    "bad-row", "damaged", "old-shelf", "schema-too-new", "unreadable-row",
    # How it is there.
    "file-exists", "hard-links", "in-use", "path-too-long", "wrong-file-type",
    "mounted-alone", "network-filesystem", "rename-unsupported", "unsuitable-filesystem",
    # What the system refuses.
    "disk-full", "no-temporary-file", "permission-denied", "read-only", "too-many-files",
    "io-error", "outcome-unknown", "sqlite-error",
    # What others do, and this process itself.
    "descriptors-lost", "lock-timeout", "unsafe-fork",
    # None of these.
    "storage-error",
]
# fmt: on
"""What kind of error it is, for programs. The module's docstring has a table of all."""


class StorageError(Exception):
    """Base of all errors a store raises; shown, it is one line: path, problem, remedy.

    A call that writes at one instant has written nothing, unless the code is "outcome-unknown".
    The store itself stays usable: it works again at the next call once the cause is gone.

    Args:
        problem: what is wrong, without the path.
        remedy: what to do about it.
        path: the file that the error is about.
        code: which kind of error this is; by default, the code of the class.

    Attributes:
        problem: the same.
        remedy: the same. A program that offers another way out may set another one.
        path: the same.
        code: the same.
    """

    code: Code = "storage-error"
    args: tuple[Any, ...]

    def __init__(self, problem: str, remedy: str, path: str, *, code: Code | None = None) -> None:
        # Exceptions are pickled and copied as args and attributes. super().__init__ does not set
        # them, because a LockTimeout's takes three args for errno, text and file (OSError's).
        self.args = (problem, remedy, path)
        self.problem = problem
        self.remedy = remedy
        self.path = path
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}: {self.remedy}"


class LockTimeout(StorageError, TimeoutError):
    """Other writers held the file for longer than ``timeout``. Nothing was written."""

    code: Code = "lock-timeout"


class NotAStateFile(StorageError):
    """The path is a directory, no SQLite database, another application's, or damaged.

    Nothing is written to the file. (If another application has crashed, SQLite brings its database
    up to date from its log, whichever SQLite program opens the database first.)
    """

    code: Code = "not-a-state-file"


class NoStore(StorageError):
    """There is no store at this path, and the caller did not ask for a new one.

    Raised by an `ExistingStorage` and by the operator's command. Nothing was created.
    """

    code: Code = "no-store"


class NotAShelf(StorageError):
    """The path leads to no file that a ``ShelveStorage`` wrote, or to a damaged one.

    Nothing is written to the shelf or beside it. What was read before the damage is right.
    """

    code: Code = "not-a-shelf"


class SchemaTooNew(StorageError):
    """The file was written by a newer version of this package. It is left untouched."""

    code: Code = "schema-too-new"


class UnsafeFork(StorageError):
    """This process was forked, past Python's fork hooks, while the store was open.

    The child has SQLite's book of its locks, but not the locks: to go on would lose acknowledged
    writes of this process and of its parent. Every call in the child raises this; the parent is not
    affected. Nothing was written.
    See https://www.sqlite.org/howtocorrupt.html section 2.6.
    """

    code: Code = "unsafe-fork"


class NetworkFilesystem(StorageError):
    """The file lies on a file system that machines share, whose processes share no memory.

    These are network and cluster file systems, mounted object stores, and the folders that a
    virtual machine shares with its host (virtiofs, vboxsf).

    SQLite's write-ahead log needs all processes on one host: https://www.sqlite.org/wal.html.
    Nothing was opened or created.
    """

    code: Code = "network-filesystem"


class Obstacle:
    """Why the operating system refuses a call.

    (A NamedTuple would take a fortieth of the package's import.)

    Args:
        code: of the error.
        remedy: what to do about the obstacle.
        reason: what the obstacle is, where the system's own words do not tell.
    """

    def __init__(self, code: Code, remedy: str, reason: str = "") -> None:
        self.code: Code = code
        self.remedy: str = remedy
        self.reason: str = reason

    def error(self, problem: str, path: str) -> StorageError:
        """Return the error that tells of the obstacle: the problem, if one is given, and why."""
        whole = ": ".join(filter(None, (problem, self.reason)))
        return StorageError(whole, self.remedy, path, code=self.code)


NO_PERMISSION: Final = Obstacle(
    "permission-denied", "give this user write permission to the directory and its files"
)

READ_ONLY: Final = Obstacle(
    "read-only", "use a writable one", "the file system is mounted read-only"
)

TOO_LARGE: Final = Obstacle(
    "disk-full", "raise it (ulimit -f, LimitFSIZE=)", "a limit on the size of files is reached"
)

_UNKNOWN: Final = Obstacle("io-error", "look at the path and its file system")

_OBSTACLES: Final[Mapping[int | None, Obstacle]] = {
    errno.EACCES: NO_PERMISSION,
    errno.EDQUOT: Obstacle("disk-full", "free some space", "the user's disk quota is used up"),
    errno.EEXIST: Obstacle(
        "wrong-file-type", "move it away", "a file stands where a directory is needed"
    ),
    errno.EFBIG: TOO_LARGE,
    errno.EISDIR: Obstacle(
        "wrong-file-type", "move it away", "a directory stands where a file is needed"
    ),
    errno.ELOOP: Obstacle(
        "wrong-file-type",
        "restart the program to follow it",
        "a link has taken the place of the file",
    ),
    errno.EMFILE: Obstacle(
        "too-many-files",
        "raise its limit (ulimit -n)",
        "this process has no file descriptors left",
    ),
    errno.ENAMETOOLONG: Obstacle("path-too-long", "give a shorter path"),
    errno.ENFILE: Obstacle(
        "too-many-files", "raise fs.file-max", "the system has no file descriptors left"
    ),
    errno.ENOSPC: Obstacle("disk-full", "free some space", "the disk is full"),
    errno.ENOTDIR: Obstacle(
        "wrong-file-type", "give another path", "a part of the path is a file, not a directory"
    ),
    errno.EPERM: Obstacle(
        "permission-denied",
        "look for files that must not be changed (lsattr), for another user's in a directory of "
        "mode 1777, or for a sandbox that forbids it",
        "no permission would help",
    ),
    errno.EROFS: READ_ONLY,
}


def from_os_error(error: OSError, path: str, obstacle: Obstacle | None = None) -> StorageError:
    """Return what to raise ``from`` an `OSError` that came before anything was written.

    Args:
        error: what the operating system said.
        path: the file that the error is about.
        obstacle: the known reason; by default, the one that the errno tells.
    """
    problem = os.strerror(error.errno) if error.errno else str(error)
    obstacle = obstacle or _OBSTACLES.get(error.errno, _UNKNOWN)
    return obstacle.error(problem, path)
