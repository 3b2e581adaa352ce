"""What each operation does to one pair: the rules of a register, which histories are held to.

A pair is a register whose first value is ABSENT. An operation that covers several pairs is one
step on each of them. What is judged is each pair by itself: that a `clear` is one instant on
all pairs together is not, only that on each pair it falls between its call and its return.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from .history import ABSENT, START, Kind, Operation

__all__ = ["IMPOSSIBLE", "Action", "Step", "after", "steps_of", "steps_on"]

IMPOSSIBLE: Final = -9
"""What `after` returns where a step cannot happen."""


class Action(Enum):
    """What a step does to the value, and what the value must be for it."""

    READ = auto()  # it is `needs`; reading ABSENT as START stores START
    PEEK = auto()  # it is `needs`, ABSENT being as good as START
    MISS = auto()  # it is not `needs`, ABSENT being as good as START
    WRITE = auto()  # it becomes `writes`, whatever it was
    WRITE_STORED = auto()  # it becomes `writes`, and was not ABSENT
    WRITE_IF_STORED = auto()  # it becomes `writes`, unless it is ABSENT
    PASS_BY = auto()  # it is ABSENT
    SWAP = auto()  # it is `needs`, ABSENT being as good as START, and becomes `writes`
    TOUCH = auto()  # it is ABSENT and becomes START


@dataclass(slots=True, eq=False)
class Step:
    """What one operation does to one pair.

    Args:
        operation: the whole of it.
        action: what it does.
        needs: the value that the action speaks of.
        writes: the value that the action leaves.
        called: when it may happen, at the earliest.
        returned: when it must have happened; infinite for a call that never returned.
        is_optional: whether it may also never happen.
        is_pure: whether it changes no value that it meets. Reading START is not: it stores it.
    """

    operation: Operation
    action: Action
    needs: int
    writes: int
    called: int
    returned: float
    is_optional: bool
    is_pure: bool


def after(step: Step, value: int) -> int:
    """Return the value after a step, or IMPOSSIBLE where the step cannot happen at ``value``."""
    match step.action:
        case Action.READ:
            if value == step.needs or (value == ABSENT and step.needs == START):
                return step.needs
            return IMPOSSIBLE
        case Action.WRITE:
            return step.writes
        case Action.PEEK:
            return value if _reads_as(value) == step.needs else IMPOSSIBLE
        case Action.MISS:
            return value if _reads_as(value) != step.needs else IMPOSSIBLE
        case Action.SWAP:
            return step.writes if _reads_as(value) == step.needs else IMPOSSIBLE
        case Action.WRITE_IF_STORED:
            return ABSENT if value == ABSENT else step.writes
        case Action.WRITE_STORED:
            return IMPOSSIBLE if value == ABSENT else step.writes
        case Action.PASS_BY:
            return ABSENT if value == ABSENT else IMPOSSIBLE
        case Action.TOUCH:
            return START if value == ABSENT else IMPOSSIBLE


def steps_of(operations: Iterable[Operation]) -> dict[int, list[Step]]:
    """Return the steps on each pair, in the operations' order."""
    steps: dict[int, list[Step]] = defaultdict(list)
    for operation in operations:
        step = _step(operation)
        if step is not None:
            for key in range(operation.key, operation.key + operation.span):
                steps[key].append(step)
    return steps


def steps_on(key: int, operations: Iterable[Operation]) -> list[Step]:
    """Return the steps on one pair, in the operations' order."""
    concerned = (op for op in operations if op.key <= key < op.key + op.span)
    return [step for step in map(_step, concerned) if step is not None]


def _reads_as(value: int) -> int:
    return START if value == ABSENT else value


def _step(operation: Operation) -> Step | None:
    action, needs, writes = _meaning(operation)
    if action is None:
        return None
    returned = operation.returned_ns
    return Step(
        operation,
        action,
        needs,
        writes,
        operation.called_ns,
        math.inf if returned is None else returned,
        is_optional=not operation.is_known,
        is_pure=action in (Action.PEEK, Action.MISS) or (action is Action.READ and needs != START),
    )


def _meaning(operation: Operation) -> tuple[Action | None, int, int]:
    _, _, kind, _, span, value, expected, result, _, _ = operation
    is_known = operation.is_known
    if kind == Kind.GET:
        # Of a get without a result, nothing is known but that it may have stored START.
        return (Action.READ, result, result) if is_known else (Action.TOUCH, ABSENT, START)
    if kind == Kind.SET:
        return Action.WRITE, ABSENT, value
    if kind == Kind.CLEAR:
        return Action.WRITE, ABSENT, ABSENT
    if kind == Kind.SET_ALL:
        if not is_known or 0 < result < span:
            return Action.WRITE_IF_STORED, ABSENT, value
        return (Action.WRITE_STORED if result else Action.PASS_BY), ABSENT, value
    if is_known and not result:
        return Action.MISS, expected, expected
    if expected == value:  # which writes nothing, not even a START that is missing
        return (Action.PEEK if is_known else None), expected, expected
    return Action.SWAP, expected, value
