"""A check's look at the files of a store and where they are, none of which it opens."""

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from ...command_line import command
from ...errors import NetworkFilesystem
from ..engine import old_shelf
from ..process import filesystem, remedies
from ._finding import Finding, from_error, shown

Files: TypeAlias = Mapping[str, os.stat_result]
"""What there is of a store, by its path; the database first."""


# A log takes up to 16 MiB (`StatesTable`); a backup or a mending takes the database once more.
_SPARE_BYTES: Final = 64 * 1024 * 1024


def files_of(path: str) -> Files:
    """Return what there is of a store; links in the place of its side files are not followed.

    Raises:
        OSError: there is no database.
    """
    found = {path: os.stat(path)}
    for suffix in filesystem.SIDE_FILES:
        try:
            found[path + suffix] = os.lstat(path + suffix)
        except FileNotFoundError:
            continue
    return found


def misplaced(path: str) -> Iterator[Finding]:
    """Find what is no regular file where one has to be.

    Args:
        path: of the database.
    """
    subjects = {".lock": "lock", ".versions": "versions"}
    for file, kind in remedies.misplaced(path):
        aside = command("mv", file, f"{file}.aside")
        suffix = file.removeprefix(path)
        yield Finding(
            subjects.get(suffix, "side files"),
            f"{kind} stands where {shown(os.path.basename(file))} has to be",
            f"move it away, the next writer makes it anew: {aside}",
            file,
        )


def with_links(path: str, files: Files) -> Iterator[Finding]:
    """Find files that have more than one name: another store's, or a copy's, are then the same.

    Args:
        path: of the database.
        files: of the store, as `files_of` returns them.
    """
    for file, found in files.items():
        if found.st_nlink < 2 or not stat.S_ISREG(found.st_mode):
            continue
        others = [name for name in _names_beside(file, found) if name != file]
        if len(others) == found.st_nlink - 1:
            remedy = f"remove the other name: {command('rm', *others)}"
        else:
            top = _mount_point(file)
            remedy = (
                f"list the names: {command('find', top, '-xdev', '-samefile', file)}, and remove "
                "those that no program uses"
            )
        harm = "each name would get a log of its own" if file == path else "stores would share it"
        yield Finding(
            "hard links",
            f"{shown(os.path.basename(file))} has {found.st_nlink} names, and {harm}",
            remedy,
            file,
        )


def of_place(path: str, files: Files) -> Iterator[Finding]:
    """Find what is wrong with the file system.

    Args:
        path: of the database.
        files: of the store, as `files_of` returns them.
    """
    directory = os.path.dirname(path)
    try:
        filesystem.refuse_network_filesystem(directory)
    except NetworkFilesystem as error:
        yield from_error("file system", error)
    points = [point for point, _ in filesystem.mounts()]
    yield from (
        Finding(
            "file system",
            f"{shown(os.path.basename(file))} alone is mounted, without what belongs beside it",
            f"mount the directory that it is in instead, and unmount it: {command('umount', file)}",
            file,
        )
        for file in files
        if file in points
    )
    for place in (directory, *(file for file in files if file in points)):
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            point = _mount_point(place)
            yield Finding(
                "file system",
                f"{shown(point)} is mounted read-only, so nothing can be set",
                f"mount it to be written to: {command('mount', '-o', 'remount,rw', point)}",
                place,
            )
            return
    yield from _of_space(directory, files[path].st_size + _SPARE_BYTES)


def _of_space(directory: str, needed: int) -> Iterator[Finding]:
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    if free < needed:
        yield Finding(
            "file system",
            f"{free / 2**20:.0f} MiB are free, where {needed / 2**20:.0f} MiB may be needed (the "
            f"database once more, and {_SPARE_BYTES // 2**20} MiB)",
            f"free some space: {command('df', '-h', directory)} shows where it stands",
            directory,
        )


def itself_a_shelf(path: str) -> Iterator[Finding]:
    """Find that a file is not a store, but a shelf.

    Args:
        path: of the file.
    """
    found = old_shelf.what_it_is(path)
    if found is not None:
        yield from_error("shelf", found)


def _names_beside(file: str, found: os.stat_result) -> list[str]:
    directory = os.path.dirname(file)
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.inode() == found.st_ino]
    except OSError:
        return [file]


def _mount_point(file: str) -> str:
    while not os.path.ismount(file) and file not in [point for point, _ in filesystem.mounts()]:
        file = os.path.dirname(file)
    return file
