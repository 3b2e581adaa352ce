"""The obviously right and hopelessly slow way to judge a history: try every order there is.

It runs whole operations against a dict, and shares nothing with the fast checker but the records.
"""

from collections.abc import Sequence

from judges.history import DOUBTFUL, START, Kind, Operation

__all__ = ["is_linearizable_by_trying", "result_of"]


def is_linearizable_by_trying(operations: Sequence[Operation]) -> bool:
    """Whether some order of all operations, none before one that had returned, explains them."""
    return _can_go_on({}, list(operations))


def _can_go_on(store: dict[int, int], remaining: list[Operation]) -> bool:
    returns = [op.returned_ns for op in remaining if op.returned_ns is not None]
    if not returns:
        return True  # what has an unknown outcome may never have happened
    for number, operation in enumerate(remaining):
        if operation.called_ns <= min(returns):
            others = remaining[:number] + remaining[number + 1 :]
            if operation.result == DOUBTFUL and _can_go_on(store, others):
                return True
            copy = dict(store)
            result = result_of(copy, operation)
            is_possible = not operation.is_known or result == operation.result
            if is_possible and _can_go_on(copy, others):
                return True
    return False


def result_of(store: dict[int, int], operation: Operation) -> int:
    """Do what the operation does to a dict, and return its result."""
    key = operation.key
    match operation.kind:
        case Kind.GET:
            return store.setdefault(key, START)
        case Kind.SET:
            store[key] = operation.value
        case Kind.CLEAR:
            store.clear()
        case Kind.SET_ALL:
            there = store.keys() & set(range(key, key + operation.span))
            store.update(dict.fromkeys(there, operation.value))
            return len(there)
        case Kind.COMPARE_AND_SET:
            if store.get(key, START) != operation.expected:
                return 0
            if operation.expected != operation.value:
                store[key] = operation.value
            return 1
    return 0
