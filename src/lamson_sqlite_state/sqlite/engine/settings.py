"""The settings of a store: the arguments of `SQLiteStorage`, checked."""

from __future__ import annotations

import os
from typing import Final

_SYNCHRONOUS_MODES: Final = ("FULL", "NORMAL")


class Settings:
    """The arguments of `SQLiteStorage`, the path made absolute.

    Args:
        must_exist: whether a missing or empty file is an error.
        The other arguments are those of `SQLiteStorage`.

    Raises:
        ValueError, TypeError: as `SQLiteStorage` says.
    """

    def __init__(
        self,
        database_path: str | os.PathLike[str],
        timeout: float = 30.0,
        synchronous: str = "FULL",
        file_mode: int = 0o600,
        cache_size: int = 65_536,
        *,
        must_exist: bool = False,
    ) -> None:
        path = os.fsdecode(database_path)
        if path in ("", ":memory:"):
            raise ValueError(f"{path!r} names no file that processes could share: give a path")
        if "\0" in path:
            raise ValueError(f"a path cannot hold a NUL character: {path!r}")
        if not timeout >= 0:
            raise ValueError(f"timeout must be 0 or more seconds, not {timeout!r}")
        if synchronous not in _SYNCHRONOUS_MODES:
            raise ValueError(f"synchronous must be 'FULL' or 'NORMAL', not {synchronous!r}")
        if file_mode & ~0o777 or file_mode & 0o600 != 0o600:
            raise ValueError(f"file_mode must be 0o600 to 0o777, not {file_mode!r}")
        if not isinstance(cache_size, int):
            raise TypeError(f"cache_size must be an int, not {cache_size!r}")
        if cache_size < 0:
            raise ValueError(f"cache_size must be 0 or more pairs, not {cache_size!r}")
        self.database_path: str = os.path.abspath(path)
        self.timeout: float = timeout
        self.synchronous: str = synchronous
        self.file_mode: int = file_mode
        self.cache_size: int = cache_size
        self.must_exist: bool = must_exist
