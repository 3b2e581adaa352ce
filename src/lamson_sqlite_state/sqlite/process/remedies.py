"""Finds the cause of an error of the operating system, and a remedy, by a look at the files.

`errors.from_os_error` has a remedy for each errno. Here the store's files are looked at, because
the cause may be another file than the error names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator
from typing import Final

from ...errors import READ_ONLY, TOO_LARGE, Obstacle, StorageError, from_os_error
from . import filesystem
from .store_paths import StorePaths

# Where a process has dropped its privileges for a while, the effective user id decides.
_HAS_EFFECTIVE_IDS: Final = os.access in os.supports_effective_ids

# These may come from a file of the wrong type, or from a user without permission.
_TO_LOOK_INTO: Final = (
    *(errno.EACCES, errno.EBUSY, errno.EROFS),
    *(errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ESPIPE),
)

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
}

# A log grows by that much at once: a page of the largest size, and its header.
_STEP_BYTES: Final = 65_536 + 24


def storage_error(error: OSError, path: str) -> StorageError:
    """Return what to raise ``from`` an `OSError` met before anything was written."""
    store = StorePaths.owning(path).database
    found = obstacle(store) if error.errno in _TO_LOOK_INTO else None
    return from_os_error(error, path, found)


def obstacle(path: str) -> Obstacle | None:
    """Return what keeps this user from a store, or None where nothing is seen.

    Only names and modes are asked for, because opening and closing a file would drop the locks that
    this process has on it.
    """
    try:
        return next((found for look in _LOOKS for found in look(path)), None)
    except OSError:  # a file has just gone
        return None


def misplaced(path: str) -> Iterator[tuple[str, str]]:
    """Yield each file beside a store that is no regular file, with the kind of thing it is.

    Args:
        path: of the database.
    """
    for file in StorePaths(path).companions:
        try:
            mode = os.lstat(file).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            yield file, _KINDS.get(stat.S_IFMT(mode), "a device")


def refuse_alone_mounted(path: str) -> None:
    """Do nothing where a database is mounted with its directory, or not at all.

    Raises:
        StorageError: the database alone is mounted (a container's volume that is a single file).
    """
    for problem in _of_mounting_alone(path):
        raise problem.error("", path)


def of_failing_disk(path: str) -> Obstacle:
    """Return what is behind an input/output error of SQLite, which does not tell the errno."""
    for found in _of_misplaced(path):
        return found
    limit = _limit_of_file_sizes()
    if limit is not None:
        largest = 0
        with contextlib.suppress(OSError):  # a file has just gone
            largest = max(map(os.path.getsize, _files(path)), default=0)
        if largest + _STEP_BYTES > limit:
            return Obstacle(TOO_LARGE.code, TOO_LARGE.remedy, f"{TOO_LARGE.reason} ({limit} bytes)")
    return Obstacle("io-error", "look at the disk, its free space and the user's quota")


def _limit_of_file_sizes() -> int | None:
    # Imported here, because that takes a thirtieth of the package's import. A process that has
    # changed its root since cannot import it any more, and does without.
    with contextlib.suppress(ImportError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        return None if limit == resource.RLIM_INFINITY else limit
    return None


def _of_misplaced(path: str) -> Iterator[Obstacle]:
    for file, kind in misplaced(path):
        reason = f"{kind} stands where {os.path.basename(file)} has to be"
        yield Obstacle("wrong-file-type", "move it away", reason)


def _of_mounting_alone(path: str) -> Iterator[Obstacle]:
    if path in [point for point, _ in filesystem.mounts()]:
        yield Obstacle(
            "mounted-alone",
            "mount the directory that it is in instead",
            "this file alone is mounted, so the log and the lock beside it are not those of others "
            "who use it",
        )


def _of_read_only_mounts(path: str) -> Iterator[Obstacle]:
    for place in (path, os.path.dirname(path)):
        try:
            if os.statvfs(place).f_flag & os.ST_RDONLY:
                yield READ_ONLY
        except OSError:  # it is missing, or not to be reached
            continue


def _of_permissions(path: str) -> Iterator[Obstacle]:
    directory = os.path.dirname(path)
    while not os.path.lexists(directory) and _may(os.path.dirname(directory), os.X_OK):
        directory = os.path.dirname(directory)
    above = os.path.join(directory, "")
    while above != (above := os.path.dirname(above)):
        if not _may(above, os.X_OK) and os.path.isdir(above):
            yield Obstacle(
                "permission-denied", f"give this user permission to enter {above}{_whose(above)}"
            )
    for file, mode in (
        (directory, os.W_OK | os.X_OK),
        *((file, os.R_OK | os.W_OK) for file in _files(path)),
    ):
        if os.path.exists(file) and not _may(file, mode):
            yield Obstacle(
                "permission-denied",
                f"give this user write permission to {file}{_whose(file)}; readers need it, too, "
                "as they take part in the locking",
            )


_LOOKS: Final = (_of_misplaced, _of_mounting_alone, _of_read_only_mounts, _of_permissions)


def _files(path: str) -> list[str]:
    return list(filter(os.path.exists, (path, *StorePaths(path).companions)))


def _may(file: str, mode: int) -> bool:
    return os.access(file, mode, effective_ids=_HAS_EFFECTIVE_IDS)


def _whose(file: str) -> str:
    found = os.stat(file)
    mode = f"mode {stat.S_IMODE(found.st_mode):o}"
    if found.st_uid == os.geteuid():
        return f" ({mode})"
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:  # of another container, perhaps
        owner = f"user {found.st_uid}"
    return f" ({owner}'s, {mode}), or do it as {owner}"
