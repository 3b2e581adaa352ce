"""Finds the files that ``shelve`` would open for a path, and their format by their first bytes."""

import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Final

from ..errors import NotAShelf
from ._berkeley import Berkeley
from ._berkeley185 import Berkeley185
from ._dumb import Dumb
from ._file import Source, reading_error
from ._gdbm import Gdbm
from ._record import Reader
from ._sqlite import Sqlite

_READERS: Final = (Gdbm, Berkeley, Berkeley185, Sqlite)
_INDEX_ENDS: Final = (".dir", ".bak")
_START_BYTES: Final = 512


def open_shelf(path: str, is_taken: Callable[[str], bool]) -> Reader:
    """Return a reader of the one shelf that ``path`` means.

    The path is the one that ``ShelveStorage`` was given, to which some dbms add an ending, or that
    of any of the files. A file that is no shelf is passed over, so a store of this package may
    stand at the path itself, beside the shelf. A file that ``is_taken`` is not opened.

    Raises:
        NotAShelf: there is no shelf, it is damaged, or there are several.
        StorageError: the shelf may not be read.
    """
    readers: list[Reader] = []
    failures: list[NotAShelf] = []
    with ExitStack() as opened:
        for place in _places(path):
            try:
                readers.append(opened.enter_context(closing(_open(place, is_taken))))
            except NotAShelf as failure:
                failures.append(failure)
        if len(readers) == 1:
            opened.pop_all()
            return readers[0]
    if readers:
        names = ", ".join(reader.files[0] for reader in readers)
        raise NotAShelf("several shelves have this name", f"give one of {names}", path)
    if failures:
        raise failures[0]
    raise NotAShelf(
        "there is no such file, nor one with .db, .pag or .dir behind the name",
        "give the path that ShelveStorage was given",
        path,
    )


def _places(path: str) -> list[str]:
    # Each place is a file that is a whole shelf, or the index of a dumb shelf.
    places = [path + end for end in (".pag", ".db") if _exists(path + end)]
    if _exists(path + ".dat"):
        places.append(_dumb_index(path))
    base, end = os.path.splitext(path)
    if end == ".dir" and _exists(base + ".pag"):  # empty, or a second name of the .pag
        return [*places, base + ".pag"]
    if end == ".dat":
        places.append(_dumb_index(base))
    if _exists(path):
        places.append(path)
    return places


def _dumb_index(base: str) -> str:
    # dbm.dumb renames .dir to .bak before it writes a new .dir, and may be interrupted in between.
    if not _exists(base + ".dir") and _exists(base + ".bak"):
        return base + ".bak"
    return base + ".dir"


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except ValueError as error:  # a NUL character
        raise NotAShelf(f"this is no path ({error})", "give another", path) from error
    except OSError as error:
        raise reading_error(error, path) from error
    return True


def _open(path: str, is_taken: Callable[[str], bool]) -> Reader:
    if is_taken(path):
        raise NotAShelf(
            "this process has it open, as a store perhaps", "give the path of a shelf", path
        )
    with ExitStack() as opened:
        source = opened.enter_context(closing(Source(path)))
        reader = _reader(source, source.start(_START_BYTES), opened)
        opened.pop_all()  # the reader closes its files
    return reader


def _reader(source: Source, start: bytes, opened: ExitStack) -> Reader:
    for reader in _READERS:
        if reader.wrote(start):
            return reader(source)
    base, end = os.path.splitext(source.path)
    if end in _INDEX_ENDS and (not start or start[:1] in b"'\""):
        return Dumb(source, opened.enter_context(closing(Source(base + ".dat"))))
    raise NotAShelf("no dbm that is known here wrote this file", "give another path", source.path)
