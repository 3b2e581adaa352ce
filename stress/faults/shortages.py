"""Faults of scarcity and of bad disks: no room, no descriptors, writes and syncs that fail."""

import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from lamson_sqlite_state import SQLiteStorage
from workers.stage import Stage
from workers.worker import Worker

from ._fault import Fault

__all__ = ["Descriptors", "FailingSyncs", "FailingWrites", "FullDisk"]

_DISK_BYTES: Final = 24 << 20
_STRACE_SECONDS: Final = 10.0
_BUSY_SECONDS: Final = 1.0

# For how long a worker may keep a strike waiting for a call that can fail.
_HIT_SECONDS: Final = 2.0


class FullDisk(Fault):
    """A disk without room."""

    name = "full-disk"
    about = "the disk fills up, and gets room again (a small tmpfs, filled and emptied)"
    allows = "StorageError, with nothing written, or with an outcome that it calls unknown"
    errors = (("StorageError", "disk is full"), ("StorageError", "unknown"))
    is_alone = True

    def missing(self) -> str | None:
        if os.geteuid():
            return "only root may mount a small disk"
        return None if shutil.which("mount") else "there is no mount command"

    @contextmanager
    def place(self, directory: Path) -> Iterator[Path]:
        disk = directory.parent / f"{directory.name}-disk"
        disk.mkdir()
        options = f"size={_DISK_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
        try:
            yield disk / "run"
        finally:
            subprocess.run(["umount", disk], check=True)
            disk.rmdir()

    def strikes(self, stage: Stage) -> Iterator[float]:
        ballast = Path(stage.path).parent.parent / "ballast"
        try:
            while True:
                yield stage.between(0.05, 0.2)
                # What the log has room for goes on being written: only growth fails.
                shrinker = stage.crew.fork("other tool", partial(_shrink_log, stage.path))
                while shrinker.is_alive:
                    yield 0.005
                    stage.crew.poll()
                with stage.log.struck(self.name, "disk full"):
                    _fill(ballast)
                    yield stage.between(0.1, 0.3)
                    ballast.unlink(missing_ok=True)
        finally:
            ballast.unlink(missing_ok=True)


class _Injection(Fault):
    """System calls of a worker fail now and then."""

    call: ClassVar[str]
    error: ClassVar[str]

    allows = "StorageError, with nothing written, or with an outcome that it calls unknown"
    errors = (("StorageError", ""),)
    is_alone = True

    def missing(self) -> str | None:
        if shutil.which("strace") is None:
            return "strace is not installed, which makes system calls fail"
        tried = subprocess.run(
            ["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False
        )
        return "strace may not trace here" if tried.returncode else None

    def strikes(self, stage: Stage) -> Iterator[float]:
        while True:
            yield stage.between(0.02, 0.1)
            member = stage.any_worker()
            if member is None:
                continue
            first, step = stage.random.randrange(1, 6), stage.random.randrange(2, 9)
            what = f"{self.call} fails with {self.error}"
            with (
                stage.log.struck(self.name, what, number=member.number),
                tempfile.NamedTemporaryFile("r", prefix="strace-") as told,
            ):
                strace = subprocess.Popen(
                    [
                        *["strace", "-f", "-qq", "-o", told.name, "-p", str(member.pid)],
                        *["-e", f"trace={self.call}"],
                        *["-e", f"inject={self.call}:error={self.error}:when={first}+{step}"],
                    ],
                    stderr=subprocess.DEVNULL,
                    process_group=0,  # a Ctrl-C at the terminal is not for it
                )
                try:
                    # On a busy machine, attaching takes as long as all of a strike should.
                    while strace.poll() is None and not _is_traced(member.pid):
                        yield 0.005
                    yield stage.between(0.2, 0.5)
                    until = time.monotonic() + _HIT_SECONDS
                    while (
                        strace.poll() is None
                        and "INJECTED" not in Path(told.name).read_text()
                        and time.monotonic() < until
                    ):
                        yield 0.01
                finally:
                    strace.terminate()
                    strace.wait(_STRACE_SECONDS)


class FailingSyncs(_Injection):
    """fdatasync."""

    name = "failing-syncs"
    about = "fdatasync fails with an I/O error, now and then, in one worker after the other"
    call = "fdatasync"
    error = "EIO"


class FailingWrites(_Injection):
    """pwrite."""

    name = "failing-writes"
    about = "writes fail with an I/O error, now and then, in one worker after the other"
    call = "pwrite64"
    error = "EIO"


class Descriptors(Fault):
    """Descriptors, all taken."""

    name = "descriptors"
    about = "in each worker a thread takes all file descriptors there are, and gives them back"
    allows = "StorageError that says so, with nothing written"
    errors = (("StorageError", "file descriptors"),)
    is_alone = True

    @contextmanager
    def inside(self, worker: Worker) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

        def take_all() -> None:
            assert isinstance(worker.store, SQLiteStorage)
            while not worker.is_over:
                time.sleep(worker.random.uniform(0.02, 0.1))
                taken: list[int] = []
                with worker.log.struck(self.name, "no descriptors left", number=worker.number):
                    try:
                        with suppress(OSError):
                            while True:
                                taken.append(os.open(os.devnull, os.O_RDONLY))
                        # What is open works on. So have it opened again, without descriptors.
                        worker.store.close()
                        with suppress(OSError):
                            while worker.random.random() < 0.9:
                                taken.append(os.open(os.devnull, os.O_RDONLY))
                        time.sleep(worker.random.uniform(0.005, 0.05))
                    finally:
                        for descriptor in taken:
                            os.close(descriptor)

        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 96), hard))
        try:
            with worker.thread(take_all):
                yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _is_traced(process: int) -> bool:
    """Whether somebody traces a process, or it is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return True
    return "TracerPid:\t0\n" not in status


def _shrink_log(path: str, _number: int) -> None:
    with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _fill(ballast: Path) -> None:
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 9):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
