"""Shared version counters: they tell the caches of all processes which states are outdated.

``states.versions`` is mapped into every process that has the store open. A checksum divides all
senders into 4095 stripes, and the file holds one counter for each stripe. A writer, with the write
lock held, makes the counter of its sender odd, commits, and makes the counter even again
(`Versions.commit`). The counter then has a value that it never had before, or its old value if the
statement has changed nothing. (To store START for a pair without a row moves no counter, because no
cache holds anything of such a pair.)

A reader notes the counter *before* it asks the database, and caches the state only if the counter
was even. It uses the cached state only while the counter still has the noted value: then no writer
has changed that state since. So a cached read returns what the database holds at the moment the
counter is read. That makes reads linearizable in and across processes.

A writer that dies before it makes the counter odd has written nothing. A writer that dies while the
counter is odd leaves the counter odd, whether it has committed or not. So does a writer that fails,
because the outcome may be unknown. No cache gives a state under an odd counter, and the next writer
of that stripe makes the counter even. A power cut may leave anything in the file, but it leaves no
process with a cache.

The counters say nothing of what other SQLite tools write. For that, see `engine.database`.

Each store and load of a counter is of one aligned machine word. It keeps its order with SQLite's
reads and writes, because SQLite makes system calls between them to lock, write and unlock.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sqlite3
import stat
import sys
from binascii import crc32
from collections.abc import Collection, Sequence
from typing import Final

from ..process import filesystem, new_files
from ..process.filesystem import Identity
from ..process.store_paths import StorePaths
from ..process.write_lock import WriteLock

_SIZE_BYTES: Final = 32 * 1024
COUNTERS: Final = _SIZE_BYTES // 8

# Stands in place of a counter 0, and names the layout. Another byte order gives another number.
_LAYOUT: Final = int.from_bytes(b"LSSSver\x01", "big")

# No counter is ever 0, because a file that was truncated and has grown again reads as zeros.
FIRST_VERSION: Final = 2

_ODD: Final = 1

LARGEST_VERSION: Final = 2**64 - 1
"""`FIRST_VERSION` comes after it. No store writes that often, but a damaged disk may hold it."""

EVERY_STRIPE: Final = tuple(range(1, COUNTERS))

# `stripe_of` returns ints of this tuple. So all cache entries of a stripe refer to one int object,
# which saves memory.
_STRIPES: Final = EVERY_STRIPE


def stripe_of(sender: str | bytes) -> int:
    """Return the index of a sender's counter. It is the same in every process and release."""
    checksum = crc32(sender.encode() if isinstance(sender, str) else sender)
    return _STRIPES[checksum % (COUNTERS - 1)]


def is_sound(descriptor: int) -> bool:
    """Whether an open file holds counters, as far as its size and its beginning tell."""
    if os.fstat(descriptor).st_size != _SIZE_BYTES:
        return False
    return os.pread(descriptor, 8, 0) == _LAYOUT.to_bytes(8, sys.byteorder)


_lost: Final[list[mmap.mmap]] = []
"""Mappings whose descriptors' numbers may be other files' by now. They are kept for ever, because
Python closes the descriptor of a mapping that it frees."""


