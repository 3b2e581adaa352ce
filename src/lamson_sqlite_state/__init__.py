"""Process-safe conversation states for Lamson and Salmon mail applications.

``Router.STATE_STORE = SQLiteStorage("run/states")``, and any number of threads and of forked
worker processes share that one file.
"""

import os as _os

if not hasattr(_os, "register_at_fork"):  # pragma: no cover
    raise ImportError("lamson-sqlite-state needs a POSIX system: flock, fork and shared memory")

from .errors import (
    LockTimeout,
    NetworkFilesystem,
    NotAStateFile,
    SchemaTooNew,
    StorageError,
    UnsafeFork,
)
from .interface import ROUTE_FIRST_STATE, StateStorage
from .sqlite.storage import SQLiteStorage

__all__ = [
    "ROUTE_FIRST_STATE",
    "LockTimeout",
    "NetworkFilesystem",
    "NotAStateFile",
    "SQLiteStorage",
    "SchemaTooNew",
    "StateStorage",
    "StorageError",
    "UnsafeFork",
]

# A literal, because importlib.metadata takes three times as long as all of this package's import.
# pyproject.toml reads the version from this line.
__version__ = "0.1.0"
