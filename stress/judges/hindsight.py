"""What is known of a finished history from its end: which values will be asked for again."""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from itertools import accumulate
from operator import attrgetter
from typing import Final

from .history import ABSENT
from .register import Action, Step

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
        self._named: set[int] = set()
        self._last_write: dict[int, int] = {}
        self._last_need: dict[int, int] = {}
        wishes: dict[int, list[int]] = defaultdict(list)
        writes: dict[int, list[Step]] = defaultdict(list)
        misses: list[Step] = []
        certain: list[Step] = []
        for step in steps:
            self._named.add(step.needs)
            if step.action in _WRITING:
                _raise(self._last_write, step.writes, step.called)
                writes[step.writes].append(step)
            if step.action in _ASKING:
                wishes[step.needs].append(step.called)
                if not step.is_optional:
                    _raise(self._last_need, step.needs, step.called)
            if step.action is Action.MISS:
                misses.append(step)
            if step.action is Action.WRITE and not step.is_optional:
                certain.append(step)
        self._writes = {value: _Spans(those) for value, those in writes.items()}
        self._misses = _Spans(misses)
        self._wishes = {value: sorted(calls) for value, calls in wishes.items()}
        certain.sort(key=attrgetter("called"))
        self._certain_calls = [step.called for step in certain]
        # The earliest return of each certain write and of all that are called later.
        self._certain_returns = list(accumulate((s.returned for s in reversed(certain)), min))[::-1]

    def is_named(self, value: int) -> bool:
        """Whether any step speaks of the value but to write it."""
        return value in self._named

    def is_written_after(self, value: int, now: float) -> bool:
        """Whether a step that may write the value is called after ``now``."""
        return self._last_write.get(value, -1) > now

    def is_needed_after(self, value: int, now: float) -> bool:
        """Whether a step that needs the value, and has happened, is called after ``now``."""
        return self._last_need.get(value, -1) > now

    def is_useless(self, write: Step, now: float, happened: Container[Step]) -> bool:
        """Whether nobody can tell if a pending write has happened before the next one.

        Args:
            write: the step. It may otherwise happen at any time until it returns, after a
                value s that is written now or until that.
            now: the time; who asks for the value and was called before is the caller's to see.
            happened: those of the pending steps that have happened already.

        Returns:
            True only if s cannot be ABSENT; nobody is yet to call what asks for its value before
            a later write has certainly happened; and no `compare_and_set` that failed to find s
            can come so early that no later write has certainly happened in between.
        """
        over = self._certain_write_after(write.returned)
        wishes = self._wishes.get(write.writes, [])
        next_wish = bisect_right(wishes, now)
        if next_wish < len(wishes) and wishes[next_wish] <= over:
            return False
        if any(self._writes_of(ABSENT).within(now, write.returned)):
            return False
        return not any(
            miss not in happened
            and miss.returned >= other.called
            and miss.called <= self._certain_write_after(other.returned)
            for miss in self._misses.within(now, over)
            for other in self._writes_of(miss.needs).within(now, write.returned)
        )

    def _writes_of(self, value: int) -> "_Spans":
        return self._writes.get(value, _NONE)

    def _certain_write_after(self, time: float) -> float:
        """Return when a write that is called after ``time`` has certainly happened."""
        place = bisect_right(self._certain_calls, time)
        return self._certain_returns[place] if place < len(self._certain_returns) else math.inf


class _Spans:
    """Steps, and which of them were under way at some time."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = sorted(steps, key=attrgetter("called"))
        self._calls = [step.called for step in self._steps]
        # The latest return of each step and of all that are called earlier.
        self._returns = list(accumulate((step.returned for step in self._steps), max))

    def within(self, begin: float, end: float) -> Iterator[Step]:
        """Return the steps that have an instant in common with a time; ends are part of both."""
        first = bisect_left(self._returns, begin)
        for step in self._steps[first : bisect_right(self._calls, end)]:
            if step.returned >= begin:
                yield step


_NONE: Final = _Spans([])


def _raise(times: dict[int, int], value: int, time: int) -> None:
    if time > times.get(value, -1):
        times[value] = time
