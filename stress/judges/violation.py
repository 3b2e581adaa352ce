"""A history that is not linearizable, told so that one can see what happened."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from .history import START, Kind, Operation, state_of

__all__ = ["Violation", "described", "what_it_was"]

_SHOWN_BEFORE: Final = 6
_SHOWN_DURING: Final = 20


@dataclass(frozen=True)
class Violation:
    """One pair that is no register.

    Args:
        key: the number of the pair.
        operation: the first operation that cannot have returned what it did, whatever order
            those before it and around it happened in.
        history: all operations.
    """

    key: int
    operation: Operation
    history: Sequence[Operation] = field(repr=False)

    def __str__(self) -> str:
        mine = [op for op in self.history if op.key <= self.key < op.key + op.span]
        before = [op for op in mine if _is_before(op, self.operation)]
        before = sorted(before, key=lambda op: op.returned_ns or 0)[-_SHOWN_BEFORE:]
        evidence = _evidence(self.operation, mine)
        during = [
            op
            for op in mine
            if not _is_before(op, self.operation)
            and not _is_before(self.operation, op)
            and op is not self.operation
        ][-_SHOWN_DURING:]
        shown = {id(op): op for op in [*before, *evidence, *during, self.operation]}
        start = min(op.called_ns for op in shown.values())
        verdict = (
            f"pair {self.key} is no register: {what_it_was(self.operation)} "
            f"{_when(self.operation, start)}, {_reason(self.operation, evidence, start)}"
        )
        lines = [
            verdict,
            f"what overlaps it, and what was before it (+0 is {start / 1e9:.9f} s):",
        ]
        for op in sorted(shown.values(), key=lambda op: op.called_ns):
            mark = ">" if op is self.operation else "*" if op in evidence else " "
            lines.append(f"{mark} {described(op, start)}")
        return "\n".join(lines)


def described(operation: Operation, start_ns: int = 0) -> str:
    """Return an operation as one line: when, who, what, and what came of it."""
    who = f"process {operation.process} thread {operation.thread}"
    return f"{_when(operation, start_ns):>28}  {who:<20}  {what_it_was(operation)}"


def what_it_was(operation: Operation) -> str:
    """Return what an operation did, as if one had seen it."""
    value, is_known = state_of(operation.value), operation.is_known
    match operation.kind:
        case Kind.GET:
            return f"get -> {state_of(operation.result)}" if is_known else "get -> (unknown)"
        case Kind.SET:
            text = f"set {value}"
        case Kind.CLEAR:
            text = "clear"
        case Kind.SET_ALL:
            text = f"set_all {value}" + (f" -> {operation.result}" if is_known else "")
        case Kind.COMPARE_AND_SET:
            outcome = f" -> {bool(operation.result)}" if is_known else ""
            text = f"compare_and_set {state_of(operation.expected)} to {value}{outcome}"
    return text if is_known else f"{text} (outcome unknown)"


def _when(operation: Operation, start_ns: int) -> str:
    called = f"+{(operation.called_ns - start_ns) / 1e6:.4f}"
    if operation.returned_ns is None:
        return f"{called}.. ms"
    return f"{called}..{(operation.returned_ns - start_ns) / 1e6:.4f} ms"


def _reason(operation: Operation, evidence: Sequence[Operation], start: int) -> str:
    found = _found_value(operation)
    if found is None:
        return "which no order of what happened can explain"
    state = state_of(found)
    match evidence:
        case []:
            return f"which nobody had ever brought to {state}"
        case [source] if _is_before(operation, source):
            return (
                f"although {state} came only later ({what_it_was(source)} {_when(source, start)})"
            )
        case [source]:
            return f"and no order of what happened explains that ({what_it_was(source)})"
        case [*sources, newer]:
            since = f" since {_when(sources[0], start)}" if sources else " from the beginning"
            return (
                f"although it had been {state}{since}, and then came {what_it_was(newer)} "
                f"{_when(newer, start)}"
            )
    return ""


def _evidence(operation: Operation, mine: Iterable[Operation]) -> list[Operation]:
    """Return who brought the value that an operation found, and who changed it after that.

    Only to say it in a sentence: that the history is not linearizable is known already.
    """
    found = _found_value(operation)
    if found is None:
        return []
    others = [op for op in mine if op is not operation]
    sources = [op for op in others if _brings(op, found)]
    in_time = [op for op in sources if not _is_before(operation, op)]
    if not in_time and found != START:
        return sources[:1]
    source = max(in_time, key=lambda op: op.returned_ns or op.called_ns, default=None)
    newer = [
        op
        for op in others
        if _is_before(op, operation)
        and (source is None or _is_before(source, op))
        and _is_other(op, found)
    ]
    last = [max(newer, key=lambda op: op.returned_ns or 0)] if newer else []
    return ([source] if source else []) + last


def _found_value(operation: Operation) -> int | None:
    if not operation.is_known:
        return None
    if operation.kind == Kind.GET:
        return operation.result
    if operation.kind == Kind.COMPARE_AND_SET and operation.result:
        return operation.expected
    return None


def _brings(operation: Operation, value: int) -> bool:
    if operation.kind == Kind.CLEAR:
        return value == START
    return operation.value == value and (
        operation.kind in (Kind.SET, Kind.SET_ALL)
        or (operation.kind == Kind.COMPARE_AND_SET and bool(operation.result))
    )


def _is_other(operation: Operation, value: int) -> bool:
    """Whether an operation shows that the pair had another value than this."""
    if not operation.is_known:
        return False
    if operation.kind == Kind.GET:
        return operation.result != value
    return not _brings(operation, value) and (
        operation.kind != Kind.COMPARE_AND_SET or bool(operation.result)
    )


def _is_before(one: Operation, other: Operation) -> bool:
    return one.returned_ns is not None and one.returned_ns < other.called_ns
