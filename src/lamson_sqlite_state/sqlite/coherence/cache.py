"""The states that a process keeps in memory, and when a kept state may be used.

`counters` says which version belongs to a state, and why the state is right as long as the counter
has that version.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final, TypeAlias

from ..process.clock import Clock
from .counters import COUNTERS

# Addresses have at most 320 characters (RFC 5321), nearly all of them ASCII. Nobody shall fill the
# memory with longer senders, or with letters that take four bytes each.
_LONGEST: Final = 400

# How long a reader may go on with a file that has lost its name, or with a cache that does not
# know of another tool's edit. Writers look at each write.
LOOK_SECONDS: Final = 0.010

# The counters of a cache that is to keep nothing: no entry is ever valid by them.
_ODD_COUNTERS: Final = memoryview((1).to_bytes(8, sys.byteorder) * COUNTERS).cast("Q")

Key: TypeAlias = tuple[str | bytes, str | bytes]
"""``(sender, module)`` as they stand in their columns."""

Entry: TypeAlias = tuple[str, int, int]
"""``(state, stripe, version)``: valid while the stripe's counter has that version."""


class Cache:
    """The states that one store read or set last, each with the version it belongs to.

    `find` needs no lock, neither with the GIL nor in a free-threaded build. It takes references to
    objects that are never changed (the entry, the mapping) or whose single operations are atomic
    (the dictionary). It judges an entry by the counter alone, which it reads last; so an entry is
    right or is not used, whatever other threads put in or throw away meanwhile. A counter is one
    aligned word, which every process loads and stores as a whole. `find` reads the clock first,
    because a look that has to empty the cache does so before it makes the cache valid for longer.
    All that changes the cache is called with the store's RLock held.

    The cache is emptied by taking another dictionary: see rule 5 of `reentry`.

    Args:
        size: at most so many entries. The oldest goes first.
    """

    __slots__ = ("_order", "_size", "current", "revalidate_at", "revalidated_at")

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: deque[Key] = deque()
        self.current: tuple[dict[Key, Entry], memoryview] = ({}, _ODD_COUNTERS)
        """The entries, and the counters that they are valid by."""
        self.revalidated_at: float = 0.0
        """When the files were looked at, by `Clock.monotonic`. If the clock says less than that, a
        test had set the clock ahead, and nobody knows how old the look is."""
        self.revalidate_at: float = 0.0
        """When the files are to be looked at again."""

    def note_look(self, now: float) -> None:
        """Have no look fall due within `LOOK_SECONDS` of one that began at ``now``."""
        self.revalidated_at = now
        self.revalidate_at = now + LOOK_SECONDS

    def is_fresh(self) -> bool:
        """Whether the files were looked at a moment ago, so that no look is due yet."""
        return self.revalidated_at <= Clock.monotonic() < self.revalidate_at

    def find(self, key: Key) -> str | None:
        """Return the state of a pair as the database holds it at this moment, or None."""
        if type(key[0]) is type(key[1]) is str and self.is_fresh():
            entries, counters = self.current
            entry = entries.get(key)
            if entry is not None:
                state, stripe, version = entry
                if counters[stripe] == version:
                    return state
        return None

    def keep(
        self, entries: dict[Key, Entry], key: Key, state: str, stripe: int, version: int
    ) -> None:
        """Put a state in, unless the key or the state is uncommonly long, or the key is no ASCII.

        Args:
            entries: the entries of `current` when the version was read, or before. If the cache has
                been emptied since, nothing is put in.
            key: the pair.
            state: what the database held at some moment after the version was read.
            stripe: of the pair's sender.
            version: what the counter was. A state under an odd version is not kept.
        """
        if version & 1 or entries is not self.current[0]:
            return
        sender, module = key
        if type(sender) is not str or type(module) is not str or not sender.isascii():
            return
        if len(sender) + len(module) + len(state) > _LONGEST:
            return
        # No signal handler can run until the key of a new entry stands in the queue. So every entry
        # will have its turn to go.
        is_new = key not in entries
        entries[key] = (state, stripe, version)
        if is_new:
            self._order.append(key)
            if len(entries) > self._size:
                self._trim(entries)

    def _trim(self, entries: dict[Key, Entry]) -> None:
        order = self._order
        while len(order) > self._size:
            entries.pop(order.popleft(), None)
        if len(entries) > len(order):  # an exception struck between those two calls
            self.empty(self.current[1])

    def empty(self, counters: memoryview | None) -> None:
        """Throw all entries away, and go by these counters from now on.

        Args:
            counters: None keeps the cache empty.
        """
        self._order = deque()
        self.current = ({}, self._usable(counters))

    def goes_by(self, counters: memoryview | None) -> bool:
        """Whether these are the counters that the entries are valid by."""
        return self.current[1] is self._usable(counters)

    def _usable(self, counters: memoryview | None) -> memoryview:
        return _ODD_COUNTERS if counters is None or not self._size else counters
