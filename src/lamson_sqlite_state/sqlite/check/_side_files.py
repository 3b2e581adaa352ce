"""Looks for files beside a database that are lost, left over, or another database's."""

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
from ._look import Finding, Target, age, samples, shown_name
from ._processes import described, held_locks, holders

# A file that is made under another name before it takes its own has that name for milliseconds, or
# for as long as a large database takes to copy.
_MAKING_SECONDS: Final = 60.0

# A backup or an export is written to all the time; then a large one is verified.
_COPYING_SECONDS: Final = 3600.0

# A process that is just opening or closing the database can look like a mishap for so long.
_PATIENCE_SECONDS: Final = 2 * OPENING_SECONDS
_NAP_SECONDS: Final = 0.005

# The header that SQLite overwrites with zeros when it is done with a journal.
_JOURNAL_HEADER_BYTES: Final = 28


def lost(target: Target) -> Iterator[Finding]:
    """Find that the log in use is not the one beside the database, so that others cannot open it.

    Raises:
        UnsafeFork: the database was open here when C code forked this process.
    """
    path, identity = target.path, target.identity
    for _ in samples(_PATIENCE_SECONDS, _NAP_SECONDS):
        try:
            if holding(fork.open_lock, _is_safe, path, identity):
                return
            blocker = "the database was replaced, and this process has the old one open"
        except Busy as busy:
            blocker = busy.blocker
        except UnsafeFork:
            raise
        except (OSError, StorageError):  # it cannot be opened, as the look that reads it next says
            return
        if filesystem.identity(path) != identity:
            break
    locks, shm = held_locks(), filesystem.identity(target.paths.shm)
    users = sorted(holders(locks, identity, SHARED_LOCKS) | holders(locks, shm, DEADMAN_SWITCH))
    remedy = (
        "do not end those processes, which may have the only copy of some states: have one of "
        "them handle a mail, which mends it"
    )
    if users:
        blocker += f": {', '.join(map(described, users))}"
        resume = command("kill", "-CONT", *map(str, users))
        remedy += f" (those that are stopped: {resume})"
    yield Finding("side files", blocker, remedy, path)


def hot_journal(target: Target) -> Iterator[Finding]:
    """Find a rollback journal: the next program to open the database would write it into that."""
    journal = target.paths.journal
    try:
        with open(journal, "rb") as file:
            header = file.read(_JOURNAL_HEADER_BYTES)
            seconds = time.time() - os.fstat(file.fileno()).st_mtime
    except OSError:
        return
    if any(header):
        yield Finding(
            "side files",
            f"{shown_name(journal)}, {age(seconds)} old, would be written into the database by the "
            "next program that opens it; a store has no such journal",
            "if it came here with a copy, or belongs to another file: "
            f"{command('mv', journal, f'{journal}.aside')}; if a program that wrote to this very "
            f"file has crashed: {command('sqlite3', target.path, 'PRAGMA quick_check')} brings it "
            "in",
            journal,
        )


def left_over(target: Target) -> Iterator[Finding]:
    """Find unfinished files of the store, and unfinished copies beside it, of killed processes."""
    making_seconds = _MAKING_SECONDS if _is_in_use(target) else 0.0
    for file, most_seconds in (
        *((file, making_seconds) for file in target.paths.makeshift),
        *((copy, _COPYING_SECONDS) for copy in _unfinished(target.directory)),
    ):
        try:
            found = os.lstat(file)
        except OSError:
            continue
        seconds = max(0.0, time.time() - found.st_mtime)
        if seconds >= most_seconds:
            yield Finding(
                "side files",
                f"{shown_name(file)}, {age(seconds)} old, was left over by a process that was "
                "killed",
                command("rm", "-r" if stat.S_ISDIR(found.st_mode) else "-f", file),
                file,
            )


def spoilt_versions(target: Target) -> Iterator[Finding]:
    """Find counters of another size or layout than this package makes."""
    file = target.paths.versions
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # there is none, or a link; or this user may not read it
        return
    try:
        found, is_sound = os.fstat(descriptor), counters.is_sound(descriptor)
    finally:
        os.close(descriptor)
    if stat.S_ISREG(found.st_mode) and not is_sound:
        yield Finding(
            "versions",
            f"{shown_name(file)} ({found.st_size} bytes) does not hold the counters that it was "
            "made with, so nothing is kept in memory",
            f"remove it, the next writer makes it anew: {command('rm', file)}",
            file,
        )


def _is_safe(path: str, identity: Identity) -> bool:
    return open_checks.refuse_unsafe(SeenFiles(path, identity), is_locked=False)


def _is_in_use(target: Target) -> bool:
    """Whether any process has the database open, or nobody can tell."""
    path, identity = target.path, target.identity
    if sys.platform != "linux" or lock_probe.has_open(os.getpid(), identity):
        return True
    try:
        holder = holding(fork.open_lock, lock_probe.lock_holder, path, identity, SHARED_LOCKS)
    except OSError:  # this user may not open it, or not write to it
        return True
    return holder is not None


def _unfinished(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:  # the directory may be entered, but not read
        return []
    return sorted(os.path.join(directory, name) for name in names if is_unfinished(name))
