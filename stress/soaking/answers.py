"""Checks of what calls were answered: in the right order, nothing lost, only allowed errors."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from judges.history import START, Kind, Operation, state_of
from judges.linearizability import check
from judges.second_opinion import look_again
from judges.violation import what_it_was
from workers.setting import AUDITOR, FIRST_TOOL

from . import checks
from .checks import Check, shortened
from .evidence import Evidence, calls_of

__all__ = ["acknowledged", "duration", "errors", "linearizable", "second_opinion", "since"]

# A call waits for its timeout, a first `get` twice; the rest is for a machine that is busy.
_BUSY_SECONDS: Final = 3.0

# The clock of the day is read in whole milliseconds, and put right now and then.
_CLOCK_NS: Final = 20_000_000


def linearizable(history: Sequence[Operation]) -> Check:
    """Search for an order of all calls that explains them."""
    violation = check(history)
    return Check(
        checks.LINEARIZABLE,
        () if violation is None else (str(violation),),
        f"{len(calls_of(history)):,} calls",
    )


def second_opinion(history: Sequence[Operation]) -> Check:
    """Look for what certainly cannot be."""
    findings = [str(finding) for finding in look_again(history)]
    return Check(checks.SECOND, shortened(findings))


def acknowledged(evidence: Evidence, history: Sequence[Operation]) -> Check:
    """Look up the last write of each pair that only one thread writes to.

    Not judged here but by the others is in what order a `clear` or a mishap came: where one may
    have been last, its state will do as well.
    """
    pairs = evidence.pairs
    first_own = pairs.first_of(0)
    writes: dict[int, list[Operation]] = defaultdict(list)
    found: dict[int, int] = {}
    for operation in history:
        if operation.process == AUDITOR:
            found[operation.key] = operation.result
        elif operation.kind != Kind.GET and not _is_certainly_nothing(operation):
            for key in range(max(operation.key, first_own), operation.key + operation.span):
                writes[key].append(operation)
    problems = []
    for key, operations in writes.items():
        possible = _possible_ends(operations)
        if found.get(key, START) not in possible:
            module, sender = pairs.pair(key)
            expected = " or ".join(sorted(state_of(value) for value in possible))
            there = state_of(found.get(key, START))
            problems.append(f"{module!a}, {sender!a}: acknowledged {expected}, found {there}")
    return Check(
        checks.ACKNOWLEDGED, shortened(problems), f"{len(writes):,} pairs", is_asked=bool(writes)
    )


def since(evidence: Evidence) -> Check:
    """Hold the times in the file against those of the calls that made the last changes."""
    if any(fault.wrong_clock for fault in evidence.faults):
        return Check(checks.SINCE, (), "the clock was wrong", is_asked=False)
    first_own = evidence.pairs.first_of(0)
    first_calls = evidence.first_calls
    last: dict[int, Operation | None] = {}  # who made the last change, where that is certain
    over: dict[int, float] = {}  # when all changes so far have certainly returned
    for operation in evidence.history:
        if operation.kind == Kind.GET or _is_certainly_nothing(operation):
            continue
        is_new = (
            _is_certain(operation)
            and operation.kind != Kind.CLEAR
            and operation.called_ns == first_calls[operation.value]
        )
        returned = math.inf if operation.returned_ns is None else operation.returned_ns
        for key in range(max(operation.key, first_own), operation.key + operation.span):
            change = last.get(key)
            if (
                change is not None
                and operation.kind == Kind.SET
                and operation.value == change.value
                and operation.process == change.process
            ):
                continue  # set again by its owner, which changes nothing
            is_alone = operation.called_ns > over.get(key, 0)
            last[key] = operation if is_new and is_alone else None
            over[key] = max(returned, over.get(key, 0))
    problems = []
    looked_at = 0
    for key, change in last.items():
        found = evidence.since_ns.get(key)
        if change is None or found is None or change.returned_ns is None:
            continue
        looked_at += 1
        early, late = found - change.called_ns, found - change.returned_ns
        if early < -_CLOCK_NS or late > _CLOCK_NS:
            text = f"{early / 1e6:.0f} ms after it was called, {late / 1e6:.0f} ms after its return"
            problems.append(f"pair {key}, {what_it_was(change)}: since is {text}")
    return Check(checks.SINCE, shortened(problems), f"{looked_at:,} pairs", is_asked=looked_at > 0)


def errors(evidence: Evidence) -> Check:
    """Hold what calls have raised against what the faults allow."""
    allowed = [rule for fault in evidence.faults for rule in fault.errors]
    problems = [
        f"process {error['process']} thread {error['thread']}: {error['types'][0]}: "
        f"{error['message']}"
        for error in evidence.errors
        if not any(name in error["types"] and text in error["message"] for name, text in allowed)
    ]
    return Check(checks.ERRORS, shortened(problems), f"{len(evidence.errors):,} errors")


def duration(evidence: Evidence) -> Check:
    """Look whether a call took longer than it may."""
    limit = 2 * evidence.record["setting"]["timeout"] + _BUSY_SECONDS
    stops: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for member in evidence.record["members"]:
        stops[member["number"]] += member["stops"]
    spans = [
        (op.process, op.called_ns, op.returned_ns, op.kind.name.lower())
        for op in evidence.history
        if op.returned_ns is not None and op.process < FIRST_TOOL
    ]
    spans += [
        (error["process"], error["called_ns"], error["raised_ns"], error["types"][0])
        for error in evidence.errors
    ]
    longest, problems = 0.0, []
    for process, begin, end, what in spans:
        stopped = sum(max(0, min(end, e) - max(begin, b)) for b, e in stops[process])
        seconds = (end - begin - stopped) / 1e9
        longest = max(longest, seconds)
        if seconds > limit:
            problems.append(f"process {process}: {what} after {seconds:.1f} s")
    name = checks.DURATION
    return Check(name, shortened(problems), f"longest {longest:.2f} s")


def _is_certainly_nothing(operation: Operation) -> bool:
    if not operation.is_known:
        return False
    return operation.kind in (Kind.SET_ALL, Kind.COMPARE_AND_SET) and not operation.result


def _possible_ends(writes: Sequence[Operation]) -> set[int]:
    # A write is over only if another has certainly come after it.
    last_call = max((w.called_ns for w in writes if _is_certain(w)), default=None)
    possible = {
        START if write.kind == Kind.CLEAR else write.value
        for write in writes
        if last_call is None or write.returned_ns is None or write.returned_ns >= last_call
    }
    return possible if last_call is not None else possible | {START}


def _is_certain(write: Operation) -> bool:
    if write.kind == Kind.SET_ALL:
        return write.is_known and write.result == write.span  # or it has passed some pairs by
    return write.is_known
