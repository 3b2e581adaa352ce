"""A check's look at what stands beside a database: lost, left over, or another's."""

import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import Final

from ...command_line import command
from ...errors import StorageError, UnsafeFork
from ..coherence import counters
from ..engine import lock_probe, open_checks
from ..engine.driver_errors import OPENING_SECONDS, Busy
from ..engine.lock_probe import DEADMAN_SWITCH, SHARED_LOCKS
from ..engine.open_checks import SeenFiles
from ..process import filesystem, fork
from ..process.filesystem import Identity
from ..process.new_files import is_unfinished
from ..process.reentry import holding
from ._files import Files
from ._finding import Finding, age, shown
from ._processes import described, held_locks
from ._sampling import looks

# What is made under another name before it takes its own is there for milliseconds, or for as long
# as a large database takes to copy.
_MAKING_SECONDS: Final = 60.0

# A backup or an export is written to all the time; then a large one is verified.
_COPYING_SECONDS: Final = 3600.0

# Whoever is just opening or closing the database can look like a mishap for so long.
_PATIENCE_SECONDS: Final = 2 * OPENING_SECONDS
_NAP_SECONDS: Final = 0.005

# As long as the header that SQLite writes over, with zeros, when it is done with a journal.
_JOURNAL_HEADER_BYTES: Final = 28


def is_in_use(path: str, identity: Identity) -> bool:
    """Whether any process has the database open, or nobody can tell."""
    if sys.platform != "linux" or lock_probe.has_open(os.getpid(), identity):
        return True
    try:
        holder = holding(fork.open_lock, lock_probe.lock_holder, path, identity, SHARED_LOCKS)
    except OSError:  # it may not be opened, or not be written to
        return True
    return holder is not None


def lost(path: str, identity: Identity) -> Iterator[Finding]:
    """Find that the log in use is not the one beside the database: nobody new can open it then.

    Args:
        path: of the database.
        identity: of the database.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
    """
    for _ in looks(_PATIENCE_SECONDS, _NAP_SECONDS):
        try:
            if holding(fork.open_lock, _is_safe, path, identity):
                return
            blocker = "the database was replaced, and this process has the old one open"
        except Busy as busy:
            blocker = busy.blocker
        except UnsafeFork:
            raise
        except (OSError, StorageError):  # it may not be opened: who reads it next says so
            return
        if filesystem.identity(path) != identity:
            break
    users = _users(path, identity)
    yield Finding(
        "side files",
        blocker + (f": {', '.join(map(described, users))}" if users else ""),
        "do not end those processes, which may have the only copy of some states: have one of "
        "them handle a mail, which mends it"
        + (
            f" (those that are stopped: {command('kill', '-CONT', *map(str, users))})" * bool(users)
        ),
        path,
    )


def _is_safe(path: str, identity: Identity) -> bool:
    return open_checks.refuse_unsafe(SeenFiles(path, identity), is_locked=False)


def hot_journal(path: str) -> Iterator[Finding]:
    """Find a rollback journal, which the next to open the database would write into it.

    Args:
        path: of the database.
    """
    journal = f"{path}-journal"
    try:
        with open(journal, "rb") as file:
            header = file.read(_JOURNAL_HEADER_BYTES)
            age_seconds = time.time() - os.fstat(file.fileno()).st_mtime
    except OSError:
        return
    if any(header):
        yield Finding(
            "side files",
            f"{shown(os.path.basename(journal))}, {age(age_seconds)} old, would be written into "
            "the database by the next program that opens it; a store has no such journal",
            "if it came here with a copy, or belongs to another file: "
            f"{command('mv', journal, f'{journal}.aside')}; if a program that wrote to this very "
            f"file has crashed: {command('sqlite3', path, 'PRAGMA quick_check')} brings it in",
            journal,
        )


def left_over(path: str, *, has_users: bool) -> Iterator[Finding]:
    """Find what a process that was killed did not come to rename: here, or a copy beside it.

    Args:
        path: of the database.
        has_users: whether the database is in use, so that somebody may be at it just now.
    """
    for file, making_seconds in (
        *((path + suffix, _MAKING_SECONDS * has_users) for suffix in filesystem.MAKESHIFT_FILES),
        *((copy, _COPYING_SECONDS) for copy in _unfinished(os.path.dirname(path))),
    ):
        try:
            found = os.lstat(file)
        except OSError:
            continue
        age_seconds = time.time() - found.st_mtime
        if making_seconds and age_seconds < making_seconds:
            continue
        yield Finding(
            "side files",
            f"{shown(os.path.basename(file))}, {age(age_seconds)} old, was left over by a process "
            "that was killed",
            command("rm", "-r" if stat.S_ISDIR(found.st_mode) else "-f", file),
            file,
        )


def _unfinished(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:  # one that may be entered, but not read
        return []
    return sorted(os.path.join(directory, name) for name in names if is_unfinished(name))


def spoilt_versions(path: str, files: Files) -> Iterator[Finding]:
    """Find counters of another size or layout than they were made with.

    Args:
        path: of the database.
        files: of the store, as `files_of` returns them.
    """
    file = f"{path}.versions"
    found = files.get(file)
    if found is None or not stat.S_ISREG(found.st_mode):
        return
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # it has just gone, or is not ours to read
        return
    try:
        size, is_sound = os.fstat(descriptor).st_size, counters.is_sound(descriptor)
    finally:
        os.close(descriptor)
    if not is_sound:
        yield Finding(
            "versions",
            f"{shown(os.path.basename(file))} ({size} bytes) does not hold the counters that it "
            "was made with, so nothing is kept in memory",
            f"remove it, the next writer makes it anew: {command('rm', file)}",
            file,
        )


def _users(path: str, identity: Identity) -> list[int]:
    shm = filesystem.identity(f"{path}-shm")
    return sorted(
        {
            lock.process
            for lock in held_locks()
            if not lock.is_flock
            and (
                (lock.covers(*SHARED_LOCKS) and lock.is_on(identity))
                or (shm is not None and lock.covers(*DEADMAN_SWITCH) and lock.is_on(shm))
            )
        }
    )
