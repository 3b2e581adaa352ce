"""Files and directories as they are made: whose they are, who may read them, and that they last."""

import contextlib
import errno
import os
import re
from typing import Final

_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{16}\.unfinished\Z")

# The file system has one name for each file, or this user may not give a second one.
_NO_LINKS: Final = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS)

# The file system keeps no owners or modes, or those are no numbers of this user namespace (a
# rootless container), or this user may not change them.
_REFUSED: Final = (*_NO_LINKS, errno.EINVAL, errno.EROFS)


def create_parent(path: str, file_mode: int) -> None:
    """Create the directories above ``path`` where they are missing, and make their names last.

    Whoever may read or write a file of ``file_mode`` may enter, or write to, the directories, and
    nobody else may, whatever the umask: who may write to one can exchange what is in it. What
    root creates belongs to the owner of the directory above, as with `create_new`.

    A new directory's name is in *its* parent, which nobody else would sync: after a power
    cut an acknowledged state could be in a file that no path leads to.
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
        # No link: the parent may be another user's, who has exchanged it since.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except PermissionError:  # a umask that keeps even its owner out
        return
    try:
        found = os.fstat(descriptor)
        if found.st_mode & 0o777 != mode:
            # It keeps the bit that hands a group down, which comes from its parent.
            _set_mode(descriptor, found.st_mode & 0o7000 | mode)
        # It is the one that was made: nothing is in it yet, and it is root's.
        place = os.stat(os.path.dirname(directory))
        if not os.geteuid() and place.st_uid and not (found.st_uid or os.listdir(descriptor)):
            _give(descriptor, place)
    finally:
        os.close(descriptor)


def sync_directory(directory: str) -> None:
    """Return once the names in ``directory`` would survive a power cut.

    One that may be written but not read (mode 0o733) cannot be synced, and is not.
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


def create_file(path: str, file_mode: int) -> int:
    """Create ``path`` with exactly ``file_mode`` and return a descriptor, closed on exec.

    The file is created with no more permissions than ``file_mode``, so there is no moment at
    which others can read it; a umask that took some away is then undone. Where the kernel refuses
    that, the file stays as it was created, if its user can work with it.

    Raises:
        FileExistsError: it is there already.
        OSError: it could not be created, or not so that this user can read and write it.
    """
    return _created(path, file_mode, None)


def create_like(path: str, original: str, *, least_mode: int = 0) -> int:
    """Create ``path`` with the mode, and as far as permitted the owner and group, of another file.

    Args:
        path: the new file.
        original: the other one.
        least_mode: permissions that it gets in any case.

    Returns, and raises: as `create_file`.
    """
    found = os.stat(original)
    return _created(path, found.st_mode & 0o777 | least_mode, found)


def create_new(path: str, file_mode: int, *, is_guarded: bool) -> int:
    """Do as `create_file`; what root creates belongs to the owner and group of its directory.

    That is who the store is for, and would be shut out else: by root's tool, or by the part of a
    mail server that runs as root.

    Args:
        path: the new file.
        file_mode: its permissions.
        is_guarded: whether nobody opens it before the caller lets go of a lock. Else it gets the
            name as a second one once it is as it should be, which a database must not have.
    """
    place = os.stat(os.path.dirname(path))
    if os.geteuid() or not place.st_uid:
        return create_file(path, file_mode)
    create = _created if is_guarded else _created_once
    return create(path, file_mode, place)


def create_once_like(path: str, original: str, *, least_mode: int = 0) -> int:
    """Do as `create_like`, but with nothing under the name ``path`` before it is as it should be.

    Who looks meanwhile, or finds what a crash has left, must not meet a file that belongs to the
    wrong user and shuts him out. Another file that has the name is not replaced. A crash may
    leave an empty file, which nobody asks for, under an `unfinished_name`.

    The arguments, what is returned and what is raised: as `create_like`.
    """
    found = os.stat(original)
    if (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid()):
        return create_like(path, original, least_mode=least_mode)  # nobody can be shut out
    return _created_once(path, found.st_mode & 0o777 | least_mode, found)


def _created_once(path: str, file_mode: int, owners: os.stat_result) -> int:
    # A name that nobody else takes, as no lock keeps two apart who make a lock.
    new = unfinished_name(path)
    descriptor = None
    try:
        descriptor = _created(new, file_mode, owners)
        os.link(new, path)
        return descriptor
    except BaseException as error:
        if descriptor is not None:
            os.close(descriptor)
        is_refused = isinstance(error, OSError) and error.errno in _NO_LINKS
        if descriptor is None or not is_refused or getattr(error, "filename2", None) != path:
            raise
    finally:
        with contextlib.suppress(OSError):  # that of the making is the one to be told
            os.unlink(new)
    # What else takes a name without replacing a file is creating it.
    return _created(path, file_mode, owners)


def _created(path: str, file_mode: int, owners: os.stat_result | None) -> int:
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
    except BaseException:  # of a signal handler, which may have used the file
        os.close(descriptor)
        raise
    return descriptor


def _set_mode(descriptor: int, file_mode: int) -> None:
    try:
        os.fchmod(descriptor, file_mode)
    except OSError as error:
        needed = file_mode & 0o600
        if error.errno not in _REFUSED or os.fstat(descriptor).st_mode & needed != needed:
            raise


def _give(descriptor: int, found: os.stat_result) -> None:
    """Give a file the group and the owner of another, each as far as permitted."""
    for owner, group in ((-1, found.st_gid), (found.st_uid, -1)):  # the group, its members may
        try:
            os.fchown(descriptor, owner, group)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise


def unfinished_name(path: str) -> str:
    """Return a name beside ``path`` for what is to have that name once it is complete.

    Nobody else takes it, not even where each process has the same number; and it is not too long.
    """
    name = f"{os.path.basename(path)[:32]}.{os.urandom(8).hex()}.unfinished"
    return os.path.join(os.path.dirname(path), name)


def is_unfinished(name: str) -> bool:
    """Whether a file has a name that `unfinished_name` has made."""
    return _UNFINISHED.search(name) is not None
