"""Imports the rows of a copy of a store."""

import os

from ..sqlite.bulk import scan
from ..sqlite.bulk.scan import Progress
from ..sqlite.copies.snapshot import copy_pages, whole_copy
from ..sqlite.storage import SQLiteStorage
from ._import_result import Imported, OnConflict, put


def import_copy(
    store: SQLiteStorage,
    path: str | os.PathLike[str],
    *,
    on_conflict: OnConflict = "keep",
    progress: Progress = scan.silent,
) -> Imported:
    """Put the rows of another store into this one: of a backup, or of a database made by .dump.

    `maintenance.restore` also removes the rows that are not in the copy; this function does not.

    Args:
        store: the store to import into.
        path: the copy. It is verified first, and not changed.
        on_conflict: as of `import_rows`.
        progress: told how many rows have been imported.

    Raises:
        NoStore, NotAStateFile, StorageError: the copy is missing, damaged, newer than this package,
            or the store itself, or another program keeps it locked. Nothing was written.
    """
    with whole_copy(path, store) as copy:
        return put(store, copy_pages(copy), on_conflict, progress)
