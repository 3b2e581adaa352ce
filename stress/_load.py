"""The load: what one writer does to the store until its time is up."""

import random
import time
from dataclasses import dataclass
from typing import Final

from _ledger import COUNTER, Announcer, count_in, own_pair, state_of
from lamson_sqlite_state import SQLiteStorage

__all__ = ["Load", "write_until"]

_OWN_PAIRS: Final = 8


@dataclass(frozen=True)
class Load:
    """What all writers have in common.

    Args:
        seed: of every writer's choices; which process is faster is never the same twice.
        deadline: when to end, by `time.monotonic`, which all processes of a host share.
        pause_seconds: how long to stand back after each write.
    """

    seed: int
    deadline: float
    pause_seconds: float = 0.0


def write_until(store: SQLiteStorage, load: Load, announcer: Announcer) -> None:
    """Write, read back and count until the deadline, announcing all of it."""
    writer = _Writer(store, load, announcer)
    while time.monotonic() < load.deadline:
        writer.act()
        if load.pause_seconds:
            time.sleep(load.pause_seconds)


class _Writer:
    def __init__(self, store: SQLiteStorage, load: Load, announcer: Announcer) -> None:
        self._store = store
        self._announcer = announcer
        self._random = random.Random(f"{load.seed}/{announcer.writer}")
        self._own: dict[int, str] = {}
        self._writes = 0
        self._highest_count = 0

    def act(self) -> None:
        """Do one thing."""
        (action,) = self._random.choices(
            (self._set, self._count, self._read_back, self._set_all), (55, 25, 15, 5)
        )
        action()

    def _set(self) -> None:
        number, state = self._random.randrange(_OWN_PAIRS), self._new_state()
        self._announcer.will_set(number, state)
        self._store.set(*own_pair(self._announcer.writer, number), state)
        self._announcer.done()
        self._own[number] = state

    def _set_all(self) -> None:
        state = self._new_state()
        _, own_sender = own_pair(self._announcer.writer, 0)
        self._announcer.will_set_all(state)
        found = self._store.set_all(own_sender, state)
        self._announcer.done()
        if found != len(self._own):
            self._announcer.complain(f"has {len(self._own)} pairs, but set_all found {found}")
        self._own = dict.fromkeys(self._own, state)

    def _count(self) -> None:
        seen = self._count_seen()
        self._announcer.will_count(seen + 1)
        if self._store.compare_and_set(*COUNTER, state_of(seen), state_of(seen + 1)):
            self._announcer.done()
        else:
            self._announcer.refused()

    def _read_back(self) -> None:
        self._count_seen()
        if self._own:
            number = self._random.choice(sorted(self._own))
            state = self._store.get(*own_pair(self._announcer.writer, number))
            if state != self._own[number]:
                self._announcer.complain(f"set {self._own[number]}, but then got {state}")

    def _count_seen(self) -> int:
        seen = count_in(self._store.get(*COUNTER))
        if seen < self._highest_count:
            self._announcer.complain(f"saw the counter go back, {self._highest_count} to {seen}")
        self._highest_count = max(seen, self._highest_count)
        return seen

    def _new_state(self) -> str:
        self._writes += 1
        return f"STATE_{self._writes}"
