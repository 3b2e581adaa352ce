"""Who has a database open: which connections of this process, and which other process.

POSIX drops all locks that a process has on a file when it closes *any* descriptor of it, SQLite's
locks included (https://www.sqlite.org/howtocorrupt.html section 2.2). So a file that is open
in this process, through whatever, is not opened to ask. `lock_holder` is the only one that
opens an existing one at all, and as it asks and does not lock, it disturbs nobody. Everything
here is guarded by `fork.open_lock`; only a signal handler can come in between.
"""

import errno
import fcntl
import os
import sqlite3
import struct
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ... import sqlite_uri
from ..process import descriptors as _descriptors
from ..process import filesystem, fork, new_files
from ..process.filesystem import Identity

# Length and start of the bytes where SQLite's unix VFS keeps its shared locks in a database
# (os.h, SHARED_FIRST and SHARED_SIZE). Whoever has a database in WAL mode open holds one.
SHARED_LOCKS: Final = (510, 0x40000000 + 2)

# Likewise of the lock in a -shm that everyone holds who has it open (os_unix.c, UNIX_SHM_DMS).
DEADMAN_SWITCH: Final = (1, 128)


_FLOCK: Final = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, process

_FLOCK_BYTES: Final = struct.calcsize(_FLOCK)

_CAN_ASK: Final = sys.platform == "linux" and struct.calcsize("l") == 8

# How much of a log's and of an index's header is looked at: up to the salts.
_HEADER_BYTES: Final = 24
_INDEX_BYTES: Final = 40

_DATABASE_HEADER_BYTES: Final = 100


class Interrupted(Exception):
    """A signal handler has used the store meanwhile: look again at how things are."""


class Connection(sqlite3.Connection):
    """A connection that knows which files it has open.

    Attributes:
        identity: the database, from the moment the connection is about to be used. Before
            that it holds no locks, and whoever finds it need not mind it.
        side_files: its -wal and -shm, from the moment it has opened them.
        descriptors: those that SQLite has opened for it, as far as they were found.
        data_version: changes when another connection has written
            (https://www.sqlite.org/pragma.html#pragma_data_version); as of the last look, or
            -1 before the first.
        lost_at: when it was first seen to have lost its name and could not be left, by
            `Clock.monotonic`, or None.
        spare_cursor: one that is not in use, or None. Making one for each question costs a tenth
            of the answer. Whoever uses it takes it away meanwhile, so that a signal handler or a
            finalizer gets another.
    """

    identity: Identity | None = None
    side_files: Mapping[str, Identity | None] = MappingProxyType({})
    descriptors: Mapping[int, Identity] = MappingProxyType({})
    data_version = -1
    lost_at: float | None = None
    spare_cursor: sqlite3.Cursor | None = None

    @classmethod
    def to(cls, path: str, *, is_read_only: bool = False) -> "Connection":
        """Return a new, unused connection to an existing file."""
        global _made
        # Never mode=rwc: a file deleted a moment ago is not created with SQLite's permissions.
        mode = "ro" if is_read_only else "rw"
        connection = sqlite_uri.connect(path, f"mode={mode}", factory=cls)
        _connections.add(connection)
        _made += 1
        return connection

    def is_closed(self) -> bool:
        """Whether `close` has been called."""
        try:
            _ = self.total_changes
        except sqlite3.ProgrammingError:
            return True
        return False

    def is_in_place(self, path: str) -> bool:
        """Whether all names still stand for the files that are open here."""
        return self.identity == filesystem.identity(path) and all(
            identity == filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )

    def is_left_behind(self, path: str) -> bool:
        """Whether another database has the name now, and the side files are not this one's."""
        return filesystem.identity(path) not in (None, self.identity) and all(
            identity != filesystem.identity(side_file)
            for side_file, identity in self.side_files.items()
        )


_connections: Final[set[Connection]] = set()
"""All of this process that were not closed yet. Their stores may be garbage already."""

_unusable: Final[set[Identity]] = set()
"""Databases that a connection is open to which must not be used. SQLite's book of them outlives it:
another connection would believe in locks that were lost with the descriptors."""

_made = 0
"""How many connections were ever made here."""


def forget(connection: Connection) -> None:
    """Close a connection, for good.

    One whose descriptors are another's by now stays open, as closing it would close those. SQLite
    cannot use its database in this process any more.
    """
    connection.spare_cursor = None  # the two refer to each other
    if connection.is_closed() or _descriptors.secured(connection.descriptors):
        connection.descriptors = {}  # what is being closed is not lost
        connection.close()
        _connections.discard(connection)
    else:
        if connection.identity is not None:
            _unusable.add(connection.identity)
        disown(connection)


