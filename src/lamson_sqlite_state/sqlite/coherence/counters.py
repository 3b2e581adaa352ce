"""Who wrote last: the version counters that keep the caches of all processes coherent.

``states.versions`` is mapped into every process that has the store open. The file holds a counter
for each of 4095 stripes of senders. A writer, with the write lock held, makes the counter of its
sender odd, commits, and makes the counter even again (`Versions.commit`): with a value that the
counter never had before, or with the old value if the statement has changed nothing.

A reader takes a state into its cache only under an even value that it read *before* it asked the
database. It uses the state only while the counter still has that value. Between those two moments
no writer was between odd and even, so nothing of that stripe was committed. Therefore a cached read
returns what the database holds at the moment the counter is read. That makes reads linearizable in
and across processes.

After a crash: a writer that dies before it makes the counter odd has written nothing. A writer that
dies later leaves the counter odd, whether it has committed or not. No cache gives states under an
odd counter, until the next writer of that stripe makes the counter even. The same holds where a
write has failed, because the outcome may be unknown. A power cut may leave anything in the file,
but it leaves no process with a cache.

The counters say nothing of what other SQLite tools write. For that, see `engine.database`.

Each store and load of a counter is of one aligned machine word. The system calls by which SQLite
locks, writes and unlocks stand between such an access and what it has to be ordered with.
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

# Stands in the place of the first counter. On a machine of another byte order it is another number.
_LAYOUT: Final = int.from_bytes(b"LSSSver\x01", "big")

# No counter is ever 0, because a file that was truncated and has grown again reads as zeros.
FIRST_VERSION: Final = 2

_ODD: Final = 1

LARGEST_VERSION: Final = 2**64 - 1
"""`FIRST_VERSION` comes next. Nobody counts so far, but a damaged disk may hold such a number."""

EVERY_STRIPE: Final = tuple(range(1, COUNTERS))

# All entries of a stripe refer to one and the same int object, which saves memory.
_STRIPES: Final = EVERY_STRIPE


def stripe_of(sender: str | bytes) -> int:
    """Return which counter stands for a sender; the same in every process and release."""
    checksum = crc32(sender.encode() if isinstance(sender, str) else sender)
    return _STRIPES[checksum % (COUNTERS - 1)]


def is_sound(descriptor: int) -> bool:
    """Whether an open file holds counters, as far as its size and its beginning tell."""
    if os.fstat(descriptor).st_size != _SIZE_BYTES:
        return False
    return os.pread(descriptor, 8, 0) == _LAYOUT.to_bytes(8, sys.byteorder)


_lost: Final[list[mmap.mmap]] = []
"""Mappings whose descriptor may be another file's by now. They are kept, because the end of a
mapping closes its descriptor."""


class Versions:
    """The shared counters of one database.

    They are written only with the write lock held. Not thread-safe: the store's RLock guards every
    call.

    Nothing is ever unmapped by force: a thread that reads a counter without a lock keeps the
    mapping alive by its reference. If somebody truncates the file, the kernel kills the processes
    that touch it (SIGBUS), as with the -shm. `is_whole` at each look spares those that were not at
    work.

    Attributes:
        counters: the mapped file, or None while there is none.

    Args:
        database_path: the database, beside which the file stands. The file belongs to whom the
            database belongs to.
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
        # The file was truncated, or a daemon that starts has closed all descriptors. Then the
        # number of the mapping's descriptor may be another file's by now.
        self.leave()
        return False

    def is_in_place(self) -> bool:
        """Whether the counters may be touched, and the name still stands for their file."""
        return self.is_whole() and self._identity == filesystem.identity(self.path)

    def open(self) -> None:
        """Map the file if it is there and sound. If it is not, only the cache is lost."""
        try:
            self._map()
        except OSError as error:
            if error.filename != self.path:
                raise
            self.close()

    def open_or_make(self, lock: WriteLock) -> None:
        """Map the file that has the name. It is made anew if it is missing or not sound.

        Other processes may still map the old file, until they look at the directory. Their caches
        must not show outdated states until then. So the counters of the old file are first made
        odd, if this process has it mapped.

        Args:
            lock: is held. If a signal handler releases it, nothing more is done.

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
        """Forget the file; it stays mapped until the last reader has finished."""
        self.counters = self._mapping = self._identity = None

    def leave(self) -> None:
        """Forget the file, and never close the descriptor that the mapping has."""
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
        that they never had before. A single counter has its old value again where the statement has
        changed no row. Within another call's hold, and where a signal handler has written
        meanwhile, the counters stay odd, because the other write may not have committed yet.

        Args:
            stripes: of all senders whose states the statement may change.
            lock: is held.
            cursor: runs the statement.
            sql: the statement; it commits by itself.
            parameters: of the statement.

        Returns:
            How many rows were changed, and what the counter of the last stripe is. None where a
            signal handler has closed the store or written to it, so that nothing was done. (SQLite
            before 3.36 or so said of a DELETE of all rows that it had changed none.)

        Raises:
            sqlite3.Error: whether the statement has committed may be unknown. The counters stay
                odd.
        """
        before = after = _ODD
        sequence = lock.sequence = lock.sequence + 1
        counters = self.counters
        if not lock.is_held or counters is None:
            return None
        # Each test of the sequence stands right before its deed: see `reentry`.
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
            del counters, cursor  # an error's traceback would keep them, and their files open

    def _make_all_odd(self, lock: WriteLock) -> None:
        for stripe in EVERY_STRIPE:
            if self.counters is None or not lock.is_held:
                break
            self.counters[stripe] |= 1

    def _map(self) -> bool:
        mapping, identity = self._mapped()
        counters = None if mapping is None else memoryview(mapping).cast("Q")
        # All at once, with no call between: a signal handler must not find the old with the new.
        self._mapping, self._identity, self.counters = mapping, identity, counters
        return mapping is not None

    def _mapped(self) -> tuple[mmap.mmap | None, Identity | None]:
        # O_NONBLOCK: a FIFO that somebody has put there must not keep us waiting.
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
        # The file is written as a whole, not left sparse: the kernel kills a process that stores
        # into a hole which a full disk cannot fill. A file that has the name is never written into,
        # because other processes map it.
        new = StorePaths(self._database_path).new_versions
        try:
            os.unlink(new)
        except FileNotFoundError as error:
            if error.filename != new:
                raise
        first = FIRST_VERSION.to_bytes(8, sys.byteorder)
        left = memoryview(_LAYOUT.to_bytes(8, sys.byteorder) + first * (COUNTERS - 1))
        # The file is the database owner's, or the first process to come, root's perhaps, would shut
        # out the users that the store is for. The owner may write in any case, as to the lock file.
        try:
            descriptor = new_files.create_like(new, self._database_path, least_mode=0o600)
            try:
                while left:  # a write that falls short says why when it is repeated
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)
            self._give_name(new, lock)
        finally:
            with contextlib.suppress(OSError):  # an error of the making is the one to be raised
                os.unlink(new)

    def _give_name(self, new: str, lock: WriteLock) -> None:
        try:
            if lock.is_held:  # no signal handler can run from here to the renaming
                os.rename(new, self.path)
        except OSError as error:
            if error.filename == new and not isinstance(error, FileNotFoundError):
                error.filename = self.path
            if error.filename != new:
                raise
            # A signal handler that used the store has made the file meanwhile.
