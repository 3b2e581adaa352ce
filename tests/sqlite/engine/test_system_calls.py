"""What only the system calls tell: who waits for the disk, and who could read a file just made."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

SYNCS: Final = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"

SYNCING: Final = """
import os, sys
from lamson_sqlite_state import SQLiteStorage

def mark():
    try:
        os.fsync(99_999)  # there is no such file, but the call can be seen
    except OSError:
        pass

store = SQLiteStorage("states", synchronous=sys.argv[1])
store.set("app", "ann", "POSTING")
mark()
store.get("app", "unknown")
mark()
store.set("app", "unknown", "POSTING")
mark()
store.set("app", "unknown", "POSTING")
mark()
store.get("app", "unknown")
mark()
store.get("app", "another unknown")
store.compare_and_set("app", "unknown", "POSTING", "ERROR")
mark()
"""


@pytest.mark.parametrize(("synchronous", "waits"), [("FULL", True), ("NORMAL", False)])
def test_only_a_change_of_state_waits_for_the_disk(
    tmp_path: Path, synchronous: str, waits: bool
) -> None:
    """Storing START never does, and at "NORMAL" no write does."""
    log = traced(tmp_path, SYNCS, SYNCING, synchronous)
    phases = [phase.count("sync(") for phase in log.split("fsync(99999)")]
    _opening, get_unknown, change, same, get_known, change_after_get, _exit = phases

    assert (get_unknown, same, get_known) == (0, 0, 0)
    assert (change > 0, change_after_get > 0) == (waits, waits)


CACHED: Final = """
import os, time
from lamson_sqlite_state import SQLiteStorage

with SQLiteStorage("states") as store:
    store.set("app", "ann", "POSTING")
    store.get("app", "ann")
    store._cache.revalidate_at = time.monotonic() + 60
    os.getppid()
    for _ in range(1_000):
        store.get("app", "ann")
        store.set("app", "ann", "POSTING")
    os.getppid()
"""


def test_cached_reads_and_unchanged_sets_make_none(tmp_path: Path) -> None:
    _, between, _ = re.split(r"getppid\(\) +=", traced(tmp_path, "all", CACHED))
    calls: list[str] = re.findall(r"^\d+ +(\w+)\(", between, re.MULTILINE)
    # Python may ask for some memory. On machines without a vDSO the clock is a call, too.
    assert len(calls) < 10 or set(calls) == {"clock_gettime"}, calls
    assert set(calls) <= {"brk", "mmap", "munmap", "clock_gettime"}


CREATING: Final = """
import os
from lamson_sqlite_state import SQLiteStorage

os.umask(0)
with SQLiteStorage("states") as store:
    store.set("app", "ann", "POSTING")
"""


def test_there_is_no_moment_at_which_others_can_read_the_files(tmp_path: Path) -> None:
    """They are made with the mode they are to have, not given it afterwards."""
    log = traced(tmp_path, "open,openat,creat", CREATING)
    modes = dict(re.findall(r'/(states[^/"]*)", \S*O_CREAT\S*, (0\d+)\)', log))

    assert {"states", "states.lock", "states.versions.new"} <= set(modes)
    assert {"states-wal", "states-shm"} <= set(modes)
    assert set(modes.values()) == {"0600"}


def traced(directory: Path, calls: str, script: str, *arguments: str) -> str:
    """Return strace's log of these system calls of a script that is run in a directory."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is missing, so nobody can see the system calls")
    log = directory / "log"
    command = [
        *[strace, "-f", "-qq", "-s", "999", "-o", str(log), "-e", f"trace={calls}"],
        *[sys.executable, "-c", script, *arguments],
    ]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if "ptrace" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.splitlines()[0]}")
    assert run.returncode == 0, run.stderr
    return log.read_text()
