"""Falsified histories: records changed so that certainly no order of operations explains them.

Each function changes or adds one record at a random place, and returns a sentence that says
which, or raises LookupError where the history has no place for it.
"""

import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Final

from .history import START, Kind, Operation, new_value

__all__ = ["DAMAGES", "falsify"]

_TRIES: Final = 5000
_NOBODY: Final = 250


def falsify(
    operations: Sequence[Operation], damage: str, seed: int
) -> tuple[list[Operation], Operation]:
    """Return a history with one false record, and the record as it is now.

    Args:
        operations: a linearizable history, by the time of calls.
        damage: one of DAMAGES.
        seed: of the place.

    Raises:
        LookupError: the history has no place for it.
    """
    history, rng = _Index(operations), random.Random(f"{damage}/{seed}")
    for _ in range(_TRIES):
        for true, false in DAMAGES[damage](history, rng):
            changed = [false if operation is true else operation for operation in operations]
            if true is None:
                changed.append(false)
            return sorted(changed, key=attrgetter("called_ns")), false
    raise LookupError(f"this history has no place for: {damage}")


_Change = tuple[Operation | None, Operation]
"""A record and what to put in its place; None adds it."""


class _Index:
    """A history, and what can be looked up in it."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.operations = operations

    @cached_property
    def writes(self) -> list[Operation]:
        """All that have certainly changed every pair they cover, or made sure of its value."""
        return [op for op in self.operations if _is_certain_write(op)]

    @cached_property
    def once(self) -> frozenset[int]:
        """The values that one operation wrote, or tried to, and no other did."""
        written = Counter(
            op.value for op in self.operations if op.kind not in (Kind.GET, Kind.CLEAR)
        )
        return frozenset(value for value, times in written.items() if times == 1 and value > START)

    @cached_property
    def gets(self) -> Mapping[int, list[Operation]]:
        """The reads of each pair, by the time of their calls."""
        found: dict[int, list[Operation]] = defaultdict(list)
        for op in self.operations:
            if op.kind == Kind.GET and op.is_known:
                found[op.key].append(op)
        return found

    @cached_property
    def writes_of(self) -> Mapping[int, list[Operation]]:
        """The writes of values of their own to each pair, by the time of their calls."""
        found: dict[int, list[Operation]] = defaultdict(list)
        for op in self.writes:
            if op.value in self.once and op.kind != Kind.CLEAR:
                for key in range(op.key, op.key + op.span):
                    found[key].append(op)
        return found

    def next_get(self, key: int, after_ns: int) -> Operation | None:
        """Return the first read of a pair that was called after a moment."""
        gets = self.gets[key]
        place = bisect_right(gets, after_ns, key=attrgetter("called_ns"))
        return gets[place] if place < len(gets) else None

    def last_write_before(self, key: int, before_ns: int) -> Operation | None:
        """Return a late one of the writes to a pair that had returned before a moment."""
        writes = self.writes_of[key]
        place = bisect_right(writes, before_ns, key=attrgetter("called_ns"))
        for write in reversed(writes[:place]):
            if _returned(write) < before_ns:
                return write
        return None


def _stale_read(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # The first read after a write has returned finds what was there before the write.
    write = rng.choice(history.writes)
    key = rng.randrange(write.key, write.key + write.span)
    read = history.next_get(key, _returned(write))
    older = history.last_write_before(key, write.called_ns)
    if read is not None and older is not None and older.value != write.value:
        yield read, read._replace(result=older.value)


def _new_then_old(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # One process sees a write; another one then sees what was there before the write.
    key = rng.choice(list(history.writes_of))
    write = rng.choice(history.writes_of[key])
    older = history.last_write_before(key, write.called_ns)
    for new in history.gets[key]:
        if new.result == write.value:
            old = history.next_get(key, _returned(new))
            if old is not None and old.process != new.process and older is not None:
                yield old, old._replace(result=older.value)


def _too_early(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # A read finds what is only written later.
    key = rng.choice(list(history.writes_of))
    read = rng.choice(history.gets[key])
    later = [w for w in history.writes_of[key] if w.called_ns > _returned(read)]
    if later:
        yield read, read._replace(result=later[0].value)


def _from_nowhere(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # A read finds what was never written.
    read = rng.choice(history.gets[rng.choice(list(history.gets))])
    yield read, read._replace(result=new_value(_NOBODY, 0, 1))


def _skipped_clear(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # A clear has returned, and one pair still is as it was.
    clear = rng.choice([op for op in history.writes if op.kind == Kind.CLEAR])
    key = rng.randrange(clear.key, clear.key + clear.span)
    read = history.next_get(key, _returned(clear))
    older = history.last_write_before(key, clear.called_ns)
    if read is not None and older is not None:
        yield read, read._replace(result=older.value)


def _lost_update(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # A set is acknowledged between two reads of one value that was written once.
    key = rng.choice(list(history.gets))
    gets = history.gets[key]
    first = rng.choice(gets)
    last = history.next_get(key, _returned(first))
    if last is None or first.result != last.result or first.result not in history.once:
        return
    begin, end = _returned(first) + 1, last.called_ns - 1
    if begin < end:
        value = new_value(_NOBODY, 0, 2)
        yield None, Operation(_NOBODY, 0, Kind.SET, key, 1, value, 0, 0, begin, end)


def _two_successes(history: _Index, rng: random.Random) -> Iterator[_Change]:
    # Two compare_and_set from one state, which was written once, have both succeeded.
    swaps = [op for op in history.operations if op.kind == Kind.COMPARE_AND_SET]
    won = rng.choice([op for op in swaps if op.result and op.expected in history.once])
    for lost in swaps:
        if not lost.result and (lost.key, lost.expected) == (won.key, won.expected):
            yield lost, lost._replace(result=1)


DAMAGES: Final[Mapping[str, Callable[[_Index, random.Random], Iterable[_Change]]]] = {
    "stale read": _stale_read,
    "new, then old": _new_then_old,
    "read too early": _too_early,
    "read from nowhere": _from_nowhere,
    "skipped by clear": _skipped_clear,
    "lost update": _lost_update,
    "two successes": _two_successes,
}
"""What can be wrong in a falsified history."""


def _is_certain_write(operation: Operation) -> bool:
    if not operation.is_known:
        return False
    match operation.kind:
        case Kind.SET | Kind.CLEAR:
            return True
        case Kind.SET_ALL:
            return operation.result == operation.span
        case Kind.COMPARE_AND_SET:
            return operation.result == 1 and operation.expected != operation.value
    return False


def _returned(operation: Operation) -> int:
    assert operation.returned_ns is not None
    return operation.returned_ns
