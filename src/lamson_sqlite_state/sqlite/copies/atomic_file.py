"""A file that gets its name once it is complete: a backup, an export."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from ...errors import StorageError
from ..process import new_files, remedies

_SIDE_FILES: Final = ("", "-journal", "-wal", "-shm")  # of a database that is being made

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1

# The file system, the kernel or the C library cannot rename so, or a container forbids it.
_NO_RENAMING: Final = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)

# Nor has a file more than one name there.
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def placed(target: str, *, overwrite: bool) -> Iterator[str]:
    """Give a name beside ``target`` for a file that is to have that name once it is complete.

    The caller creates it, and syncs it. It gets its name at the end of the block, in one step
    that survives a power cut; an exception deletes it. A crash leaves what was there before, and
    perhaps a file whose name ends in ``.unfinished``.

    Args:
        target: its name, absolute.
        overwrite: whether a file that has the name is replaced. If it is a link, the link is, and
            what it leads to stays. Without this, nothing is replaced that comes meanwhile either.

    Raises:
        StorageError: the name is taken, or is no name for a file; or it could not be given.
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
        for suffix in _SIDE_FILES:
            # On a read-only file system it fails though there is nothing: the block's error counts.
            with contextlib.suppress(OSError):
                os.unlink(unfinished + suffix)


def refuse(target: str, *, overwrite: bool) -> None:
    """Do nothing where `placed` may put a file.

    Raises:
        StorageError: as there.
    """
    if os.path.isdir(target):
        raise _no_file("this is a directory", target, "give the path of a file in it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise _no_file("this is no regular file", target)
    if _is_of_the_system(target):  # /dev/stdout, say, of which root could make a file
        raise _no_file("this is where the system keeps devices", target)
    if os.path.lexists(target) and not overwrite:
        raise _exists(target)


def open_stream(target: str) -> int:
    """Return a descriptor to write to a pipe or a device, which stays what it is.

    Raises:
        StorageError: it has been replaced by a file, or is reached by a link that is not the
            system's: anybody may have put that into a shared directory.
        OSError: it could not be opened.
    """
    is_of_the_system = _is_of_the_system(target)
    # Neither created nor cut off: it may have become a file since it was looked at.
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
        # A second name replaces nothing either. But a crash leaves both, and a database with two
        # names is refused.
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
        FileExistsError: there is something of that name.
        OSError: it could not be renamed, or not so.
    """
    import ctypes  # costly to import, and needed by nobody else

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), old, None, new)
    names = os.fsencode(old), os.fsencode(new)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_NOREPLACE)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), old, None, new)
