"""Looks at paths: which file a path names, on which file system, and if a store may be there."""

from __future__ import annotations

import os
import re
import stat
from typing import Final, TypeAlias

from ...errors import NetworkFilesystem, NotAStateFile, StorageError
from .clock import Clock
from .store_paths import StorePaths

Identity: TypeAlias = tuple[int, int]
"""``(device, inode)`` of the file that a name stands for at this moment."""

Stamp: TypeAlias = tuple[int, int, int]
"""``(device, inode, change time in ns)`` of a directory."""

_MOUNT_TABLE: Final = "/proc/self/mountinfo"

# One page of the smallest size. SQLite takes a file of a single byte for an empty database.
_SMALLEST_DATABASE_BYTES: Final = 512

# SQLite's limit for a database: MAX_PATHNAME of os_unix.c, less the "-journal" that SQLite appends.
_MOST_PATH_BYTES: Final = 504

_USUAL_NAME_BYTES: Final = 255


# Types of file systems on other hosts' disks, on disks that hosts share, on object stores, and of
# folders that a virtual machine shares with its host. Processes that share such a file share no
# memory, or do not see each other's locks.
_NETWORK_FILESYSTEMS: Final = frozenset(
    "9p acfs afs beegfs ceph cifs coda davfs davfs2 drvfs fakeowner gfs gfs2 glusterfs gpfs "
    "grpcfuse lustre ncpfs nfs nfs4 ocfs2 orangefs osxfs panfs prl_fs pvfs2 quobyte "
    "smb2 smb3 smbfs vboxsf virtiofs vmhgfs wekafs "
    "fuse.afp fuse.afpfs fuse.alluxio fuse.blobfuse fuse.blobfuse2 fuse.ceph fuse.ceph-fuse "
    "fuse.cosfs fuse.curlftpfs fuse.davfs fuse.dfuse fuse.ftpfs fuse.gcsfuse fuse.geesefs "
    "fuse.glusterfs fuse.google-drive-ocamlfuse fuse.goofys fuse.grpcfuse fuse.gvfsd-fuse "
    "fuse.hdfs fuse.hgfs fuse.juicefs fuse.kio-fuse fuse.lizardfs fuse.mfs fuse.moosefs "
    "fuse.mount-s3 fuse.mountpoint-s3 fuse.nfs fuse.objectivefs fuse.obsfs fuse.ossfs fuse.osxfs "
    "fuse.quobyte fuse.rclone fuse.s3fs fuse.s3ql fuse.saunafs fuse.seaweedfs "
    "fuse.smbnetfs fuse.sshfs fuse.vboxsf fuse.virtiofs fuse.vmhgfs-fuse fuse.webdavfs "
    "fuse.xtreemfs".split()
)

_local_devices: Final[set[int]] = set()
"""Devices that were found on no such file system. They are remembered, because reading the mount
table costs as much as opening a database, and a mounted device does not change its type."""


def flock_refused(error: OSError, lock: str) -> StorageError:
    """Return what to raise ``from`` an error of flock(2) that does not mean "it is locked".

    Args:
        error: what flock(2) said.
        lock: the path of the lock file.
    """
    kind = mounted_type(os.path.dirname(lock)) or "unknown"
    return StorageError(
        f"flock(2) is refused ({error.strerror}; the file system is of the type {kind}), without "
        "which writers cannot take turns",
        "put the store on a local disk",
        lock,
        code="unsuitable-filesystem",
    )


