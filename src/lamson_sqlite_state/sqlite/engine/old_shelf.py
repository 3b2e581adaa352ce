"""Refuses to make a store where a shelf of ShelveStorage stands.

With a new store beside the shelf, every sender would silently begin at START again. The package
that reads shelves is imported only where a file has the name of a shelf.
"""

from __future__ import annotations

import contextlib
import os
from itertools import islice
from typing import Final

from ...command_line import command
from ...errors import NoStore, NotAStateFile, StorageError
from ..process import filesystem, fork
from ..process.reentry import holding
from . import connections, lock_probe

# The two files that dbm makes of a name: one has the values, the other one their places in it.
_PAIRS: Final = ((".dat", ".dir"), (".dat", ".bak"), (".pag", ".dir"))

# How many entries are looked at. A mail server's alias table is a Berkeley DB, too, but its keys
# have another form.
_LOOKED_AT: Final = 1_000


def beside(path: str) -> str | None:
    """Return a file of the shelf that a ShelveStorage of this path has written, or None.

    Two files with the names of a pair of dbm's are taken for a shelf. A ``.db`` may be any
    program's: it is a shelf if it can be read as one, and one of its first thousand entries is the
    state of a pair.
    """
    for values, index in _PAIRS:
        if os.path.isfile(path + values) and os.path.isfile(path + index):
            return path + values
    file = f"{path}.db"
    return file if os.path.isfile(file) and _kind(file, must_hold_a_state=True) else None


def refuse_beside(path: str) -> None:
    """Do nothing where a store's path leads to a file, or where no shelf is beside the path.

    Raises:
        StorageError: a shelf is beside the path. The remedy is the command that takes it over.
    """
    with contextlib.suppress(OSError):
        if os.path.getsize(path):  # whether that is a store, opening it tells
            return
    shelf = beside(path)
    if shelf is not None:
        raise StorageError(
            f"{os.path.basename(shelf)} beside it is a ShelveStorage's, whose states a new store "
            "would not have",
            f"{_once_it_has_ended(take_over(path, path))}, or move it away",
            path,
            code="old-shelf",
        )


def no_store(problem: str, path: str) -> NoStore:
    """Return what to raise where there is no store and none is to be made.

    The remedy takes over the shelf beside the path, if there is one.
    """
    if beside(path) is None:
        return NoStore(problem, "give the path of a store", path)
    remedy = _once_it_has_ended(take_over(path, path))
    return NoStore(f"{problem}: a shelf stands beside it", remedy, path)


def what_it_is(path: str) -> NotAStateFile | None:
    """Return what to raise where a file that was given as a store is a shelf; else None."""
    kind = _kind(path, must_hold_a_state=False)
    if kind is None:
        return None
    return NotAStateFile(
        f"this is a file of dbm's ({kind}), as ShelveStorage writes it",
        f"{_once_it_has_ended(take_over(f'{path}.sqlite', path))}, and give SQLiteStorage that "
        "store",
        path,
        code="old-shelf",
    )


def explain(error: BaseException, path: str) -> None:
    """Raise a better error where a file that is no store is a shelf; else do nothing.

    Args:
        error: what opening the file as a store has raised.
        path: the file, which is not open here.

    Raises:
        NotAStateFile: the file is a shelf. Raised from the error.
    """
    if (
        isinstance(error, NotAStateFile)
        or getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB"
    ):
        found = what_it_is(path)
        if found is not None:
            raise found from error


def take_over(store: str, shelf: str) -> tuple[str, ...]:
    """Return the words of the command that makes a store of a shelf."""
    return "lamson-state", "--store", store, "import-shelve", shelf, "--create"


def is_open_here(path: str) -> bool:
    """Whether closing a file would drop the locks of a connection that this process has to it."""
    identity = filesystem.identity(path)
    return identity is not None and (
        connections.side_files_here(identity) is not None
        or lock_probe.has_open(os.getpid(), identity)
    )


def _kind(path: str, *, must_hold_a_state: bool) -> str | None:
    try:
        # A shelf may be an SQLite database, which must not cross a fork.
        return holding(fork.open_lock, _kind_alone, path, must_hold_a_state)
    except StorageError:  # the file is another program's, or damaged, or may not be read
        return None


def _kind_alone(path: str, must_hold_a_state: bool) -> str | None:
    from ...shelf import Entry, Shelf

    with Shelf(path, is_taken=is_open_here) as shelf:
        if path in shelf.files and (
            not must_hold_a_state
            or any(isinstance(each, Entry) for each in islice(shelf, _LOOKED_AT))
        ):
            return shelf.kind
    return None


def _once_it_has_ended(words: tuple[str, ...]) -> str:
    return f"end the application, then {command(*words)}"
