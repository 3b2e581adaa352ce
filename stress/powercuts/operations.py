"""What can be done to a directory, as the disk model knows it. Times are lines of the log."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "ROOT",
    "Make",
    "Map",
    "Mark",
    "Operation",
    "Remove",
    "Rename",
    "Sync",
    "Truncate",
    "Write",
]

ROOT = 0
"""The file number of the recorded directory itself. Paths are relative to it."""


@dataclass(frozen=True, slots=True)
class Make:
    """A file or directory was made."""

    ended: int
    file: int
    path: str
    is_directory: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes were written to a file."""

    ended: int
    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file was given another size."""

    ended: int
    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Rename:
    """A file was given another name, taking it from whoever had it."""

    ended: int
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A name was taken away."""

    ended: int
    path: str


@dataclass(frozen=True, slots=True)
class Sync:
    """An fsync or fdatasync has returned: what had ended before it began is on the disk."""

    began: int
    file: int


@dataclass(frozen=True, slots=True)
class Map:
    """A file was mapped to be written: from here on nobody sees what is done to it."""

    file: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The workload tells what it is at."""

    text: str


Operation: TypeAlias = Make | Write | Truncate | Rename | Remove | Sync | Map | Mark
