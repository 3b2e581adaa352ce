"""Histories that no store has made: simulated ones, which are linearizable, and mutated ones."""

import random
from collections.abc import Sequence

from judges.history import DOUBTFUL, START, Kind, Operation
from tests.tools.reference_checker import result_of

__all__ = ["mutated", "simulated"]

_KINDS = [*Kind, Kind.COMPARE_AND_SET, *[Kind.SET] * 3, *[Kind.GET] * 5]


def simulated(
    rng: random.Random, count: int, *, keys: int = 1, threads: int = 4, unknown: float = 0.0
) -> list[Operation]:
    """Return a linearizable history, with calls that take a random time around their instant.

    Args:
        rng: decides everything.
        count: of operations.
        keys: of pairs; `clear` and `set_all` cover all of them.
        threads: that call at the same time.
        unknown: the share of operations without a known outcome, half of which happen. Half of
            those have returned all the same.
    """
    width = rng.choice([1, 4, 10, 30])
    idle = [0] * threads
    spans: list[tuple[float, int, int, int]] = []
    for _ in range(count):
        thread = rng.randrange(threads)
        called = idle[thread] + rng.randint(0, width)
        returned = called + rng.randint(1, 2 * width)
        idle[thread] = returned + 1
        spans.append((rng.uniform(called, returned), called, returned, thread))
    store: dict[int, int] = {}
    values = [START]
    history: list[Operation] = []
    for _, called, returned, thread in sorted(spans):
        kind = rng.choice(_KINDS)
        key, span = rng.randrange(keys), 1
        if kind in (Kind.CLEAR, Kind.SET_ALL):
            key, span = 0, keys
        # Some are written again: a Router often sets the state that is there already.
        value = len(values) if rng.random() < 0.75 else rng.choice(values)
        values.append(value)
        expected = rng.choice([store.get(key, START), rng.choice(values[-6:])])
        operation = Operation(thread, 0, kind, key, span, value, expected, 0, called, None)
        if rng.random() >= unknown:
            result = result_of(store, operation)
            operation = operation._replace(result=result, returned_ns=returned)
        else:
            if rng.random() < 0.5:
                result_of(store, operation)
            if rng.random() < 0.5:
                operation = operation._replace(result=DOUBTFUL, returned_ns=returned)
        history.append(operation)
    return sorted(history, key=lambda operation: operation.called_ns)


def mutated(rng: random.Random, history: Sequence[Operation], times: int) -> list[Operation]:
    """Return a history in which results or times are others, which may or may not matter."""
    changed = list(history)
    for _ in range(times):
        place = rng.randrange(len(changed))
        operation = changed[place]
        if not operation.is_known:
            continue
        if rng.random() < 0.4 and operation.kind == Kind.GET:
            operation = operation._replace(result=rng.choice(history).value)
        elif rng.random() < 0.4 and operation.kind == Kind.COMPARE_AND_SET:
            operation = operation._replace(result=1 - operation.result)
        elif rng.random() < 0.4 and operation.kind == Kind.SET_ALL:
            operation = operation._replace(result=rng.randint(0, operation.span))
        else:
            delay = rng.randint(-20, 20)
            operation = operation._replace(
                called_ns=operation.called_ns + delay,
                returned_ns=(operation.returned_ns or 0) + delay,
            )
        changed[place] = operation
    return sorted(changed, key=lambda operation: operation.called_ns)
