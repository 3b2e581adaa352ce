"""Files and directories as they are made: whose they are, who may read them, and that they last."""

import contextlib
import errno
import os
import re
from typing import Final

from ._blame import is_ours

__all__ = [
    "create_file",
    "create_like",
    "create_once_like",
    "create_parent",
    "is_unfinished",
    "sync_directory",
    "sync_file",
    "unfinished_name",
]

_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{16}\.unfinished\Z")

# The file system has one name for each file, or this user may not give a second one.
_NO_LINKS: Final = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)


def create_parent(path: str) -> None:
    """Create the directories above ``path`` where they are missing, and make their names last.

    A new directory's name is in *its* parent, which nobody else would sync: after a power
    cut an acknowledged state could be in a file that no path leads to.
    """
    directory = os.path.dirname(path)
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for directory in reversed(missing):
        os.makedirs(directory, exist_ok=True)
        sync_directory(os.path.dirname(directory))


def sync_directory(directory: str) -> None:
    """Return once the names in ``directory`` would survive a power cut.

    One that may be written but not read (mode 0o733) cannot be synced, and is not.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Return once the content of a file would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: str, file_mode: int) -> int:
    """Create ``path`` with exactly ``file_mode`` and return a descriptor, closed on exec.

    The file is created with no more permissions than ``file_mode``, so there is no moment at
    which others can read it; a umask that took some away is then undone.

    Raises:
        FileExistsError: it is there already.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, file_mode)
    try:
        os.fchmod(descriptor, file_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_like(path: str, original: str, *, least_mode: int = 0) -> int:
    """Create ``path`` with the mode, and as far as permitted the owner and group, of another file.

    Args:
        path: the new file.
        original: the other one.
        least_mode: permissions that it gets in any case.

    Returns, and raises: as `create_file`.
    """
    found = os.stat(original)
    descriptor = create_file(path, found.st_mode & 0o777 | least_mode)
    try:
        for owner, group in ((-1, found.st_gid), (found.st_uid, -1)):  # the group, its members may
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, owner, group)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def create_once_like(path: str, original: str, *, least_mode: int = 0) -> int:
    """Do as `create_like`, but with nothing under the name ``path`` before it is as it should be.

    Who looks meanwhile, or finds what a crash has left, must not meet a file that belongs to the
    wrong user and shuts him out. Another file that has the name is not replaced. A crash may
    leave an empty file, which nobody asks for, under a name that begins with ``path``.

    The arguments, what is returned and what is raised: as `create_like`.
    """
    found = os.stat(original)
    if (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid()):
        return create_like(path, original, least_mode=least_mode)  # nobody can be shut out
    # A name that nobody else takes, as no lock keeps two apart who make a lock.
    new = f"{path}.{os.urandom(8).hex()}"
    descriptor = create_like(new, original, least_mode=least_mode)
    try:
        try:
            os.link(new, path)
        finally:
            os.unlink(new)
    except BaseException as error:
        os.close(descriptor)
        if not isinstance(error, OSError) or error.errno not in _NO_LINKS or not is_ours(error):
            raise
        # What else takes a name without replacing a file is creating it.
        return create_like(path, original, least_mode=least_mode)
    return descriptor


def unfinished_name(path: str) -> str:
    """Return a name beside ``path`` for what is to have that name once it is complete.

    Nobody else takes it, not even where each process has the same number; and it is not too long.
    """
    name = f"{os.path.basename(path)[:32]}.{os.urandom(8).hex()}.unfinished"
    return os.path.join(os.path.dirname(path), name)


def is_unfinished(name: str) -> bool:
    """Whether a file has a name that `unfinished_name` has made."""
    return _UNFINISHED.search(name) is not None
