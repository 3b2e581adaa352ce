"""The interface of a state storage, as Lamson and Salmon call it."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

__all__ = ["ROUTE_FIRST_STATE", "StateStorage"]

ROUTE_FIRST_STATE: Final = "START"
"""The state of every conversation nothing was ever set for, as both frameworks name it."""


@runtime_checkable
class StateStorage(Protocol):
    """The three methods a Router calls on its ``STATE_STORE``.

    This is duck typing written down: Lamson's and Salmon's own ``MemoryStorage`` and
    ``ShelveStorage`` satisfy it as they are, and neither framework has to be installed. A Router
    gives all arguments by position, because the storages differ in the names of theirs.

    A *pair* is one ``(module, sender)``; two pairs are the same exactly when
    ``repr([module, sender])`` is the same, which is how ``MemoryStorage`` tells them apart.
    """

    def get(self, module: object, sender: object, /) -> str:
        """Return the pair's state, or ``ROUTE_FIRST_STATE`` where none was ever set."""
        ...

    def set(self, module: object, sender: object, state: str, /) -> None:
        """Make ``state`` what ``get`` returns for the pair from now on, until the next ``set``."""
        ...

    def clear(self) -> None:
        """Forget the states of all pairs."""
        ...
