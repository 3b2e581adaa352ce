"""What a peer is: a way to keep states, with the calls of a storage."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final, Literal, TypeAlias

from ._files import Pair, Synchronous

__all__ = ["START", "SYNCHRONOUS", "TIMEOUT_SECONDS", "Durability", "Peer", "Settings"]

Durability: TypeAlias = Literal["synced", "not synced"]
"""What a `set` that has returned survives: a power cut, or a crash of the process only."""

Settings: TypeAlias = Mapping[Durability, str | None]
"""How a peer is set to each durability; None where it does not offer it."""

START: Final = "START"
TIMEOUT_SECONDS: Final = 30.0
SYNCHRONOUS: Final[Mapping[Durability, Synchronous]] = {"synced": "FULL", "not synced": "NORMAL"}


class Peer(ABC):
    """One way to keep states.

    Args:
        directory: where its files are, or will be.
        durability: what a `set` has reached when it returns: the disk, or the system's memory,
            where a crash of the process does not touch it.
        socket: of the Redis server that runs at this durability.
    """

    name: ClassVar[str]
    settings: ClassVar[Settings]
    """How it is set to each durability; None where it does not offer it."""

    get: Callable[[str, str], str]
    """The state of a pair, or START."""
    set: Callable[[str, str, str], None]
    meet: Callable[[str, str], str]
    """The state of a pair; if it is unknown, START is stored at one instant."""

    @abstractmethod
    def __init__(self, directory: str, durability: Durability, socket: str | None) -> None: ...

    def fill(self, pairs: Iterable[Pair], state: str) -> None:
        """Store all of these, as fast as it can be done."""
        for module, sender in pairs:
            self.set(module, sender, state)

    @abstractmethod
    def close(self) -> None: ...
