"""Shelves for the tests: those that real libraries wrote, and variations of them."""

import dbm.dumb
import os
import shutil
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from lamson_sqlite_state.shelf import Entry, Refused, Shelf
from tests.shelf.files.contents import entries

__all__ = [
    "EVERY_SHELF",
    "SHELVES",
    "Made",
    "as_entries",
    "become_ordinary",
    "copied",
    "read",
    "shelf_of",
    "snapshot",
    "swapped_gdbm",
    "write_dumb",
]

_NOBODY: Final = 65534
SHELVES: Final = Path(__file__).parent.parent / "shelf" / "files"


class Made(NamedTuple):
    """A shelf of `SHELVES`: what its files are called, what it is, and how many entries it has."""

    name: str  # what ShelveStorage would have been given
    files: tuple[str, ...]
    kind: str
    holds: int


EVERY_SHELF: Final = [
    Made("gnu", ("gnu",), "dbm.gnu", 600),
    Made("gnu-numsync", ("gnu-numsync",), "dbm.gnu", 150),
    Made("gnu-32", ("gnu-32",), "dbm.gnu", 150),
    Made("gnu-32-numsync", ("gnu-32-numsync",), "dbm.gnu", 150),
    Made("gnu-32-large-files", ("gnu-32-large-files",), "dbm.gnu", 150),
    Made("compat", ("compat.pag", "compat.dir"), "dbm.ndbm", 150),
    Made("berkeley", ("berkeley.db",), "Berkeley DB hash", 600),
    Made("berkeley-big-endian", ("berkeley-big-endian.db",), "Berkeley DB hash", 150),
    Made("berkeley-small-pages", ("berkeley-small-pages.db",), "Berkeley DB hash", 150),
    Made("berkeley-checksums", ("berkeley-checksums.db",), "Berkeley DB hash", 150),
    Made("berkeley-185", ("berkeley-185.db",), "Berkeley DB 1.85 hash", 300),
    Made("berkeley-185-big-endian", ("berkeley-185-big-endian.db",), "Berkeley DB 1.85 hash", 150),
    Made("sqlite", ("sqlite",), "dbm.sqlite3", 60),
]
"""Without those of Python 2, whose contents are of their own."""


def as_entries(count: int) -> list[Entry]:
    """Return what a shelf of so many entries holds, in the order of `in_order`."""
    return in_order(Entry(*entry) for entry in entries(count))


def in_order(found: Iterable[Any]) -> list[Any]:
    """Return a shelf's entries in an order that does not depend on its format, nor who wrote it."""
    return sorted(map(_without_form, found), key=repr)


def _without_form(each: Any) -> Any:
    if isinstance(each, Refused):
        return each._replace(pair=None, is_salmons=False)
    return each._replace(is_salmons=False) if isinstance(each, Entry) else each


def read(path: str | os.PathLike[str]) -> list[Entry | Refused]:
    """Return all that a shelf holds."""
    with Shelf(path) as shelf:
        return in_order(shelf)


def copied(made: Made, directory: Path) -> str:
    """Copy a shelf into ``directory``, and return the path that ShelveStorage would be given."""
    for name in made.files:
        shutil.copy(SHELVES / name, directory)
    return str(directory / made.name)


def become_ordinary(directory: Path) -> None:
    """Become a user who may not do everything, if this one may; for a child of the test.

    Args:
        directory: its parents up to those of all users are opened, for that user to reach it.
    """
    if os.geteuid() == 0:
        for parent in (directory, *directory.parents):
            if parent.stat().st_mode & 0o001 == 0:
                parent.chmod(0o711)
        os.setegid(_NOBODY)
        os.seteuid(_NOBODY)


def write_dumb(path: str, records: Mapping[bytes, bytes]) -> None:
    """Write a shelf with the dbm that every Python has."""
    with dbm.dumb.open(path, "n") as database:
        for key, value in records.items():
            database[key] = value


def shelf_of(directory: Path, key: bytes, value: bytes) -> Entry | Refused:
    """Return what is read of a shelf with one record."""
    path = str(directory / "one")
    write_dumb(path, {key: value})
    (found,) = read(path)
    return found


def snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what there is in a directory, and of each file all that writing would change."""
    return {
        name: (found.st_mtime_ns, found.st_ctime_ns, (directory / name).read_bytes())
        for name in sorted(os.listdir(directory))
        for found in [(directory / name).stat()]
    } | {".": (directory.stat().st_mtime_ns, directory.stat().st_ctime_ns, b"")}


def swapped_gdbm(content: bytes, offset: str, head_bytes: int) -> bytes:
    """Return a little-endian file of GNU dbm as a big-endian machine would have written it.

    Args:
        content: the file.
        offset: ``q`` or ``i``, how wide its offsets are.
        head_bytes: where in a bucket its two counts end.
    """
    swapped = bytearray(content)

    def swap(at: int, what: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + what, content, at)
        struct.pack_into(">" + what, swapped, at, *values)
        return values

    width = struct.calcsize("<" + offset)
    _, _, directory, directory_bytes, _, _, elements, _ = swap(0, f"2i{offset}4i{offset}")
    pointers = {swap(at, offset)[0] for at in range(directory, directory + directory_bytes, width)}
    for pointer in pointers:
        swap(pointer + head_bytes - 8, "2i")
        element = f"i4s{offset}2i"
        for index in range(elements):
            swap(pointer + head_bytes + index * struct.calcsize("<" + element), element)
    return bytes(swapped)
