"""The write lock: a file lock that lets one writer at a time into the database, in any process.

The lock is filelock's, taken on a descriptor that stays open. It is the same flock as that of
``filelock.FileLock(path)``, so each of the two excludes the other, but it costs a sixtieth. The
lock file is empty and is never written to, and this package never deletes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple

from filelock import lock_descriptor

from . import descriptors, filesystem, fork, new_files
from .filesystem import Identity
from .store_paths import StorePaths

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

# The errors of lseek(2) and flock(2) if the descriptor was closed, or its number is a socket's or a
# pipe's by now.
_LOST: Final = (errno.EBADF, errno.ESPIPE)

# The errors of flock(2) on systems that refuse to lock. Another error may be a signal handler's.
_REFUSED: Final = (
    *(errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL),
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ENODEV, errno.ENOTTY, errno.ESTALE),
)


UNLOCK_NONE: Final[partial[Any]] = partial(bool)
"""Does nothing, in C."""

_open_locks: Final[set[WriteLock]] = set()
"""All locks of this process whose descriptor is open. The fork hooks find a lock here even if its
store is garbage already. (The set keeps no descriptor open for good, because `StoreHandle.__del__`
closes the lock.)"""


class WriteLock:
    """The cross-process lock of one database: guards every commit, and the checkpoint in it.

    The lock is taken after the store's RLock, which also guards the attributes here, and before
    SQLite's own lock for writing. If the holder dies, the kernel releases the lock at that moment.

    All that needs the lock runs within `hold`. `reentry` explains how a hold survives signal
    handlers.

    Attributes:
        path: the lock file.
        depth: how many holds of this thread are under way, each inside the one before.
        is_held: whether this object has the lock. (Another store of this process with the same
            database has another descriptor, and so waits for this one.)
        sequence: a number that changes with each release of the lock and each write under it.
        descriptor: of the lock file, or None while the lock file is not open.
        unlock_file: releases the kernel's lock in C, as filelock's ``unlock_descriptor`` does in
            Python.
        close_file: closes the descriptor, in C.

    Args:
        database_path: the database, beside which the lock file stands. A new lock file gets the
            owner of the database.
        file_mode: permissions of a lock file that is made before its database.
        before_opening: called before the lock file is opened. If it raises, nothing is opened.
    """

    def __init__(
        self,
        database_path: str,
        file_mode: int,
        before_opening: Callable[[], None] = lambda: None,
    ) -> None:
        self.path: str = StorePaths(database_path).lock
        self._database_path = database_path
        self.depth: int = 0
        self.is_held: bool = False
        self.sequence: int = 0
        self._file_mode = file_mode
        self._before_opening = before_opening
        self.descriptor: int | None = None
        self.unlock_file: partial[Any] = UNLOCK_NONE
        self.close_file: partial[Any] = UNLOCK_NONE
        self._identity: Identity | None = None

    def hold(self, work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
        """Call ``work``, which may take the lock by `try_lock`, and release the lock after that.

        Only the outermost of several holds on this thread releases the lock. The release follows
        the work with no call between the two, because a signal handler may raise where a function
        is called. The release is one call into C. But Python calls audit hooks before it (filelock
        has one), and a handler may raise in a hook. In that case the descriptor is closed instead.
        Closing also releases the lock, and Python calls no audit hook for it.
        """
        depth = self.depth
        self.depth = depth + 1
        try:
            return work(*arguments)
        finally:
            self.depth = depth
            if not depth:
                self.sequence += 1
                self.is_held = False
                try:
                    self.unlock_file()
                except OSError as error:
                    self.release_by_closing(error)
                except BaseException:  # of a handler that ran in an audit hook
                    self.descriptor, self.unlock_file = None, UNLOCK_NONE
                    self.close_file()
                    raise

    def try_lock(self) -> bool:
        """Take the lock if nobody else has it, and say whether it is held; harmless if it was held.

        Creates the lock file and the directories above it, if they are missing.

        Raises:
            OSError: the lock file could not be opened, or somebody closed its descriptor (EBADF).
            StorageError: the system refuses to lock it.
        """
        while not self.is_held:
            sequence, descriptor = self.sequence, self.descriptor
            if descriptor is None:
                self._before_opening()
                descriptor = self._open()
            try:
                # This is `is_lost`, written out because every write asks.
                if os.lseek(descriptor, 0, os.SEEK_CUR) != descriptors.MARK:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
                if not lock_descriptor(descriptor, blocking=False):
                    return False
            except OSError as error:
                if error.errno in _REFUSED:
                    raise filesystem.flock_refused(error, self.path) from error
                if error.errno not in _LOST:
                    raise
                if self.descriptor == descriptor:
                    self.abandon()  # or the release would unlock the file that has the number now
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path) from error
                continue  # a signal handler closed the store
            if sequence == self.sequence:
                self.is_held = True
            elif self.descriptor != descriptor:
                # A signal handler closed the store, and opened another, perhaps, which was given
                # the number. That store does not know that its file is locked now.
                fork.close_stores()
        return True

    def is_lost(self) -> bool:
        """Whether somebody has closed the descriptor, as a process does that becomes a daemon.

        Another file may have the number by now. So this is asked before the descriptor is locked or
        closed. It is not asked before a held lock is released, because `hold` must call nothing
        before the release.
        """
        descriptor = self.descriptor
        return descriptor is not None and not descriptors.has_mark(descriptor)

    def unlock(self) -> None:
        """Release the lock; harmless where it is not held."""
        self.sequence += 1
        was_held, self.is_held = self.is_held, False
        try:
            # The file may be locked though `is_held` is False, if a signal handler raised in
            # `try_lock` right after the locking.
            if was_held or not self.is_lost():
                self.unlock_file()
        except OSError as error:
            self.release_by_closing(error)

    def release_by_closing(self, error: OSError) -> None:
        """Close the descriptor after flock(2) has failed to unlock: that releases the lock too.

        If the error is EBADF, nothing is closed: the fork hooks, or a process that becomes a
        daemon, have closed the descriptor already, and its number may be another file's.

        Args:
            error: the error of the unlocking.

        Raises:
            OSError: the same error, if it is none by which a system refuses to unlock.
        """
        if error.errno != errno.EBADF:
            self.abandon()
        if error.errno not in (errno.EBADF, *_REFUSED):
            raise error

    def is_in_place(self) -> bool:
        """Whether the path still names the lock file that is open here."""
        return self._identity is not None and self._identity == filesystem.identity(self.path)

    def close(self) -> None:
        """Release the lock and close the descriptor; the next `try_lock` opens it anew.

        The lock is released first, because closing does not always release it: a child between fork
        and exec (of subprocess) has a copy of the descriptor, and the copy would keep the lock.
        """
        try:
            self.unlock()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the descriptor without unlocking: a child must not release its parent's lock."""
        is_lost = self.is_lost()
        # Set after that call, in which a signal handler may have taken the lock again.
        self.sequence += 1
        self.is_held = False
        descriptor, self.descriptor = self.descriptor, None
        # This call may be a signal handler's. The call that it has interrupted must not unlock or
        # close the number, which may soon be another file's.
        self.unlock_file = self.close_file = UNLOCK_NONE
        _open_locks.discard(self)
        if descriptor is not None and not is_lost:
            os.close(descriptor)

    def _open(self) -> int:
        new_files.create_parent(self.path, self._file_mode)
        try:
            # No O_TRUNC, and O_NOFOLLOW, because somebody may have planted a link there.
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            try:
                descriptor = self._create()
            except FileExistsError:  # another process was faster
                return self._open()
        found = os.fstat(descriptor)
        unlock_file = partial(fcntl.flock, descriptor, fcntl.LOCK_UN)
        close_file = partial(os.close, descriptor)
        os.lseek(descriptor, descriptors.MARK, os.SEEK_SET)
        if self.descriptor is None:
            self.descriptor, self._identity = descriptor, (found.st_dev, found.st_ino)
            self.unlock_file, self.close_file = unlock_file, close_file
            _open_locks.add(self)
            return descriptor
        # A signal handler has opened the lock file meanwhile, and may have locked it.
        os.close(descriptor)
        return self.descriptor

    def _create(self) -> int:
        if filesystem.identity(self._database_path) is None:
            return new_files.create_new(self.path, self._file_mode, is_guarded=False)
        # The file gets the database's owner. Otherwise, if root were the first to use the store,
        # root's file would shut out the users that the store is for. The owner may lock the file
        # whatever the database's mode, because a database that is read-only now may be writable
        # later.
        return new_files.create_once_like(self.path, self._database_path, least_mode=0o600)


def _close_leftovers() -> None:
    for lock in tuple(_open_locks):
        lock.close()


fork.close_before_fork.append(_close_leftovers)