class Versions:
    """The shared counters of one database.

    They are written only with the write lock held. Not thread-safe: the store's RLock guards every
    call.

    The file is never unmapped by force: a thread that reads a counter without a lock keeps the
    mapping alive by its reference. If somebody truncates the file, the kernel kills each process
    that touches the mapping (SIGBUS), as with the -shm. A process that looks at the file before it
    touches the mapping again (`is_whole`) is spared.

    Attributes:
        counters: the mapped file, or None while there is none.

    Args:
        database_path: the database, beside which the file stands. A new file gets the owner of the
            database.
    """

    def __init__(self, database_path: str) -> None:
        self.path: str = StorePaths(database_path).versions
        self._database_path = database_path
        self.counters: memoryview | None = None
        self._mapping: mmap.mmap | None = None
        self._identity: Identity | None = None

    def is_whole(self) -> bool:
        """Whether the counters may be touched: a file is mapped, and was not truncated since."""
        mapping, counters = self._mapping, self.counters
        if mapping is None or counters is None:
            return False
        try:
            if mapping.size() == _SIZE_BYTES:
                return counters[0] == _LAYOUT
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
        # The file was truncated, or this process has closed all descriptors to become a daemon. In
        # that case the number of the mapping's descriptor may be another file's by now.
        self.leave()
        return False

    def is_in_place(self) -> bool:
        """Whether the counters may be touched, and the file's name still stands for that file."""
        return self.is_whole() and self._identity == filesystem.identity(self.path)

    def open(self) -> None:
        """Map the file if it is there and sound. Without it, calls work, but nothing is cached."""
        try:
            self._map()
        except OSError as error:
            if error.filename != self.path:
                raise
            self.close()

    def open_or_make(self, lock: WriteLock) -> None:
        """Map the file that has the name, and make a new one if it is missing or not sound.

        Other processes may go on with an old file until they look at the directory. Their caches
        must not show outdated states until then. So if this process has an old file mapped, it
        first makes all counters there odd.

        Args:
            lock: is held. If a signal handler releases the lock, nothing more is done.

        Raises:
            OSError: the file cannot be opened or made.
        """
        if self.is_in_place():
            return
        if self.is_whole():
            self._make_all_odd(lock)
        while lock.is_held and not self._map():
            self._make(lock)

    def close(self) -> None:
        """Forget the file. It stays mapped until no thread reads a counter any more."""
        self.counters = self._mapping = self._identity = None

    def leave(self) -> None:
        """Forget the file, and never close the descriptor of its mapping."""
        if self._mapping is not None:
            _lost.append(self._mapping)
        self.close()

    def commit(
        self,
        stripes: Collection[int],
        lock: WriteLock,
        cursor: sqlite3.Cursor,
        sql: str,
        parameters: Sequence[object] = (),
    ) -> tuple[int, int] | None:
        """Run a statement that may change states of the senders of some stripes.

        The counters of the stripes are odd while the statement runs. Afterwards they have values
        that they never had before. If there is one stripe, and the statement has changed no row,
        its counter gets its old value back. The counters stay odd if a signal handler has made this
        call in the middle of another that holds the lock, or has itself written meanwhile, because
        the other write may not have committed yet.

        Args:
            stripes: of all senders whose states the statement may change.
            lock: is held.
            cursor: runs the statement.
            sql: the statement; it commits by itself.
            parameters: of the statement.

        Returns:
            How many rows were changed, and the value of the last stripe's counter. None: a signal
            handler has closed the store or written to it, so the statement was not run. (SQLite
            before 3.36 or so counts no rows for a DELETE of all rows.)

        Raises:
            sqlite3.Error: whether the statement has committed may be unknown. The counters stay
                odd.
        """
        before = after = _ODD
        sequence = lock.sequence = lock.sequence + 1
        counters = self.counters
        if not lock.is_held or counters is None:
            return None
        # Each test of the sequence stands right before the access that it guards: see `reentry`.
        try:
            for stripe in stripes:
                if lock.sequence != sequence:
                    return None
                before = counters[stripe]
                counters[stripe] = before | 1
            if lock.sequence != sequence:
                return None
            changed = cursor.execute(sql, parameters).rowcount
            is_as_before = not changed and not before & 1 and len(stripes) == 1
            for stripe in stripes:
                if lock.sequence != sequence or lock.depth > 1:
                    return changed, _ODD
                after = before if is_as_before else counters[stripe] + 1 & LARGEST_VERSION
                counters[stripe] = after = after or FIRST_VERSION
            return changed, after
        finally:
            del counters, cursor  # a traceback would keep both alive, and their files open

    def _make_all_odd(self, lock: WriteLock) -> None:
        for stripe in EVERY_STRIPE:
            if self.counters is None or not lock.is_held:
                break
            self.counters[stripe] |= 1

    def _map(self) -> bool:
        mapping, identity = self._mapped()
        counters = None if mapping is None else memoryview(mapping).cast("Q")
        # All three at once, with no call between, because a signal handler must not find an old one
        # beside a new one.
        self._mapping, self._identity, self.counters = mapping, identity, counters
        return mapping is not None

    def _mapped(self) -> tuple[mmap.mmap | None, Identity | None]:
        # O_NONBLOCK, because a FIFO that somebody has put there must not keep this call waiting.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags)
        except OSError as error:
            missing = (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO)
            if error.filename != self.path or error.errno not in missing:
                raise
            return None, None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not is_sound(descriptor):
                return None, None
            return mmap.mmap(descriptor, _SIZE_BYTES), (found.st_dev, found.st_ino)
        except ValueError:  # truncated since
            return None, None
        except OSError as error:
            error.filename = self.path
            raise
        finally:
            os.close(descriptor)

    def _make(self, lock: WriteLock) -> None:
        # The file is written in full, and has no holes, because the kernel kills a process that
        # stores into a hole while the disk is full. A new file is made under another name, because
        # other processes may map the file that has the name.
        new = StorePaths(self._database_path).new_versions
        try:
            os.unlink(new)
        except FileNotFoundError as error:
            if error.filename != new:
                raise
        first = FIRST_VERSION.to_bytes(8, sys.byteorder)
        left = memoryview(_LAYOUT.to_bytes(8, sys.byteorder) + first * (COUNTERS - 1))
        # The file gets the database's owner. Otherwise a first process of root's would shut out the
        # users that the store is for. The owner may write to the file whatever the database's mode.
        try:
            descriptor = new_files.create_like(new, self._database_path, least_mode=0o600)
            try:
                while left:  # a write that falls short is repeated, and then raises the reason
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)
            self._give_name(new, lock)
        finally:
            with contextlib.suppress(OSError):  # or it would hide an error of the making
                os.unlink(new)

    def _give_name(self, new: str, lock: WriteLock) -> None:
        try:
            if lock.is_held:  # no signal handler can run between this test and the renaming
                os.rename(new, self.path)
        except OSError as error:
            if error.filename == new and not isinstance(error, FileNotFoundError):
                error.filename = self.path
            if error.filename != new:
                raise
            # The new file is gone: a signal handler that used the store has made another meanwhile.
