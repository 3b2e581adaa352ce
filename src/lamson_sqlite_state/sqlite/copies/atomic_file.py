"""Files that get their name once they are complete: a backup, an export."""

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

# The file system, the kernel or the C library has no such renaming, or a container forbids it.
_NO_RENAMING: Final = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)

# The file system gives a file no second name.
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def placed(target: str, *, overwrite: bool) -> Iterator[str]:
    """Give a temporary name beside ``target`` for a file that is to be named ``target``.

    The block creates, writes and syncs the file under the temporary name. At the end of the block,
    the file gets its name in one step that survives a power cut. If the block raises, the file is
    deleted. A crash leaves what was there before, and perhaps a file whose name ends in
    ``.unfinished``.

    Args:
        target: the absolute path that the file is to have.
        overwrite: whether to replace a file that has this path. Of a link, the link itself is
            replaced, and the file that it leads to stays. Without this, a file that comes meanwhile
            is not replaced either.

    Raises:
        StorageError: the path is taken, cannot be a file's, or could not be given to the file.
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
            # A read-only file system refuses this though there is no file. The error of the block
            # must not be lost then.
            with contextlib.suppress(OSError):
                os.unlink(path)


def refuse(target: str, *, overwrite: bool) -> None:
    """Do nothing where `placed` may put a file.

    Raises:
        StorageError: the path is taken, or cannot be a file's.
    """
    if os.path.isdir(target):
        raise _no_file("this is a directory", target, "give the path of a file in it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise _no_file("this is no regular file", target)
    if _is_of_the_system(target):  # root could replace /dev/stdout, say, by a file
        raise _no_file("this is where the system keeps devices", target)
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)


def open_stream(target: str) -> int:
    """Return a descriptor for writing to a pipe or a device, which is not replaced.

    Raises:
        StorageError: a file has replaced the pipe or device meanwhile, or a link leads to it that
            is not the system's own. Anybody may have put such a link into a shared directory.
        OSError: the pipe or device could not be opened.
    """
    is_of_the_system = _is_of_the_system(target)
    # Without O_CREAT and O_TRUNC, because a file may have taken its place meanwhile.
    flags = os.O_WRONLY | os.O_NOCTTY | (0 if is_of_the_system else os.O_NOFOLLOW)
    try:
        descriptor = os.open(target, flags)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        problem = "this is a link to what is no regular file"
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
        # To give the file a second name replaces nothing either. This is only the second choice,
        # because a crash may leave both names, and a store with two names is refused.
        try:
            os.link(unfinished, target)
        except OSError as link_error:
            if link_error.errno not in _NO_LINKS:
                raise
            raise StorageError(
                "this file system has no way to name a file without replacing another that may "
                "come meanwhile",
                "allow that (overwrite=True), or give a path on another one",
                target,
                code="rename-unsupported",
            ) from link_error
        os.unlink(unfinished)


def _rename_new(old: str, new: str) -> None:
    """Rename a file as `os.rename` does, but replace nothing (Linux).

    Raises:
        FileExistsError: the new name is taken.
        OSError: the file could not be renamed, or not in this way.
    """
    import ctypes  # here, because the import is slow and nothing else needs it

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), old, None, new)
    names = os.fsencode(old), os.fsencode(new)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_NOREPLACE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old, None, new)
