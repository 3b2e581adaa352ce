"""Which versions of SQLite have the WAL-reset race."""

import sqlite3
from typing import Final

__all__ = ["has_wal_reset_race"]

_FIRST: Final = (3, 7, 0)
_MENDED: Final = (3, 51, 3)

# The two older branches that were given the correction as well.
_MENDED_BRANCHES: Final = ((3, 44, 6), (3, 50, 7))


def has_wal_reset_race(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether a version of SQLite can corrupt a database that it checkpoints in two processes.

    A commit and a checkpoint at one instant can do that, in 3.7.0 to 3.51.2, but for 3.44.6 and
    3.50.7 and what follows them in their branches
    (https://www.sqlite.org/wal.html#walresetbug). What this package writes cannot, as all its
    commits and checkpoints take turns under the file lock. Other programs that write to the
    store can.

    Args:
        version: its three numbers; by default those of the SQLite that Python uses here.
    """
    version = tuple(version[:3])
    if not _FIRST <= version < _MENDED:
        return False
    return not any(version[:2] == branch[:2] and version >= branch for branch in _MENDED_BRANCHES)
