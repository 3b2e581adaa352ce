"""What the readers of shelves yield: entries, and refusals of entries with their reasons."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from ._file import Source

LONGEST_BYTES: Final = 1 << 20
"""Longer keys and values are not read. A state is a function's name, and a key holds two names. A
damaged length must not become an allocation."""

UNREAD_KEY: Final = b"(a key)"
"""The text to show for a key that was not read."""

_SHOWN_CHARACTERS: Final = 60


class Entry(NamedTuple):
    """One state of the shelf, its keys as ``SQLiteStorage.set`` takes them.

    Attributes:
        module: the module.
        sender: the sender.
        state: the state of the pair.
        is_salmons: whether the key is in the form that Salmon's ``ShelveStorage`` writes.
    """

    module: object
    sender: object
    state: str
    is_salmons: bool = False


class Refused(NamedTuple):
    """An entry of the shelf that is not the state of a pair; nothing of it was executed.

    Attributes:
        key: the key as it stands in the file, without control characters, cut short.
        reason: one clause for a person, such as ``its value is a pickled dict, not a text``.
        pair: the module and the sender, where the key can be read and only the value is refused.
        is_salmons: as of `Entry`.
    """

    key: str
    reason: str
    pair: tuple[object, object] | None = None
    is_salmons: bool = False


Record: TypeAlias = tuple[bytes, bytes] | Refused
"""A key and a value as they stand in the file, or the reason why they could not be read."""


class Unreadable(Exception):
    """A key is no pair, or a value is no state; the message is the reason."""


class Reader(ABC):
    """A reader of the records of one shelf, for one format.

    Args:
        source: the file that the format is known by; closed with the reader.
        *others: further files of the shelf; closed with the reader.

    Attributes:
        kind: the name of the format.
        files: the paths of the files that are read.
    """

    kind: str

    def __init__(self, source: Source, *others: Source) -> None:
        self._source = source
        self._sources = (source, *others)
        self.files = tuple(each.path for each in self._sources)

    @abstractmethod
    def count(self) -> int | None:
        """Return about how many records there are; None if the file cannot hold as many as it says.

        Raises:
            NotAShelf: the file is damaged.
        """

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Yield all records, from the beginning.

        Raises:
            NotAShelf: the file is damaged.
        """

    def close(self) -> None:
        """Close the files. A second time, do nothing."""
        for source in self._sources:
            source.close()


def printable(raw: bytes) -> str:
    """Return one short line of ``raw`` for a terminal, without control characters."""
    text = raw[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    cut = len(text) > _SHOWN_CHARACTERS or len(raw) > 4 * _SHOWN_CHARACTERS
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text[:_SHOWN_CHARACTERS]
    )
    return shown + "..." if cut else shown
