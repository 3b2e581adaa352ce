"""What is known of a finished history from its end: which values will be asked for again."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from operator import itemgetter
from typing import Final

from _history import ABSENT, START
from _register import Action, Step

__all__ = ["Hindsight"]

_WRITING: Final = (
    Action.WRITE,
    Action.WRITE_STORED,
    Action.WRITE_IF_STORED,
    Action.SWAP,
    Action.TOUCH,
)
_ASKING: Final = (Action.READ, Action.PEEK, Action.SWAP)


class Hindsight:
    """Answers about all steps on one pair."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._last_write: dict[int, int] = {}
        self._last_need: dict[int, int] = {}
        self._last_wish: dict[int, int] = {}
        self._last_miss: dict[int, float] = {}
        writes: dict[int, list[Step]] = {}
        for step in steps:
            if step.action in _WRITING:
                _raise(self._last_write, step.writes, step.called)
                writes.setdefault(step.writes, []).append(step)
            if step.action in _ASKING:
                _raise(self._last_wish, step.needs, step.called)
                if not step.is_optional:
                    _raise(self._last_need, step.needs, step.called)
            if step.action is Action.MISS:
                self._last_miss[step.needs] = max(
                    self._last_miss.get(step.needs, 0), step.returned
                )
        self._perils = _Perils(self._perilous(writes))

    def is_written_after(self, value: int, now: float) -> bool:
        """Whether a step that may write the value is called after ``now``."""
        return self._last_write.get(value, -1) > now

    def is_needed_after(self, value: int, now: float) -> bool:
        """Whether a step that needs the value, and has happened, is called after ``now``."""
        return self._last_need.get(value, -1) > now

    def is_useless(self, write: Step, then: int, now: float) -> bool:
        """Whether a pending write need not be the last one before anything still to come.

        Args:
            write: the step.
            then: the value that overwrites it if it happens now.
            now: the time; what was called before it is the caller's to look at.

        Returns:
            True only if nobody is yet to call what asks for its value, and if no value that
            the pair may have instead of it, until it has returned, is one that a step still to
            come must not find: one that a `compare_and_set` failed to find, or ABSENT.
        """
        return (
            self._last_wish.get(write.writes, -1) <= now
            and then > START
            and self._last_miss.get(then, -1) < now
            and not self._perils.has_any(now, write.returned)
        )

    def _perilous(self, writes: Mapping[int, list[Step]]) -> Iterable[tuple[float, float]]:
        """Return spans of time in which a value may arise that somebody must not find later."""
        for value, steps in writes.items():
            misses_end = float("inf") if value in (ABSENT, START) else self._last_miss.get(value)
            if misses_end is not None:
                for step in steps:
                    yield step.called, min(step.returned, misses_end)


class _Perils:
    """Spans of time, and whether any of them reaches into another one."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        in_order = sorted(spans, key=itemgetter(1))
        self._ends = [end for _, end in in_order]
        # The earliest begin among this span and all that end later.
        self._begins = list(accumulate((begin for begin, _ in reversed(in_order)), min))[::-1]

    def has_any(self, begin: float, end: float) -> bool:
        """Whether a span has an instant in common with this one; ends are part of spans."""
        first = bisect_left(self._ends, begin)
        return first < len(self._begins) and self._begins[first] <= end


def _raise(times: dict[int, int], value: int, time: int) -> None:
    if time > times.get(value, -1):
        times[value] = time
