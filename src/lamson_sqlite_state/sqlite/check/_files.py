"""Looks at the files of a store and at the file system; none opens the database."""

import os
import stat
from collections.abc import Iterator, Mapping
from typing import Final

from ...command_line import command
from ...errors import NetworkFilesystem, NotAStateFile, StorageError
from ..engine import old_shelf
from ..process import filesystem, remedies
from ._look import Finding, Target, from_error, shown, shown_name
from ._reader import is_database

# A log takes up to 16 MiB (`StatesTable`). A backup or a mending takes the database once more.
_SPARE_BYTES: Final = 64 * 1024 * 1024


def not_a_database(target: Target) -> Iterator[Finding]:
    """Find that the path leads to no SQLite database, nor to an empty file."""
    try:
        filesystem.database_at(target.path)
    except NotAStateFile as error:
        yield from_error("integrity", error)
        return
    except StorageError:  # it has several names, which `hard_links` finds
        pass
    if not is_database(target.path, target.identity):
        yield shelf(target.path) or Finding(
            "integrity",
            "this is not an SQLite database",
            "give another path; if this was a store, restore a backup",
            target.path,
        )


def shelf(path: str) -> Finding | None:
    """Return a finding if a file that is no store is a shelf."""
    error = old_shelf.what_it_is(path)
    return from_error("shelf", error) if error else None


def empty(target: Target) -> Iterator[Finding]:
    """Find that nobody has made a store of the file yet."""
    if not os.path.getsize(target.path):
        yield Finding(
            "schema",
            "the file is empty, no store has been made of it yet",
            "have a worker use it, or restore a backup",
            target.path,
        )


def misplaced(target: Target) -> Iterator[Finding]:
    """Find directories, links and devices in the places of side files."""
    subjects = {target.paths.lock: "lock", target.paths.versions: "versions"}
    for file, kind in remedies.misplaced(target.path):
        yield Finding(
            subjects.get(file, "side files"),
            f"{kind} stands where {shown_name(file)} has to be",
            f"move it away, the next writer makes it anew: {command('mv', file, f'{file}.aside')}",
            file,
        )


def hard_links(target: Target) -> Iterator[Finding]:
    """Find that the database has several names, each of which would get a log of its own."""
    files = {target.path: os.stat(target.path)}
    yield from _with_links(files, "each name would get a log of its own")


def shared_side_files(target: Target) -> Iterator[Finding]:
    """Find that a side file has several names, and so belongs to another store or a copy, too."""
    files = target.files()
    del files[target.path]
    yield from _with_links(files, "stores would share it")


def _with_links(files: Mapping[str, os.stat_result], harm: str) -> Iterator[Finding]:
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
        yield Finding(
            "hard links",
            f"{shown_name(file)} has {found.st_nlink} names, and {harm}",
            remedy,
            file,
        )


def on_a_network(target: Target) -> Iterator[Finding]:
    """Find that the file system is one that machines share."""
    try:
        filesystem.refuse_network_filesystem(target.directory)
    except NetworkFilesystem as error:
        yield from_error("file system", error)


def mounted_alone(target: Target) -> Iterator[Finding]:
    """Find files that are mounted without their directory."""
    for file in _mounted(target):
        yield Finding(
            "file system",
            f"{shown_name(file)} alone is mounted, without what belongs beside it",
            f"mount the directory that it is in instead, and unmount it: {command('umount', file)}",
            file,
        )


def not_writable(target: Target) -> Iterator[Finding]:
    """Find that the file system is mounted read-only, or has little space."""
    directory = target.directory
    for place in (directory, *_mounted(target)):
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            point = _mount_point(place)
            yield Finding(
                "file system",
                f"{shown(point)} is mounted read-only, so nothing can be set",
                f"mount it to be written to: {command('mount', '-o', 'remount,rw', point)}",
                place,
            )
            return
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    needed = os.path.getsize(target.path) + _SPARE_BYTES
    if free < needed:
        yield Finding(
            "file system",
            f"{free / 2**20:.0f} MiB are free, where {needed / 2**20:.0f} MiB may be needed (the "
            f"database once more, and {_SPARE_BYTES // 2**20} MiB)",
            f"free some space: {command('df', '-h', directory)} shows where it stands",
            directory,
        )


def _mounted(target: Target) -> list[str]:
    points = {point for point, _ in filesystem.mounts()}
    return [file for file in target.files() if file in points]


def _names_beside(file: str, found: os.stat_result) -> list[str]:
    try:
        with os.scandir(os.path.dirname(file)) as entries:
            return [entry.path for entry in entries if entry.inode() == found.st_ino]
    except OSError:  # the directory may be entered, but not read
        return [file]


def _mount_point(file: str) -> str:
    points = {point for point, _ in filesystem.mounts()}
    while not os.path.ismount(file) and file not in points:
        file = os.path.dirname(file)
    return file
