"""A second judge of recorded histories, with another method and in O(n log n).

It knows less than the first, and shares nothing with it but the records. What it finds is
certain; a history it finds nothing in need not be linearizable. It looks at one pair at a time
and calls a *sighting* each operation that shows the pair to have had some value at an instant
between its call and its return: it read the value or wrote it.

1. **Stale.** A read of a value is stale if some other value was sighted, called after the
   last write of the read one had returned, and returned before the read was called. Where
   the other sighting was a read, that is "new, then old". A read of a value is impossible if no
   write of it was called before the read returned.
2. **Mixed.** A value that was written once is there for one stretch of time without a gap.
   It has begun when the first of its sightings has returned, and lasts until the last is
   called. No two values' stretches can overlap, nor can all sightings of another value have to
   fall into one. These are the zones of Gibbons and Korach, "Testing Shared Memories" (1997).
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import NamedTuple

from .history import START, Kind, Operation
from .violation import described

__all__ = ["Finding", "look_again"]


@dataclass(frozen=True)
class Finding:
    """What is certainly wrong.

    Args:
        key: the number of the pair.
        what: in words.
        operations: those that contradict each other.
    """

    key: int
    what: str
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        start = min(operation.called_ns for operation in self.operations)
        lines = [described(operation, start) for operation in self.operations]
        return "\n".join([f"pair {self.key}: {self.what}", *lines])


class _Sighting(NamedTuple):
    value: int
    called: int
    returned: float
    is_write: bool
    is_certain: bool
    operation: Operation


class _Stretch(NamedTuple):
    """A value's: it has begun at ``low`` and lasts until ``high``, if ``low`` is earlier."""

    value: int
    low: float
    high: float
    first: Operation
    last: Operation


def look_again(operations: Sequence[Operation]) -> list[Finding]:
    """Return what is certainly wrong with a history, by pair."""
    sightings: dict[int, list[_Sighting]] = defaultdict(list)
    for operation in operations:
        for sighting in _sightings(operation):
            for key in range(operation.key, operation.key + operation.span):
                sightings[key].append(sighting)
    return [
        finding
        for key, seen in sorted(sightings.items())
        for look in (_stale, _mixed)
        for finding in look(key, seen)
    ]


def _sightings(operation: Operation) -> Iterator[_Sighting]:
    _, _, kind, _, span, value, expected, result, called, returned = operation
    is_known = operation.is_known
    until = math.inf if returned is None else returned
    if kind == Kind.GET:
        if is_known:
            yield _Sighting(result, called, until, False, True, operation)
    elif kind == Kind.SET:
        yield _Sighting(value, called, until, True, is_known, operation)
    elif kind == Kind.CLEAR:
        yield _Sighting(START, called, until, True, is_known, operation)
    elif kind == Kind.SET_ALL:
        if result or not is_known:  # which pairs it found is certain where it found all
            yield _Sighting(value, called, until, True, is_known and result == span, operation)
    elif result or not is_known:
        if is_known:
            yield _Sighting(expected, called, until, False, True, operation)
        if expected != value:
            yield _Sighting(value, called, until, True, is_known, operation)


def _stale(key: int, seen: Sequence[_Sighting]) -> Iterator[Finding]:
    writes: dict[int, list[_Sighting]] = defaultdict(list)
    for sighting in seen:
        if sighting.is_write:
            writes[sighting.value].append(sighting)
    # For each moment, the two latest calls among what had returned, of different values.
    certain = sorted((s for s in seen if s.is_certain), key=attrgetter("returned"))
    returns = [sighting.returned for sighting in certain]
    latest: list[tuple[_Sighting | None, _Sighting | None]] = [(None, None)]
    for sighting in certain:
        one, two = latest[-1]
        if one is None or sighting.called > one.called:
            two = one if one is not None and one.value != sighting.value else two
            one = sighting
        elif sighting.value != one.value and (two is None or sighting.called > two.called):
            two = sighting
        latest.append((one, two))
    for read in seen:
        if read.is_write:
            continue
        sources = [w for w in writes[read.value] if w.called <= read.returned]
        if not sources and read.value != START:
            yield Finding(key, "a value that nobody had written yet was read", (read.operation,))
            continue
        source = max(sources, key=attrgetter("returned"), default=None)
        over = -math.inf if source is None else source.returned
        one, two = latest[bisect_left(returns, read.called)]
        other = two if one is not None and one.value == read.value else one
        if other is not None and other.called > over:
            what = "stale read" if other.is_write else "new value read, and then an older one"
            first = () if source is None else (source.operation,)
            yield Finding(key, what, (*first, other.operation, read.operation))


def _mixed(key: int, seen: Sequence[_Sighting]) -> Iterator[Finding]:
    groups: dict[int, list[_Sighting]] = defaultdict(list)
    for sighting in seen:
        groups[sighting.value].append(sighting)
    whole: list[_Stretch] = []
    needed: list[_Stretch] = []
    for value, group in groups.items():
        if value != START and sum(sighting.is_write for sighting in group) == 1:
            # A read shows that the write has happened, also where that was not certain.
            if len(group) > 1 or group[0].is_certain:
                stretch = _stretch(value, group)
                (whole if stretch.low < stretch.high else needed).append(stretch)
        else:
            needed += [_stretch(value, [sighting]) for sighting in group if sighting.is_certain]
    whole.sort(key=attrgetter("low"))
    for one, two in pairwise(whole):
        if two.low < one.high:
            yield Finding(key, "values that took turns", (one.first, two.first, one.last, two.last))
            return
    lows = [stretch.low for stretch in whole]
    for stretch in needed:  # it has a sighting after `high` and one before `low`
        index = bisect_left(lows, stretch.high) - 1
        if index >= 0 and stretch.low < whole[index].high and whole[index].value != stretch.value:
            around = whole[index]
            parts = (around.first, stretch.first, stretch.last, around.last)
            yield Finding(key, "a value that came and went inside another's stretch", parts)


def _stretch(value: int, group: Sequence[_Sighting]) -> _Stretch:
    first = min(group, key=attrgetter("returned"))
    last = max(group, key=attrgetter("called"))
    return _Stretch(value, first.returned, last.called, first.operation, last.operation)
