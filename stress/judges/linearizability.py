"""Whether a recorded history is linearizable: the judge, one register per pair.

A history is linearizable if each operation can be thought to happen at one instant between its
call and its return, so that all results are what they would be one after the other (Herlihy
and Wing, 1990). The search keeps, while time goes on, every *configuration* there may be: the
value, and which of the operations under way have happened already. Nothing is thought to happen
before the return of an operation asks for it (just-in-time linearization: Lowe, "Testing for
linearizability", 2017). When no configuration is left, the history is not linearizable.

What keeps the configurations few decides nothing by itself, only spares branches that could
not change the verdict:

- **Pure steps at once.** A step that changes no value, whichever it meets, happens as soon as
  the value allows it: whatever order it has a later place in is as good without it. (To read
  START is not pure: after a `clear`, it stores START, which a `set_all` then finds.)
- **Dead values.** A value that must still be read, and that nobody will write again, cannot be
  overwritten.
- **Useless writes.** A write whose value nobody still to come can ask for is thought to
  happen, together with all pending reads of it, just before the next write that happens. Take an
  order in which it happens later, and leave it out there: between its place and the next
  change, the value is an older one s instead of its own. Nobody can read its own value there,
  and whatever overwrites does the same to s. Only a step that asks for *another* value than s
  can tell (a `compare_and_set` that failed), and a step that asks whether anything is stored.
  So this is done only where no such step can meet such an s (`Hindsight.is_useless`).
- **Doubtful outcomes.** A call that has returned, but need not have happened, is tried both ways
  when it returns.
- **Unknown outcomes.** Of two configurations that differ in operations that may never happen,
  the one that has used up fewer of them is enough. And of several `set` that never returned, with
  values that nobody speaks of, each is as good as the other, so that one is tried.

A test compares all this with a search through all orders, over thousands of small histories.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence

from .hindsight import Hindsight
from .history import ABSENT, START, Operation
from .register import IMPOSSIBLE, Action, Step, after, steps_of, steps_on
from .violation import Violation

__all__ = ["check", "is_linearizable"]

_Configuration = tuple[int, int]
"""The value, and the bits of the pending steps that have happened."""


def check(operations: Sequence[Operation]) -> Violation | None:
    """Return what is wrong with a history, or None where every pair is linearizable.

    Args:
        operations: by the time of their calls, from when no pair was stored on.
    """
    for key, steps in sorted(steps_of(operations).items()):
        if not is_linearizable(steps):
            return Violation(key, _culprit(key, operations), operations)
    return None


def is_linearizable(steps: Iterable[Step]) -> bool:
    """Whether the steps on one pair are linearizable, from ABSENT on."""
    return _Search(steps).runs_through()


def _culprit(key: int, operations: Sequence[Operation]) -> Operation:
    """Return the first operation that cannot have returned what it did, given all before it.

    The search itself fails sooner, as it looks ahead at what will be read.
    """
    steps = steps_on(key, operations)
    returns = sorted(
        (step for step in steps if not step.is_optional), key=lambda step: step.returned
    )
    good, bad = -1, len(returns) - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_linearizable(steps_on(key, _until(returns[middle].returned, operations))):
            good = middle
        else:
            bad = middle
    return returns[bad].operation


def _until(now: float, operations: Iterable[Operation]) -> list[Operation]:
    """Return the history as it was then: what was under way has an unknown outcome."""
    return [
        operation._replace(returned_ns=None)
        if operation.returned_ns is not None and operation.returned_ns > now
        else operation
        for operation in operations
        if operation.called_ns <= now
    ]


class _Search:
    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = list(steps)
        self._hindsight = Hindsight(self._steps)
        self._pending: dict[int, Step] = {}  # by the bit that stands for it
        self._optional = 0  # the bits of steps that may never happen
        self._misses = 0  # the bits of those that may ask for another value than there is
        self._now: float = 0
        self._answers: dict[tuple[int, int], bool] = {}  # of `_is_useless`, by now

    def runs_through(self) -> bool:
        configurations = [(ABSENT, 0)]
        bits: dict[Step, int] = {}
        free: list[int] = []
        for now, is_return, number in self._events():
            self._now = now
            step = self._steps[number]
            if is_return:
                bit = bits.pop(step)
                configurations = self._after_return(configurations, bit)
                if not configurations:
                    return False
                del self._pending[bit]
                self._misses &= ~bit
                self._optional &= ~bit
                free.append(bit)
            else:
                bit = free.pop() if free else 1 << len(bits)
                bits[step] = bit
                self._pending[bit] = step
                if step.action is Action.MISS:
                    self._misses |= bit
                if step.is_optional:
                    self._optional |= bit
                elif step.is_pure:
                    configurations = [
                        (value, done | bit) if after(step, value) == value else (value, done)
                        for value, done in configurations
                    ]
        return True

    def _events(self) -> list[tuple[float, bool, int]]:
        # Of one nanosecond, calls come before returns: they may have overlapped.
        events: list[tuple[float, bool, int]] = []
        for number, step in enumerate(self._steps):
            events.append((step.called, False, number))
            if step.returned != math.inf:
                events.append((step.returned, True, number))
        events.sort()
        return events

    def _after_return(self, configurations: list[_Configuration], bit: int) -> list[_Configuration]:
        happened = [(value, done ^ bit) for value, done in configurations if done & bit]
        if len(happened) == len(configurations):
            return happened
        waiting = [configuration for configuration in configurations if not configuration[1] & bit]
        if bit & self._optional:
            happened += waiting
        happened += [(value, done ^ bit) for value, done in self._reach(waiting, bit)]
        return self._least(happened)

    def _reach(self, waiting: list[_Configuration], wanted: int) -> list[_Configuration]:
        """Return the configurations in which a step has happened, and just before which not."""
        self._answers.clear()
        reached: list[_Configuration] = []
        seen: dict[_Configuration, list[int]] = {}
        queue = deque(sorted(waiting, key=lambda config: (config[1] & self._optional).bit_count()))
        while queue:
            value, done = queue.popleft()
            has_tried_unnamed = False
            for bit, step in self._pending.items():
                if done & bit:
                    continue
                if self._is_unnamed(step):
                    if has_tried_unnamed:
                        continue
                    has_tried_unnamed = True
                then = after(step, value)
                # An optional step that changes nothing is the same as none.
                if then == IMPOSSIBLE or (then == value and step.is_optional):
                    continue
                following = self._following(value, done, bit, step, then)
                if following is None or self._is_dominated(following, seen):
                    continue
                (reached if following[1] & wanted else queue).append(following)
        return reached

    def _is_unnamed(self, step: Step) -> bool:
        return (
            step.is_optional
            and step.action is Action.WRITE
            and step.returned == math.inf
            and not self._hindsight.is_named(step.writes)
        )

    def _following(
        self, value: int, done: int, bit: int, step: Step, then: int
    ) -> _Configuration | None:
        """Return the configuration after a step that changes something; None: it is dead."""
        if then != value and self._is_still_asked_for(value, done | bit):
            return None
        if step.action in (Action.WRITE, Action.WRITE_STORED, Action.WRITE_IF_STORED):
            done = self._with_useless_writes(value, done, then)
            if then != value and self._is_still_asked_for(value, done | bit):
                return None
        done |= bit
        return then, self._with_pure_steps(then, done)

    def _with_useless_writes(self, value: int, done: int, then: int) -> int:
        if then == ABSENT:
            return done
        hidden = done
        for bit, step in self._pending.items():
            if done & bit or step.is_optional or step.writes <= START:
                continue
            if step.action is not Action.WRITE and (
                step.action is not Action.WRITE_STORED or value == ABSENT
            ):
                continue
            if not self._is_useless(bit, done):
                continue
            if any(
                other.needs == step.writes and other.action is Action.SWAP and not done & other_bit
                for other_bit, other in self._pending.items()
            ):
                continue
            hidden = self._with_pure_steps(step.writes, hidden | bit)
        return hidden

    def _is_useless(self, bit: int, done: int) -> bool:
        # Only compare_and_set that failed matter to it, of all that has happened.
        question = bit, done & self._misses
        if question not in self._answers:
            happened = {step for other, step in self._pending.items() if question[1] & other}
            self._answers[question] = self._hindsight.is_useless(
                self._pending[bit], self._now, happened
            )
        return self._answers[question]

    def _with_pure_steps(self, value: int, done: int) -> int:
        for bit, step in self._pending.items():
            if step.is_pure and not done & bit and after(step, value) == value:
                done |= bit
        return done

    def _is_still_asked_for(self, value: int, done: int) -> bool:
        """Whether a value that is overwritten must come again, and cannot."""
        if value <= START or self._hindsight.is_written_after(value, self._now):
            return False
        is_asked_for = self._hindsight.is_needed_after(value, self._now)
        for bit, step in self._pending.items():
            if not done & bit:
                if step.writes == value and not step.is_pure:
                    return False
                if step.action is Action.SWAP and step.needs == value and not step.is_optional:
                    is_asked_for = True
        return is_asked_for

    def _is_dominated(
        self, configuration: _Configuration, seen: dict[_Configuration, list[int]]
    ) -> bool:
        """Whether one was seen that had used no more of what may never happen; else note it."""
        value, done = configuration
        used = done & self._optional
        others = seen.setdefault((value, done & ~self._optional), [])
        if any(other & used == other for other in others):
            return True
        others.append(used)
        return False

    def _least(self, configurations: list[_Configuration]) -> list[_Configuration]:
        if len(configurations) == 1:
            return configurations
        seen: dict[_Configuration, list[int]] = {}
        configurations.sort(key=lambda config: (config[1] & self._optional).bit_count())
        return [config for config in configurations if not self._is_dominated(config, seen)]