def identity(path: str) -> Identity | None:
    """Return which file ``path`` names now, or None where there is none."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if error.filename != path:
            raise
        return None
    return found.st_dev, found.st_ino


class DatabaseFile:
    """What stands at the path of a store.

    Attributes:
        identity: which file that is, or None where there is none.
        size_bytes: of the file.
    """

    def __init__(self, identity: Identity | None, size_bytes: int) -> None:
        self.identity = identity
        self.size_bytes = size_bytes

    @property
    def absence(self) -> str:
        """Why there can be no store: the file is missing or empty. "" where there may be one."""
        if self.identity is None:
            return "no such file"
        return "" if self.size_bytes else "this file is empty"


def database_at(path: str) -> DatabaseFile:
    """Return what stands at the path of a store, if that may be a store or become one.

    Raises:
        NotAStateFile: the path is a directory or anything else that is no regular file.
        StorageError: the file has a second name. SQLite names the write-ahead log after the
            name a file was opened by, so processes coming by different names would each
            write a log of their own (https://www.sqlite.org/howtocorrupt.html section 2.5).
    """
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        if error.filename != path:
            raise
        return DatabaseFile(None, 0)
    if stat.S_ISDIR(found.st_mode):
        raise NotAStateFile("this is a directory", "give the path of a file in it", path)
    if not stat.S_ISREG(found.st_mode):
        raise NotAStateFile("this is no regular file", "give another path", path)
    if found.st_nlink > 1:
        raise StorageError(
            f"the file has {found.st_nlink} names (hard links), and SQLite would give each a log "
            "of its own",
            "remove the others (find -samefile lists them), or copy the file",
            path,
            code="hard-links",
        )
    if 0 < found.st_size < _SMALLEST_DATABASE_BYTES:
        raise NotAStateFile("this is not an SQLite database", "give another path", path)
    return DatabaseFile((found.st_dev, found.st_ino), found.st_size)


class DirectoryWatch:
    """Tells with one stat whether any name in a directory may have changed.

    Creating, deleting or renaming a file moves the directory's change time, so one look at that
    time stands for a look at each file. (The modification time would not do: tar and rsync set it
    back when they restore a directory.) Two changes within one tick of the file system's clock
    leave the same time; git calls such an entry racily clean. So a change time is believed only
    once it is older than a tick. Until then, every look says "may have changed".

    Attributes:
        directory: its path.
    """

    # The kernel's coarse clock ticks every 1-10 ms. A time without microseconds comes from a file
    # system that keeps seconds or 10 ms (ext3; FAT's 2 s are the coarsest in use).
    _FINE_TICK_NS: Final = 50_000_000
    _COARSE_TICK_NS: Final = 3_000_000_000

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._believed: Stamp | None = None

    def look(self) -> Stamp | None:
        """Return None where nothing has changed since `settle`, else the stamp to settle with.

        Raises:
            FileNotFoundError: the directory is gone.
        """
        found = os.stat(self.directory)
        stamp = found.st_dev, found.st_ino, found.st_ctime_ns
        return None if stamp == self._believed else stamp

    def is_unchanged(self) -> bool:
        """Whether nothing has changed since `settle`; False where the directory is gone."""
        try:
            found = os.stat(self.directory)  # this is `look`, written out because every write asks
            return (found.st_dev, found.st_ino, found.st_ctime_ns) == self._believed
        except FileNotFoundError as error:
            if error.filename != self.directory:
                raise
            return False

    def settle(self, stamp: Stamp) -> None:
        """Believe a stamp that was taken *before* each file was looked at and found in place."""
        changed_ns = stamp[2]
        tick_ns = self._FINE_TICK_NS if changed_ns % 1_000_000 else self._COARSE_TICK_NS
        if Clock.time_ns() - changed_ns > tick_ns:
            self._believed = stamp


def refuse_long_path(path: str, *, database: str | None = None) -> None:
    """Do nothing where SQLite and the file system can open all files of a store by their names.

    Args:
        path: of a store, or of another file if ``database`` is given.
        database: the longest path that SQLite opens for the other file.

    Raises:
        StorageError: some of the names would be too long.
    """
    paths = StorePaths(path)
    needed = len(os.fsencode(database or paths.rescue))
    if needed > _MOST_PATH_BYTES:
        size = len(os.fsencode(path))
        most = size - (needed - _MOST_PATH_BYTES)
        raise _too_long("path", size, most, path)
    name, most = len(os.fsencode(os.path.basename(path))), _most_name_bytes(path)
    if database is None:
        most -= max(map(len, paths.all)) - len(path)
    if name > most:
        raise _too_long("file name", name, most, path)


def _too_long(what: str, size_bytes: int, most_bytes: int, path: str) -> StorageError:
    problem = f"the {what} is too long ({size_bytes} of at most {most_bytes} bytes)"
    return StorageError(problem, "give a shorter one", path, code="path-too-long")


def _most_name_bytes(path: str) -> int:
    while path != (path := os.path.dirname(path)):
        try:
            return os.statvfs(path).f_namemax or _USUAL_NAME_BYTES
        except FileNotFoundError:  # the directory will be made on its parent's file system
            continue
        except OSError:
            break
    return _USUAL_NAME_BYTES


def refuse_network_filesystem(directory: str) -> None:
    """Do nothing where ``directory`` is on a local file system, or where nobody can tell.

    Raises:
        NetworkFilesystem: the mount table (Linux) says that other hosts may share it.
    """
    while True:
        try:
            device = os.stat(directory).st_dev
        except FileNotFoundError as error:  # it will be made on its parent's file system
            if error.filename != directory:
                raise
            directory = os.path.dirname(directory)
        else:
            break
    if device in _local_devices:
        return
    kind = mounted_type(directory)
    if kind in _NETWORK_FILESYSTEMS:
        raise NetworkFilesystem(
            f"this is on a network file system ({kind}), or another that machines share, where "
            "SQLite's write-ahead log cannot keep processes apart",
            "put the store on a local disk",
            directory,
        )
    if kind is not None:  # the mount table could be read
        _local_devices.add(device)


def mounts() -> list[tuple[str, str]]:
    """Return each mount point with the type of its file system, in the order of mounting.

    Empty where nobody can tell: on other systems than Linux, or without /proc.
    """
    # Columns: https://www.kernel.org/doc/html/latest/filesystems/proc.html section 3.5.
    try:
        with open(_MOUNT_TABLE, "rb") as table:
            lines = table.read().splitlines()
    except OSError:  # not Linux, or no /proc in this chroot
        return []
    found = []
    for line in lines:
        before, _, after = line.partition(b" - ")
        # The kernel writes space, tab, newline and backslash as octal escapes.
        point = re.sub(
            rb"\\([0-7]{3})", lambda escape: bytes([int(escape[1], 8)]), before.split()[4]
        )
        found.append((os.fsdecode(point), after.split()[0].decode()))
    return found


def mounted_type(directory: str) -> str | None:
    """Return the type of the file system that a directory is on, or None where nobody can tell."""
    # The last mount on the longest prefix counts, because it covers earlier ones.
    best, kind = -1, None
    for point, its_kind in mounts():
        inside = directory == point or directory.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), its_kind
    return kind
