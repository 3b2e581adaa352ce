"""Makes files and directories: with the right owner and mode, and a name that survives a crash."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import Final

# link(2) says so where the file system has one name for each file, or where this user may not give
# a file a second name.
_NO_LINKS: Final = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)

# fchmod(2) and fchown(2) say so where the file system keeps no owners or modes, where the owner has
# no number in this user namespace (a rootless container), or where this user may not change them.
_REFUSED: Final = (*_NO_LINKS, errno.EINVAL, errno.EROFS)


def create_parent(path: str, file_mode: int) -> None:
    """Create the directories above ``path`` where they are missing, and make their names last.

    A user who may read a file of ``file_mode`` may enter the directories, a user who may write the
    file may write to them, and nobody else may, whatever the umask: a user who may write to a
    directory can exchange the files in it. A directory that root creates belongs to the owner of
    the directory above, as with `create_new`.

    Each new directory's parent is synced, because the new name is in the parent and nobody else
    would sync it: after a power cut an acknowledged state could be in a file that no path leads to.
    """
    directory = os.path.dirname(path)
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, _directory_mode(file_mode))
        except FileExistsError:  # another process was faster, or a file is there
            if not os.path.isdir(directory):
                raise
        else:
            _finish_directory(directory, _directory_mode(file_mode))
        sync_directory(os.path.dirname(directory))


def _directory_mode(file_mode: int) -> int:
    return file_mode | (file_mode & 0o444) >> 2 | (file_mode & 0o222) >> 1


def _finish_directory(directory: str, mode: int) -> None:
    try:
        # O_NOFOLLOW, because the parent's owner may have put a link in the directory's place.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except PermissionError:  # the umask keeps even the owner out
        return
    try:
        found = os.fstat(descriptor)
        if found.st_mode & 0o777 != mode:
            # The bits above 0o777 stay: the one that hands the group down comes from the parent.
            _set_mode(descriptor, found.st_mode & 0o7000 | mode)
        # Given away only if it is the directory that was made: root's, and still empty.
        place = os.stat(os.path.dirname(directory))
        if not os.geteuid() and place.st_uid and not (found.st_uid or os.listdir(descriptor)):
            _give(descriptor, place)
    finally:
        os.close(descriptor)


def sync_directory(directory: str) -> None:
    """Return once the names in ``directory`` would survive a power cut.

    A directory that may be written but not read (mode 0o733) cannot be synced, and is not.
    """
    with contextlib.suppress(PermissionError):
        sync_file(directory)


def sync_file(path: str) -> None:
    """Return once the content of a file, or of a directory, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: str, file_mode: int, owners: os.stat_result | None = None) -> int:
    """Create ``path`` with exactly ``file_mode`` and return a descriptor, closed on exec.

    The file is created with no more permissions than ``file_mode``, so there is no moment at
    which others can read it. Permissions that the umask took away are then added. Where the kernel
    refuses that, the file stays as it was created, if its user can read and write it.

    Args:
        path: the new file.
        file_mode: its permissions.
        owners: the file whose owner and group the new one gets, as far as permitted.

    Raises:
        FileExistsError: the file is there already.
        OSError: the file could not be created, or not so that this user can read and write it.
            There is no new file then.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, file_mode)
    try:
        _set_mode(descriptor, file_mode)
        if owners is not None:
            _give(descriptor, owners)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise
    except BaseException:  # a signal handler's, which may have used the file
        os.close(descriptor)
        raise
    return descriptor


def create_like(path: str, original: str, *, least_mode: int = 0) -> int:
    """Create ``path`` with the mode, and as far as permitted the owner and group, of another file.

    Args:
        path: the new file.
        original: the other file.
        least_mode: permissions that the new file gets in any case.

    Returns, and raises: as `create_file`.
    """
    found = os.stat(original)
    return create_file(path, found.st_mode & 0o777 | least_mode, found)


def create_new(path: str, file_mode: int, *, is_guarded: bool) -> int:
    """Do as `create_file`, but give what root creates to the owner and group of the directory.

    The store is for the owner of the directory, who would be shut out otherwise: by a tool that
    root runs, or by the part of a mail server that runs as root.

    Args:
        path: the new file.
        file_mode: its permissions.
        is_guarded: whether a lock that the caller holds keeps others from opening the file. If
            not, the file is made under another name, and linked to its own once it is complete. A
            database must not be made so, because it would have two names for a moment.
    """
    place = os.stat(os.path.dirname(path))
    if os.geteuid() or not place.st_uid:
        return create_file(path, file_mode)
    create = create_file if is_guarded else _created_once
    return create(path, file_mode, place)


def create_once_like(path: str, original: str, *, least_mode: int = 0) -> int:
    """Do as `create_like`, but give the file its name only once its owner and mode are right.

    Another user's process may look for the file at any moment, also after a crash. That process
    must not meet a file of the wrong owner, which would shut it out. Another file that has the name
    is not replaced. A crash may leave an empty file under an `unfinished_name`, which is of no use.

    The arguments, what is returned and what is raised: as `create_like`.
    """
    found = os.stat(original)
    if (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid()):
        return create_like(path, original, least_mode=least_mode)  # nobody can be shut out
    return _created_once(path, found.st_mode & 0o777 | least_mode, found)


def _created_once(path: str, file_mode: int, owners: os.stat_result) -> int:
    # Under a name that no other process takes, because no lock keeps two processes apart that
    # make a lock file.
    new = unfinished_name(path)
    descriptor = None
    try:
        descriptor = create_file(new, file_mode, owners)
        os.link(new, path)
        return descriptor
    except BaseException as error:
        if descriptor is not None:
            os.close(descriptor)
        is_refused = isinstance(error, OSError) and error.errno in _NO_LINKS
        if descriptor is None or not is_refused or getattr(error, "filename2", None) != path:
            raise
    finally:
        with contextlib.suppress(OSError):  # the error of the making is the one to be told
            os.unlink(new)
    # Where link(2) is refused, only open(2) takes a name without replacing another file.
    return create_file(path, file_mode, owners)


def _set_mode(descriptor: int, file_mode: int) -> None:
    try:
        os.fchmod(descriptor, file_mode)
    except OSError as error:
        needed = file_mode & 0o600
        if error.errno not in _REFUSED or os.fstat(descriptor).st_mode & needed != needed:
            raise


def _give(descriptor: int, found: os.stat_result) -> None:
    """Give a file the group and the owner of another, each as far as permitted."""
    # One after the other, because a member of the group may give the file to the group only.
    for owner, group in ((-1, found.st_gid), (found.st_uid, -1)):
        try:
            os.fchown(descriptor, owner, group)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise


def remove(path: str) -> None:
    """Remove a file, if another process has not done so already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def unfinished_name(path: str) -> str:
    """Return a path beside ``path`` for a file that is renamed to ``path`` once it is complete.

    No other process takes that name: it is random, as processes in containers may have the same
    number. It is never too long for a file system.
    """
    name = f"{os.path.basename(path)[:32]}.{os.urandom(8).hex()}.unfinished"
    return os.path.join(os.path.dirname(path), name)


def is_unfinished(name: str) -> bool:
    """Whether a file has a name that `unfinished_name` has made."""
    return re.search(r"\.[0-9a-f]{16}\.unfinished\Z", name) is not None
