"""Gives a file its name only once the file is complete: a backup, an export."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from ...errors import StorageError
from ..process import new_files, remedies
from ..process.store_paths import StorePaths

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1

# Errors of `_rename_new` where the file system, the kernel or the C library cannot rename without
# replacing, or where a container forbids it.
_NO_RENAMING: Final = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)

# Errors of link(2) where the file system gives no file a second name.
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def placed(target: str, *, overwrite: bool) -> Iterator[str]:
    """Yield a temporary path for a file that is named ``target`` once the block has written it.

    The block creates, writes and syncs the file at the temporary path, which is beside ``target``.
    At the end of the block, the file is renamed to ``target`` in one step that survives a power
    cut. If the block raises, the file is deleted. A crash leaves ``target`` as it was before, and
    may leave a file whose name ends in ``.unfinished``.

    Args:
        target: the absolute path that the file is to have.
        overwrite: whether to replace a file that has this path. If that is a link, the link itself
            is replaced, and the file that it leads to stays. If false, even a file that is made
            there while the block runs is not replaced.

    Raises:
        StorageError: the path is taken, or cannot be a file's, or the file could not be renamed.
            The new file is deleted.
    """
    refuse(target, overwrite=overwrite)
    unfinished = new_files.unfinished_name(target)
    try:
        yield unfinished
        refuse(target, overwrite=overwrite)
        try:
            if overwrite:
                os.replace(unfinished, target)
            else:
                _take_name(unfinished, target)
            new_files.sync_directory(os.path.dirname(target))
        except FileExistsError as error:
            raise _exists(target) from error
        except OSError as error:
            raise remedies.storage_error(error, target) from error
    finally:
        for path in StorePaths(unfinished).sqlite_files:
            # A read-only file system refuses to delete even a file that is not there. That error
            # must not hide the error of the block.
            with contextlib.suppress(OSError):
                os.unlink(path)


def refuse(target: str, *, overwrite: bool) -> None:
    """Refuse a path where `placed` may put no file.

    Raises:
        StorageError: the path is taken, or cannot be a file's.
    """
    if os.path.isdir(target):
        raise _no_file("this is a directory", target, "give the path of a file in it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise _no_file("this is no regular file", target)
    if _is_of_the_system(target):  # or root might replace /dev/stdout by a file
        raise _no_file("this is where the system keeps devices", target)
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)


def open_stream(target: str) -> int:
    """Open a pipe or a device for writing, replace nothing, and return the descriptor.

    Raises:
        StorageError: a regular file has replaced the pipe or device meanwhile; or the path is a
            link that is not in /dev or /proc. Anybody may have put a link into a shared directory.
        OSError: the pipe or device could not be opened.
    """
    is_of_the_system = _is_of_the_system(target)
    # No O_CREAT and no O_TRUNC, because a file may have replaced the pipe or device meanwhile.
    flags = os.O_WRONLY | os.O_NOCTTY | (0 if is_of_the_system else os.O_NOFOLLOW)
    try:
        descriptor = os.open(target, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        problem = "this is a link to something that is no regular file"
        raise _no_file(problem, target, "give the path that it leads to") from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _exists(target)
    return descriptor


def _is_of_the_system(target: str) -> bool:
    directory = os.path.realpath(os.path.dirname(target))
    return directory == "/dev" or directory.startswith("/proc/")


def _no_file(problem: str, target: str, remedy: str = "give another path") -> StorageError:
    return StorageError(problem, remedy, target, code="wrong-file-type")


def _exists(target: str) -> StorageError:
    return StorageError(
        "the file is there already",
        "give another path, or overwrite it (overwrite=True)",
        target,
        code="file-exists",
    )


def _take_name(unfinished: str, target: str) -> None:
    try:
        _rename_new(unfinished, target)
    except OSError as error:
        if error.errno not in _NO_RENAMING:
            raise
        # link(2) gives the file a second name, and replaces nothing either. It is only the second
        # choice, because a crash may leave both names, and a store with two names is refused.
        try:
            os.link(unfinished, target)
        except OSError as link_error:
            if link_error.errno not in _NO_LINKS:
                raise
            raise StorageError(
                "this file system has no way to name a file without replacing a file that another "
                "process may make there meanwhile",
                "allow that (overwrite=True), or give a path on another file system",
                target,
                code="rename-unsupported",
            ) from link_error
        os.unlink(unfinished)


def _rename_new(old: str, new: str) -> None:
    """Rename a file as `os.rename` does, but replace nothing (Linux).

    Raises:
        FileExistsError: the new name is taken.
        OSError: the file could not be renamed, or not without replacing (see `_NO_RENAMING`).
    """
    import ctypes  # imported here, because the import is slow and hardly any process needs it

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), old, None, new)
    names = os.fsencode(old), os.fsencode(new)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_NOREPLACE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old, None, new)
