"""Storages that are not coherent, each in a way of its own: what a judge of histories must see."""

import time
from typing import Any, Final

from lamson_sqlite_state import ROUTE_FIRST_STATE, SQLiteStorage

__all__ = ["BROKEN"]

_LATE_SECONDS: Final = 0.005


class ForeverCached(SQLiteStorage):
    """Each process remembers what it has seen, and looks no more."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seen: dict[tuple[object, object], tuple[str, float]] = {}

    def is_fresh(self, _since: float) -> bool:
        return True

    def get(self, module: object, sender: object) -> str:
        found = self.seen.get((module, sender))
        if found is not None and self.is_fresh(found[1]):
            return found[0]
        state = super().get(module, sender)
        self.seen[module, sender] = state, time.monotonic()
        return state

    def set(self, module: object, sender: object, state: str) -> None:
        super().set(module, sender, state)
        self.seen[module, sender] = state, time.monotonic()

    def clear(self) -> None:
        super().clear()
        self.seen.clear()

    def set_all(self, sender: object, state: str) -> int:
        count = super().set_all(sender, state)
        self.seen.clear()
        return count

    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        is_set = super().compare_and_set(module, sender, expected, state)
        self.seen.pop((module, sender), None)
        return is_set


class LateInvalidation(ForeverCached):
    """What other processes have written is noticed 5 ms later."""

    def is_fresh(self, since: float) -> bool:
        return time.monotonic() - since < _LATE_SECONDS


class DirtyRead(SQLiteStorage):
    """What is about to be written can be read in the same process, and what was before again."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.soon: dict[tuple[object, object], str] = {}

    def get(self, module: object, sender: object) -> str:
        state = self.soon.get((module, sender))
        return super().get(module, sender) if state is None else state

    def set(self, module: object, sender: object, state: str) -> None:
        self.soon[module, sender] = state
        super().set(module, sender, state)
        self.soon.pop((module, sender), None)


class CompareThenSet(SQLiteStorage):
    """Between the comparison and the change, others come in."""

    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        if self.get(module, sender) != expected:
            return False
        self.set(module, sender, state)
        return True


class ForgetfulClear(SQLiteStorage):
    """One pair comes back after a clear."""

    def clear(self) -> None:
        kept = self.get("app.handlers_0", "shared.0@example.com")
        super().clear()
        if kept != ROUTE_FIRST_STATE:
            self.set("app.handlers_0", "shared.0@example.com", kept)


BROKEN: Final = [ForeverCached, LateInvalidation, DirtyRead, CompareThenSet, ForgetfulClear]
