"""On which machine, with which versions: no number means anything without.

The benchmarks look up the same of their machine. Nothing is shared with them: they are a package
of the root directory, and the stress runs are programmes that see only their own.
"""

import os
import platform
import re
import sqlite3
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

__all__ = ["machine"]

_PACKAGES: Final = ("lamson-sqlite-state", "filelock")


def machine(directory: Path) -> dict[str, str]:
    """Return what the run depended on, for a store in this directory."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        **{name: _version(name) for name in _PACKAGES},
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        "kernel": f"{platform.system()} {platform.release()}",
        "processor": f"{os.cpu_count()} cores of {_processor()}",
        "memory": _memory(),
        "file system": _file_system(directory),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _file_system(directory: Path) -> str:
    """Return the kind of the mount that is nearest above the directory."""
    kinds = {
        Path(fields[1]): fields[2] for fields in map(str.split, _text("/proc/mounts").splitlines())
    }
    place = directory.resolve()
    return next((kinds[each] for each in (place, *place.parents) if each in kinds), "unknown")


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:  # this is not Linux
        return ""