def disown(connection: Connection) -> None:
    """Have a connection never closed, also not by the garbage collector at exit.

    Its reference count never reaches zero again.
    """
    _connections.discard(connection)
    import ctypes  # costly to import, and needed by nobody else

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def is_unusable(identity: Identity) -> bool:
    """Whether descriptors of this database were closed here, and given to other files."""
    return identity in _unusable


def have_lost_descriptors() -> bool:
    """Whether any connection of this process has."""
    return any(_descriptors.are_lost(connection.descriptors) for connection in tuple(_connections))


def side_files_here(identity: Identity) -> Mapping[str, Identity | None] | None:
    """Return with which side files this process uses the database through this package.

    Empty where it is only just opening it, None where it does not use it.
    """
    found = [
        connection.side_files
        for connection in tuple(_connections)
        if connection.identity == identity and not connection.is_closed()
    ]
    return max(found, key=len, default=None)


def database_of(side_file: Identity) -> Identity | None:
    """Return the database that a connection of this process uses with this side file."""
    for connection in tuple(_connections):
        if side_file in connection.side_files.values() and not connection.is_closed():
            return connection.identity
    return None


def _close_leftovers() -> None:
    # What the garbage collector has just found in one thread is no longer among the stores
    # that another thread closes before it forks.
    for connection in tuple(_connections):
        forget(connection)


fork.close_before_fork.append(_close_leftovers)


def create(path: str, file_mode: int) -> None:
    """Create an empty file for a database, with exactly these permissions, under the write lock.

    (Root that is killed between two system calls here leaves an empty file of its own.)

    Raises:
        FileExistsError: it is there already.
    """
    made_before = _made
    descriptor = new_files.create_new(path, file_mode, is_guarded=True)
    if made_before == _made:  # as in lock_holder
        os.close(descriptor)


def has_open(process: int, identity: Identity) -> bool:
    """Whether a process has a file open, as far as one can see (on Linux).

    Args:
        process: its id.
        identity: the file.
    """
    is_ourselves = process == os.getpid()
    directory = f"/proc/{process}/fd/"
    try:
        names = os.listdir(directory)
    except OSError as error:  # it is gone, or somebody else's, or there is no /proc here
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
    """Return the id of a process that holds any of these POSIX locks, or None.

    0 stands for a process in another container. None where this process has the file open, as
    its locks would suffer, and on systems where it was not tried how to ask.
    """
    if not _CAN_ASK:
        return None
    if has_open(os.getpid(), identity):
        return None
    answer = _asked(path, lambda descriptor: _lock_on(descriptor, locks))
    return None if answer is None else _holder(answer)  # None: its last user has just closed it


def header_of(path: str, identity: Identity) -> bytes | None:
    """Return how a database begins (https://www.sqlite.org/fileformat.html section 1.3).

    None where it cannot be asked: see `lock_holder`.
    """
    if not _CAN_ASK or has_open(os.getpid(), identity):
        return None
    return _asked(path, lambda descriptor: os.pread(descriptor, _DATABASE_HEADER_BYTES, 0))


def is_log_in_use(wal: str, shm: str) -> bool:
    """Whether these are the log and the index of those who have their database open.

    The index must be open, and if it knows of any frames, of frames of this log: both have the
    same salts then (https://www.sqlite.org/walformat.html). Anybody who is only just opening or
    closing them makes this False for a moment. Asked only while another process has the
    database open and this one does not. True where it cannot be asked: see `lock_holder`.
    """
    shm_identity = filesystem.identity(shm)
    if shm_identity is None:
        return False
    if not _CAN_ASK or has_open(os.getpid(), shm_identity):
        return True  # we may be in a signal handler that came while this was being asked
    # Opened once for both questions: every opening of a store asks them.
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
    """Return what is answered to a question about an existing file, or None if it is gone."""
    made_before = _made
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        if error.filename != path:
            raise
        return None
    try:
        return question(descriptor)
    finally:
        # A signal handler may have opened a store on this file meanwhile. Then the descriptor
        # stays open for good: closing it would drop the locks of that connection. No call
        # stands between look and deed, so no handler runs there.
        if made_before == _made:
            os.close(descriptor)
