"""Where it was measured: no time means anything without."""

import dbm
import os
import platform
import re
import shelve
import shutil
import sqlite3
import subprocess
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Final, TypeAlias

__all__ = ["Environment", "environment", "machine_line", "versions_line"]

Environment: TypeAlias = dict[str, str]

_PACKAGES: Final = "filelock salmon-mail diskcache sqlitedict lmdb redis".split()


def environment(directory: str) -> Environment:
    """Return what the results depend on, for files in this directory."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(directory),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        **{name: _version(name) for name in _PACKAGES},
        "redis-server": _redis_server(),
        "dbm": _dbm(),
    }


def machine_line(found: Environment) -> str:
    """Say in a line what machine it was."""
    return (
        f"{found['cores']} cores of {found['processor']}, {found['kernel']}, "
        f"{found['file system']}, load {found['load before']} before, {found['date']}"
    )


def versions_line(found: Environment) -> str:
    """Say in a line what was compared."""
    names = ["Python", "SQLite", *_PACKAGES, "redis-server"]
    return ", ".join(f"{name} {found[name]}" for name in names) + f"; shelve on {found['dbm']}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            found = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _file_system(directory: str) -> str:
    try:
        with open("/proc/self/mounts") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return "unknown file system"
    path = os.path.join(os.path.realpath(directory), "")
    above = [(point, kind) for point, kind in mounts if path.startswith(os.path.join(point, ""))]
    # In a chroot, the table may have nothing that is above it.
    return max(above, key=lambda mount: len(mount[0]), default=("", "unknown file system"))[1]


def _redis_server() -> str:
    program = shutil.which("redis-server")
    if program is None:
        return "none"
    says = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"v=(\S+)", says.stdout)
    return found[1] if found else "unknown"


def _dbm() -> str:
    # What shelve finds depends on what this Python was built with, and its speed on that.
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "shelf")
        shelve.open(path).close()
        return dbm.whichdb(path) or "unknown"
