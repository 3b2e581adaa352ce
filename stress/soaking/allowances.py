"""What a round's faults excuse in its history: which calls need not have seen or done their work.

The rules are those of the README. After an edit of another SQLite tool, and after a mishap
with the files, reads may find what was there before for 10 ms. And a `set` to a state that the pair
had before may, for as long, do nothing. Where the database itself is lost, so may be what
was being written to it. Nothing else is excused; what is, counts as doubtful.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from judges.history import DOUBTFUL, Kind, Operation
from workers.setting import FIRST_MISHAP, FIRST_TOOL

__all__ = ["UNSEEN_NS", "excused"]

UNSEEN_NS: Final = 10_000_000
"""For how long an edit or a mishap may go unseen; a call is judged by when it was made."""


@dataclass(frozen=True)
class _Window:
    """When calls may go by what was there before.

    Args:
        begin_ns: of the edit or mishap.
        end_ns: of the same.
        keys: the pairs concerned.
        is_loss: whether what was under way may be lost.
    """

    begin_ns: int
    end_ns: int
    keys: Container[int]
    is_loss: bool


def excused(
    history: Sequence[Operation], events: Iterable[dict[str, Any]], pairs: int
) -> list[Operation]:
    """Return a history in which the excused calls are doubtful.

    Args:
        history: by the time of calls.
        events: what struck.
        pairs: how many pairs there are.
    """
    windows = _windows(history, events, pairs)
    if not windows:
        return list(history)
    written: set[int] = set()
    result = []
    for operation in history:
        if operation.process < FIRST_TOOL and _is_excused(operation, written, windows):
            operation = operation._replace(result=DOUBTFUL)
        if operation.kind != Kind.GET:
            written.add(operation.value)
        result.append(operation)
    return result


def _windows(
    history: Iterable[Operation], events: Iterable[dict[str, Any]], pairs: int
) -> list[_Window]:
    windows = [
        _Window(event["begin_ns"], event["end_ns"], range(pairs), is_loss=False)
        for event in events
        if event.get("is_mishap")
    ]
    # What was done to many pairs at once is recorded pair by pair, with the same times.
    edited: dict[tuple[int, int, bool], set[int]] = defaultdict(set)
    for operation in history:
        if operation.process >= FIRST_TOOL and operation.returned_ns is not None:
            is_loss = operation.process >= FIRST_MISHAP
            keys = range(operation.key, operation.key + operation.span)
            edited[operation.called_ns, operation.returned_ns, is_loss].update(keys)
    windows += [
        _Window(begin_ns, end_ns, keys, is_loss)
        for (begin_ns, end_ns, is_loss), keys in edited.items()
    ]
    return sorted(windows, key=lambda window: window.begin_ns)


def _is_excused(operation: Operation, written: set[int], windows: Sequence[_Window]) -> bool:
    if operation.returned_ns is None:
        return False  # of unknown outcome in any case
    first = operation.key
    is_weak = operation.kind == Kind.GET or (
        operation.kind == Kind.SET and operation.value in written
    )
    last = bisect_right(windows, operation.returned_ns, key=lambda window: window.begin_ns)
    for window in windows[:last]:
        if window.end_ns + UNSEEN_NS < operation.called_ns:
            continue
        if window.is_loss and operation.called_ns <= window.end_ns:
            return True
        is_concerned = first in window.keys or operation.span > 1
        if is_weak and is_concerned and window.begin_ns <= operation.called_ns:
            return True
    return False
