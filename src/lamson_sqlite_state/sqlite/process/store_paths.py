"""Names the files of a store. No other module makes these names."""

from __future__ import annotations

from typing import Final


class StorePaths:
    """The paths of a store's database, and of all files that may stand beside the database.

    Nothing is looked up: whether a file is there is for the caller to ask.

    Args:
        database: the path of the store, with symlinks resolved, as SQLite names the -wal and the
            -shm after the resolved path.

    Attributes:
        database: the same.
        wal: SQLite's write-ahead log.
        shm: SQLite's index of the log.
        lock: the write lock (`write_lock`).
        versions: the shared counters (`coherence.counters`).
        journal: a rollback journal. A store has none, but SQLite would write any file of that name
            back into the database.
        rescue: the copy that takes the database's name where the log was deleted
            (`engine.recovery`).
        new_versions: the counters, until they are complete.
    """

    def __init__(self, database: str) -> None:
        self.database: Final[str] = database
        self.wal: Final[str] = f"{database}-wal"
        self.shm: Final[str] = f"{database}-shm"
        self.lock: Final[str] = f"{database}.lock"
        self.versions: Final[str] = f"{database}.versions"
        self.journal: Final[str] = f"{database}-journal"
        self.rescue: Final[str] = f"{database}.rescue"
        self.new_versions: Final[str] = f"{self.versions}.new"

    @property
    def side_files(self) -> tuple[str, str]:
        """The files that SQLite makes and deletes beside the database of a store."""
        return self.wal, self.shm

    @property
    def sqlite_files(self) -> tuple[str, str, str, str]:
        """Any SQLite database, and the files that SQLite may make beside it.

        Source: https://www.sqlite.org/tempfiles.html.
        """
        return self.database, self.journal, self.wal, self.shm

    @property
    def companions(self) -> tuple[str, str, str, str]:
        """The files that belong to the store."""
        return self.wal, self.shm, self.lock, self.versions

    @property
    def makeshift(self) -> tuple[str, ...]:
        """The files that are made before they take another name. A crash leaves them."""
        return *StorePaths(self.rescue).sqlite_files, self.new_versions

    @property
    def all(self) -> tuple[str, ...]:
        """The database, and all other files named here."""
        return self.database, *self.companions, *self.makeshift, self.journal

    @classmethod
    def owning(cls, file: str) -> StorePaths:
        """Return the paths of the store that a file belongs to, as far as the file's name tells.

        Args:
            file: a path. It is the database's own if no other file of a store is named so.
        """
        endings = [ending for ending in cls("").all if file.endswith(ending)]
        return cls(file.removesuffix(max(endings, key=len)))
