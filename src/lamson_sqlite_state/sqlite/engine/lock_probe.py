"""Finds other processes that have a database open, by their locks and descriptors.

POSIX drops all locks that a process has on a file when the process closes *any* descriptor of the
file, SQLite's locks included (https://www.sqlite.org/howtocorrupt.html section 2.2). So a file that
this process has open, through whatever library, is never opened here. To ask who holds a lock takes
no lock, and so disturbs nobody. `fork.open_lock` is held whenever a file is opened here, so only a
signal handler can come in between.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Callable
from typing import Final

from ..process import filesystem
from ..process.filesystem import Identity
from . import connections

# Length and start of the bytes where SQLite's unix VFS keeps its shared locks in a database
# (os.h, SHARED_FIRST and SHARED_SIZE). Each process with a connection to a database in WAL mode
# holds one.
SHARED_LOCKS: Final = (510, 0x40000000 + 2)

# Length and start of the lock that each process with a connection holds in the -shm (os_unix.c,
# UNIX_SHM_DMS).
DEADMAN_SWITCH: Final = (1, 128)

_FLOCK: Final = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, process

_FLOCK_BYTES: Final = struct.calcsize(_FLOCK)

_CAN_ASK: Final = sys.platform == "linux" and struct.calcsize("l") == 8

# How much is read of the header of a log, and of an index (-shm): all up to the salts' end.
_HEADER_BYTES: Final = 24
_INDEX_BYTES: Final = 40

_DATABASE_HEADER_BYTES: Final = 100


def has_open(process: int, identity: Identity) -> bool:
    """Whether a process has a file open, as far as /proc shows (on Linux).

    Args:
        process: its id.
        identity: the file.
    """
    is_ourselves = process == os.getpid()
    directory = f"/proc/{process}/fd/"
    try:
        names = os.listdir(directory)
    except OSError as error:  # the process is gone, or somebody else's, or there is no /proc
        if error.filename != directory:
            raise
        return False
    for name in names:
        try:
            found = os.fstat(int(name)) if is_ourselves else os.stat(directory + name)
        except OSError as error:  # closed meanwhile
            is_closed = error.errno == errno.EBADF if is_ourselves else error.filename is not None
            if not is_closed:
                raise
        else:
            if (found.st_dev, found.st_ino) == identity:
                return True
    return False


def lock_holder(path: str, identity: Identity, locks: tuple[int, int]) -> int | None:
    """Return the id of another process that holds any of these POSIX locks, or None.

    Returns:
        0 for a process in another container. None also if this process has the file open, because
        it would drop its own locks, and on systems for which the question was never tested.
    """
    if not _CAN_ASK or has_open(os.getpid(), identity):
        return None
    answer = _asked(path, lambda descriptor: _lock_on(descriptor, locks))
    return None if answer is None else _holder(answer)  # None: the file has just been deleted


def header_of(path: str, identity: Identity) -> bytes | None:
    """Return the header of a database (https://www.sqlite.org/fileformat.html section 1.3).

    Returns:
        None if the file is missing, or cannot be opened without harm: see `lock_holder`.
    """
    if not _CAN_ASK or has_open(os.getpid(), identity):
        return None
    return _asked(path, lambda descriptor: os.pread(descriptor, _DATABASE_HEADER_BYTES, 0))


def is_log_in_use(wal: str, shm: str) -> bool:
    """Whether these are the log and the index that other processes use with their database.

    That is so if a process has the index open, and the frames that the index lists, if any, are
    frames of this log. Then index and log have the same salts
    (https://www.sqlite.org/walformat.html). While a process is only just opening or closing them,
    this may be False. To be called only while another process has the database open and this one
    does not.

    Returns:
        True also if the files cannot be opened without harm: see `lock_holder`.
    """
    shm_identity = filesystem.identity(shm)
    if shm_identity is None:
        return False
    if not _CAN_ASK or has_open(os.getpid(), shm_identity):
        return True  # perhaps this call is a signal handler's that has interrupted another one
    # The index is opened once for both questions, because each opening of a store asks them.
    answer = _asked(
        shm,
        lambda descriptor: (
            _lock_on(descriptor, DEADMAN_SWITCH) + os.pread(descriptor, _INDEX_BYTES, 0)
        ),
    )
    if answer is None or _holder(answer[:_FLOCK_BYTES]) is None:
        return False
    index = answer[_FLOCK_BYTES:]
    header = _asked(wal, lambda descriptor: os.pread(descriptor, _HEADER_BYTES, 0)) or b""
    if len(index) < _INDEX_BYTES:
        return False
    has_frames = any(index[16:20])
    return not has_frames or header[16:24] == index[32:40]


def _lock_on(descriptor: int, locks: tuple[int, int]) -> bytes:
    length, start = locks
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    return fcntl.fcntl(descriptor, fcntl.F_GETLK, question)


def _holder(answer: bytes) -> int | None:
    kind, _, _, _, process = struct.unpack(_FLOCK, answer)
    return None if kind == fcntl.F_UNLCK else int(process)


def _asked(path: str, question: Callable[[int], bytes]) -> bytes | None:
    """Open a file, and return the answer to a question about it, or None if it is missing."""
    made_before = connections.made
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        if error.filename != path:
            raise
        return None
    try:
        return question(descriptor)
    finally:
        if made_before == connections.made:
            os.close(descriptor)
