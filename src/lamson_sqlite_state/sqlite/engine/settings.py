"""What a store was asked to be: the arguments of `SQLiteStorage`, checked."""

import os
from typing import NamedTuple, Self

_SYNCHRONOUS_MODES = ("FULL", "NORMAL")


class Settings(NamedTuple):
    """The arguments of `SQLiteStorage`, and whether a missing or empty file is an error."""

    database_path: str
    timeout: float = 30.0
    synchronous: str = "FULL"
    file_mode: int = 0o600
    cache_size: int = 65_536
    must_exist: bool = False

    def checked(self) -> Self:
        """Return the same, with the path made absolute.

        Raises:
            ValueError, TypeError: as `SQLiteStorage` says.
        """
        path = os.fsdecode(self.database_path)
        if path in ("", ":memory:"):
            raise ValueError(f"{path!r} names no file that processes could share: give a path")
        if "\0" in path:
            raise ValueError(f"a path cannot hold a NUL character: {path!r}")
        if not self.timeout >= 0:
            raise ValueError(f"timeout must be 0 or more seconds, not {self.timeout!r}")
        if self.synchronous not in _SYNCHRONOUS_MODES:
            raise ValueError(f"synchronous must be 'FULL' or 'NORMAL', not {self.synchronous!r}")
        if self.file_mode & ~0o777 or self.file_mode & 0o600 != 0o600:
            raise ValueError(f"file_mode must be 0o600 to 0o777, not {self.file_mode!r}")
        if not isinstance(self.cache_size, int):
            raise TypeError(f"cache_size must be an int, not {self.cache_size!r}")
        if self.cache_size < 0:
            raise ValueError(f"cache_size must be 0 or more pairs, not {self.cache_size!r}")
        return self._replace(database_path=os.path.abspath(path))
