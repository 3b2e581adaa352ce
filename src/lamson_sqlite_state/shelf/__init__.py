"""Reads the files of a Lamson or Salmon ``ShelveStorage``, whichever dbm wrote them.

The files are only read. No dbm module is used, because an interpreter has only some of them,
depending on how it was built. Nothing in the values' pickles is executed.

`Shelf` yields the entries of a shelf, and `Pairs` tells which of them count (`_newest`). `_locate`
finds the files and their format, which has a reader of its own; `_key` and `_pickle` read a key and
a value.
"""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final, Self

from ._key import is_salmons, parse_pair, refused
from ._locate import open_shelf
from ._newest import Pairs
from ._pickle import unpickle_state
from ._record import Entry, Refused, Unreadable

__all__ = ["Entry", "Pairs", "Refused", "Shelf"]

_STATES_KEPT: Final = 1000
_LONGEST_KEPT_BYTES: Final = 200


class Shelf:
    """A shelf of states, open for reading; a context manager.

    Nothing is written, created or locked, so no mail server should write to the shelf meanwhile.
    Memory does not grow with the shelf: a million entries take some MiB.

    Args:
        path: the path that ``ShelveStorage`` was given, or one of the files that dbm made of it.
        is_taken: whether the file at a path must not be opened, because closing it would drop the
            locks that this process has on it.

    Attributes:
        kind: the format of the shelf, such as ``dbm.gnu``.
        files: the paths of the files that are read.

    Raises:
        NotAShelf: there is no such file, no known dbm wrote it, it is damaged, or several shelves
            have this path.
        StorageError: the file may not be read, or the file system failed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        is_taken: Callable[[str], bool] = lambda _path: False,
    ) -> None:
        self._reader = open_shelf(os.fspath(path), is_taken)
        self.kind: Final[str] = self._reader.kind
        self.files: Final[tuple[str, ...]] = self._reader.files

    @cached_property
    def count(self) -> int | None:
        """About how many entries iterating will yield, for a progress bar; None if unknown.

        Raises:
            NotAShelf: the file is damaged.
        """
        return self._reader.count()

    def __iter__(self) -> Iterator[Entry | Refused]:
        """Yield each entry of the shelf, from the beginning.

        An entry that is not the state of a pair is yielded as `Refused`, and those behind it are
        read all the same. A pair may come twice where the shelf has both ``['mod', 'sender']`` and
        ``[b'mod', 'sender']``, which are two keys to shelve. A key of dbm.dumb may come twice as
        well. `Pairs` tells which entry counts.

        Raises:
            NotAShelf: the file is damaged. The entries before the damage are right.
            StorageError: the file system failed.
            ValueError: the shelf is closed.
        """
        # Nearly all values are the same few pickles, byte for byte, so these are read once.
        known: dict[bytes, str] = {}
        for record in self._reader.records():
            if isinstance(record, Refused):
                yield record
                continue
            key, value = record
            try:
                module, sender = parse_pair(key)
                text = known.get(value)
                if text is None:
                    text = unpickle_state(value)
                    if len(known) < _STATES_KEPT and len(value) <= _LONGEST_KEPT_BYTES:
                        known[value] = text
            except Unreadable as refusal:
                yield refused(key, str(refusal))
            else:
                yield Entry(module, sender, text, is_salmons(key))

    def close(self) -> None:
        """Close the files. A second time, do nothing."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
