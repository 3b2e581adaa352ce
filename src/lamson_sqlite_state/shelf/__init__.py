"""Reads the file of a Lamson or Salmon ``ShelveStorage``, whatever dbm wrote it, and only reads.

No dbm module is used: which of them an interpreter has depends on how it was built. What the
values' pickles contain is not executed either. From the top: this file, `_locate` (which
files), a room for each format, `_key` and `_pickle` (what a record says), `_newest` (what of it
counts), `_record`, `_file`.
"""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final, Self

from ._key import is_salmons, pair, refused
from ._locate import open_shelf
from ._newest import Pairs
from ._pickle import state
from ._record import Entry, Refused, Unreadable

__all__ = ["Entry", "Pairs", "Refused", "Shelf"]

_STATES_KEPT: Final = 1000
_LONGEST_KEPT_BYTES: Final = 200


class Shelf:
    """A shelf of states, open for reading; a context manager.

    Nothing is written, created or locked beside it, so the mail server should not be writing
    to it meanwhile. Memory does not grow with the shelf: a million entries take some MiB.

    Args:
        path: what ``ShelveStorage`` was given, or one of the files that dbm made of it.
        is_taken: whether a file of this path may not be opened, as closing it would harm its user.

    Attributes:
        kind: which format it has, such as ``dbm.gnu``.
        files: the paths of the files that are read.

    Raises:
        NotAShelf: there is no such file, no known dbm wrote it, it is damaged, or the path means
            several shelves.
        StorageError: it may not be read, or the file system failed.
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
        """About how many times iterating will yield, for a progress bar; None if unknown.

        Raises:
            NotAShelf: the file is damaged.
        """
        return self._reader.count()

    def __iter__(self) -> Iterator[Entry | Refused]:
        """Yield all that is in the shelf, each time from the beginning.

        A pair of module and sender may come twice, where the shelf holds both ``['mod', 'sender']``
        and ``[b'mod', 'sender']``: to shelve these are two keys. A key of dbm.dumb may come twice
        as well. `Pairs` tells which one counts. What is no state of a pair comes as `Refused`, and
        what follows it is read.

        Raises:
            NotAShelf: the file is damaged; what came before is right.
            StorageError: the file system failed.
            ValueError: the shelf is closed.
        """
        # Most values are one of a few, byte for byte.
        known: dict[bytes, str] = {}
        for record in self._reader.records():
            if isinstance(record, Refused):
                yield record
                continue
            key, value = record
            try:
                module, sender = pair(key)
                text = known.get(value)
                if text is None:
                    text = state(value)
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
