"""Who wrote last: the version counters that keep the caches of all processes coherent.

``states.versions`` is mapped into every process that has the store open. It holds a counter for
each of 4095 stripes of senders. A writer, with the write lock held, makes its sender's counter
odd, commits, and makes it even again (`Versions.commit`): with a value it never had before, or
with the one it had if the statement turned out to change nothing. A reader takes a
state into its cache only under an even value that it read *before* it asked the database, and
uses it only while the counter still has that value. Between those two moments no writer has
been between odd and even, so nothing of that stripe was committed: what a cached read returns is
what the database holds at the moment the counter is read. That makes reads linearizable in
and across processes.

What a crash leaves behind: a writer that dies before it makes the counter odd has written
nothing; one that dies later leaves it odd, whether it has committed or not. States under an odd
counter are not taken from any cache, until the next writer of that stripe makes it even. The
same holds where a write has failed, as the outcome may be unknown. A power cut may leave
anything in the file, but it leaves no process with a cache.

The counters tell of nothing that other SQLite tools write. For that, see `Database`.

The stores and loads of a counter are of one aligned machine word. Between them and what they are
to be ordered with stand system calls of SQLite's, which lock, write and unlock.
"""

import contextlib
import errno
import mmap
import os
import sqlite3
import stat
import sys
from array import array
from binascii import crc32
from collections.abc import Collection, Sequence
from typing import Final

from ..process import filesystem, new_files
from ..process.filesystem import Identity
from ..process.write_lock import WriteLock

_SIZE_BYTES: Final = 32 * 1024
COUNTERS: Final = _SIZE_BYTES // 8

# In the place of the first counter. Another byte order makes another number of it.
_LAYOUT: Final = int.from_bytes(b"LSSSver\x01", "big")

# No counter is ever 0, which is what a file reads as that was truncated and has grown again.
FIRST_VERSION: Final = 2

_ODD: Final = 1

LARGEST_VERSION: Final = 2**64 - 1
"""After which `FIRST_VERSION` comes. Nobody counts so far, but a damaged disk may have."""

EVERY_STRIPE: Final = tuple(range(1, COUNTERS))

# All that is kept of a stripe refers to one and the same number.
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
"""Mappings whose descriptor may be no longer theirs."""


class Versions:
    """The shared counters of one database.

    Written only with the write lock held. Not thread-safe: the store's RLock guards every call.

    Nothing is ever unmapped by force: a thread that reads a counter without a lock keeps
    the mapping alive by its reference. A file that is truncated under its users kills them
    (SIGBUS), like the -shm; `is_whole` at each look keeps that to those who were at work.

    Attributes:
        counters: the mapped file, or None while there is none.

    Args:
        database_path: the database, beside which they stand. They belong to whom it belongs to.
    """

    def __init__(self, database_path: str) -> None:
        self.path: str = f"{database_path}.versions"
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
        # Truncated, or somebody closed all descriptors (a daemon starting), and its number may be
        # another file's by now. It is not ours to close, as the mapping would at its end.
        self.leave()
        return False

    def is_in_place(self) -> bool:
        """Whether the counters may be touched, and the name still stands for their file."""
        return self.is_whole() and self._identity == filesystem.identity(self.path)

    def open(self) -> None:
        """Map the file if there is a sound one, else none; that only costs the cache."""
        try:
            self._map()
        except OSError as error:
            if error.filename != self.path:
                raise
            self.close()

    def open_or_make(self, lock: WriteLock) -> None:
        """Map the file that has the name, made anew if it is missing or not as it should be.

        Whoever has an old file mapped finds by his directory that it has lost its name; so that
        his cache shows nothing outdated until he looks, the counters of the old file are
        first made odd if this process has it mapped.

        Args:
            lock: is held. If a signal handler lets go of it, nothing more is done.

        Raises:
            OSError: it cannot be opened or made.
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
        # O_NONBLOCK: a FIFO that somebody has put there must not keep us waiting.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags)
        except OSError as error:
            missing = (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO)
            if error.filename != self.path or error.errno not in missing:
                raise
            self.close()
            return False
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size != _SIZE_BYTES:
                self.close()
                return False
            mapping = mmap.mmap(descriptor, _SIZE_BYTES)
        except ValueError:  # truncated since
            self.close()
            return False
        except OSError as error:
            error.filename = self.path
            raise
        finally:
            os.close(descriptor)
        counters = memoryview(mapping).cast("Q")
        if counters[0] != _LAYOUT:
            self.close()
            return False
        self._mapping, self._identity = mapping, (found.st_dev, found.st_ino)
        self.counters = counters
        return True

    def _make(self, lock: WriteLock) -> None:
        # Written as a whole, not left sparse: a hole that the full disk cannot fill kills who
        # stores into it. Never written into a file that has the name: others have it mapped.
        new = f"{self.path}.new"
        try:
            os.unlink(new)
        except FileNotFoundError as error:
            if error.filename != new:
                raise
        content = array("Q", [FIRST_VERSION]) * COUNTERS
        content[0] = _LAYOUT
        # Or the first to come, root perhaps, would shut out the users that the store is for. The
        # owner may write in any case, as to the lock file (`WriteLock._create`).
        try:
            descriptor = new_files.create_like(new, self._database_path, least_mode=0o600)
            try:
                left = memoryview(content).cast("B")
                while left:  # a write that falls short says why when it is repeated
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)
            self._give_name(new, lock)
        finally:
            with contextlib.suppress(OSError):  # that of the making is the one to be told
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
            # A signal handler that used the store has made one meanwhile.
