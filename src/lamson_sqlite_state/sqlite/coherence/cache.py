"""Keeps states in memory, and tells when a kept state may be used.

`counters` explains which version belongs to a state, and why the state is right as long as its
counter has that version.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final, TypeAlias

from ..process.clock import Clock
from .counters import COUNTERS

# The most characters of a sender, module and state together. Addresses have at most 320 characters
# (RFC 5321), nearly all of them ASCII. Longer senders, or letters that take four bytes each, must
# not fill the memory.
_LONGEST: Final = 400

# How long the cache stays fresh after it was revalidated. Until then, a call may go on with a
# file that was deleted or replaced, and with states that another tool has changed since. (A call
# that writes checks the names of the files each time.)
LOOK_SECONDS: Final = 0.010

# The counters of a cache that is to keep nothing. All are odd, so no entry is ever valid by them.
_ODD_COUNTERS: Final = memoryview((1).to_bytes(8, sys.byteorder) * COUNTERS).cast("Q")

Key: TypeAlias = tuple[str | bytes, str | bytes]
"""``(sender, module)`` as they stand in their columns."""

Entry: TypeAlias = tuple[str, int, int]
"""``(state, stripe, version)``: valid while the stripe's counter has that version."""


class Cache:
    """The states that one store has read or set, each with the version it belongs to.

    `find` needs no lock, neither with the GIL nor in a free-threaded build. It uses only objects
    that are never changed (`current`, an entry), or whose single operations are atomic (the
    dictionary, a counter). A counter is one aligned word, which every process loads and stores as a
    whole. `find` reads the counter last, and judges an entry by the counter alone. So an entry is
    right or is not used, whatever other threads put in or throw away meanwhile. `find` reads the
    clock first, because a revalidation that has to empty the cache does so before it makes the
    cache fresh. All methods that change the cache are called with the store's RLock held.

    The cache is emptied by taking another dictionary: see rule 5 of `reentry`.

    Args:
        size: how many entries are kept at most. The entry that was put in first goes first.
    """

    __slots__ = ("_order", "_size", "current", "revalidate_at", "revalidated_at")

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: deque[Key] = deque()
        self.current: tuple[dict[Key, Entry], memoryview] = ({}, _ODD_COUNTERS)
        """The entries, and the counters that they are valid by."""
        self.revalidated_at: float = 0.0
        """When the cache was revalidated, by `Clock.monotonic`. If the clock says less now, a test
        had set the clock ahead, and the real time of the revalidation is unknown."""
        self.revalidate_at: float = 0.0
        """When the cache is to be revalidated again."""

    def note_look(self, now: float) -> None:
        """Make the cache fresh for `LOOK_SECONDS` from ``now``, when its revalidation began."""
        self.revalidated_at = now
        self.revalidate_at = now + LOOK_SECONDS

    def is_fresh(self) -> bool:
        """Whether the cache was revalidated less than `LOOK_SECONDS` ago."""
        return self.revalidated_at <= Clock.monotonic() < self.revalidate_at

    def find(self, key: Key) -> str | None:
        """Return the state that the database holds for a pair now, or None if it is not kept."""
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
        """Put a state in, unless key and state are uncommonly long, or the sender is no ASCII text.

        Args:
            entries: the dictionary of `current` at a moment before the version was read. If the
                cache has been emptied since, nothing is put in.
            key: the pair. It is not kept if the sender or the module is bytes.
            state: the state that the database held at some moment after the version was read.
            stripe: the stripe of the pair's sender.
            version: the value of the counter. A state under an odd version is not kept.
        """
        if version & 1 or entries is not self.current[0]:
            return
        sender, module = key
        if type(sender) is not str or type(module) is not str or not sender.isascii():
            return
        if len(sender) + len(module) + len(state) > _LONGEST:
            return
        # No signal handler can run before the key of a new entry stands in the queue. So every
        # entry is thrown away at some time.
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
        if len(entries) > len(order):  # an exception came between popleft and pop
            self.empty(self.current[1])

    def empty(self, counters: memoryview | None) -> None:
        """Throw all entries away, and judge new entries by these counters from now on.

        Args:
            counters: with None, the cache stays empty.
        """
        self._order = deque()
        self.current = ({}, self._usable(counters))

    def goes_by(self, counters: memoryview | None) -> bool:
        """Whether the entries are judged by these counters."""
        return self.current[1] is self._usable(counters)

    def _usable(self, counters: memoryview | None) -> memoryview:
        return _ODD_COUNTERS if counters is None or not self._size else counters
