"""What a shelf is read as: entries, and what is refused, with the reason."""

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, TypeAlias

__all__ = [
    "LONGEST_BYTES",
    "Entry",
    "Reader",
    "Record",
    "Refused",
    "Unreadable",
    "printable",
    "too_long",
]

LONGEST_BYTES: Final = 1 << 20
"""Longer keys and values are not read at all: a state is a function's name, a key holds two
names, and a damaged length must not become an allocation."""

_SHOWN_CHARACTERS: Final = 60


class Entry(NamedTuple):
    """One state of the shelf, its keys as ``SQLiteStorage.set`` takes them.

    Attributes:
        module: the module.
        sender: the sender.
        state: the state of the pair.
        is_salmons: whether its key is in the form that Salmon's ``ShelveStorage`` writes.
    """

    module: object
    sender: object
    state: str
    is_salmons: bool = False


class Refused(NamedTuple):
    """What was in the shelf, but is no state; nothing of it was executed.

    Attributes:
        key: the key as it stands in the file, without control characters, cut short.
        reason: one clause for a person, such as ``its value is a pickled dict, not a text``.
    """

    key: str
    reason: str


Record: TypeAlias = tuple[bytes, bytes] | Refused
"""A key and a value as they stand in the file, or why they could not be read."""


class Unreadable(Exception):
    """One key or value is not what a shelf of states holds; the message is the reason."""


class Reader(Protocol):
    """A file of one dbm's format."""

    @property
    def kind(self) -> str:
        """Which format it is."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that are read."""

    @property
    def count(self) -> int | None:
        """About how many records there are; None where that is not cheap to tell."""

    def records(self) -> Iterator[Record]:
        """Read from the beginning.

        Raises:
            NotAShelf: the file is damaged.
        """

    def close(self) -> None:
        """Close the files."""


def printable(raw: bytes) -> str:
    """Return what a terminal may show of ``raw``: one short line without control characters."""
    text = raw[: 4 * _SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    cut = len(text) > _SHOWN_CHARACTERS or len(raw) > 4 * _SHOWN_CHARACTERS
    shown = "".join(
        character if character.isprintable() else ascii(character)[1:-1]
        for character in text[:_SHOWN_CHARACTERS]
    )
    return shown + "..." if cut else shown


def too_long(what: str, length: int) -> str:
    """Return the reason for refusing a key or value of more than `LONGEST_BYTES`."""
    return f"its {what} has {length} bytes, more than the {LONGEST_BYTES} that are read"
