"""Shared by the tests of `check`: to make a store, ask for findings, and carry out a remedy."""

import os
import subprocess
from typing import Final

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.check import Finding, check

__all__ = [
    "NEEDS_LINUX",
    "NEEDS_ROOT",
    "carry_out",
    "make_store",
    "only",
    "stages",
    "states_of_files",
]

NEEDS_ROOT: Final = pytest.mark.skipif(
    os.geteuid() != 0, reason="giving files to other users needs root"
)
NEEDS_LINUX: Final = pytest.mark.skipif(
    not os.path.exists("/proc/locks"), reason="who holds a lock is told by /proc/locks"
)


def make_store(path: str, **states: str) -> None:
    """Make a store in which each sender has its state, and close it."""
    with SQLiteStorage(path) as store:
        for sender, state in (states or {"ann": "A1"}).items():
            store.set("m", sender, state)


def only(path: str) -> Finding:
    """Return the only finding; its texts must be printable."""
    found = check(path)
    assert len(found) == 1, found
    for text in (found[0].subject, found[0].problem, found[0].remedy):
        assert text
        assert text.isprintable()
    return found[0]


def stages(path: str) -> set[str]:
    """Return the stages of a check, as its progress function is told."""
    found: set[str] = set()
    check(path, progress=lambda what, _done, _total: found.add(what))
    return found


def carry_out(remedy: str) -> None:
    """Run the command line at the end of a remedy, behind the last colon if there is one."""
    command = remedy.rpartition(": ")[2]
    ended = subprocess.run(
        ["bash", "-euc", command], capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 0, ended.stderr


def states_of_files(path: str) -> dict[str, tuple[int, ...]]:
    """Return the files in the directory of a store, each with what a write to it would change."""
    return {
        entry.name: (found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode)
        for entry in os.scandir(os.path.dirname(path))
        for found in [entry.stat()]
        if not entry.name.endswith("-shm")  # SQLite keeps its locks and marks in a -shm
    }
