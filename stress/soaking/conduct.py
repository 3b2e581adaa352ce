"""Checks of how all got along: who waited for whom, who got how much, how large the files grew."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from judges.history import Kind, Operation
from judges.violation import what_it_was
from workers.setting import AUDITOR

from . import checks
from .checks import Check, shortened
from .evidence import Evidence

__all__ = ["LEAST_SHARE", "fairness", "held", "shares", "sizes", "something_happened"]

# How unequal the workers' shares may be in a calm round of some seconds.
LEAST_SHARE: Final = 0.5

# How many writes each worker must have made on average for their shares to mean something.
_LEAST_WRITES: Final = 100

# SQLite makes a checkpoint at 1,000 pages, and a frame is a page of 4,096 bytes with a header of
# 24 (https://www.sqlite.org/wal.html). Until a reader has ended who still needs the log, it grows.
_WAL_LIMIT_BYTES: Final = 2_000 * (4_096 + 24)

# A row takes some 100 bytes, in pages that are half full at the worst; VACUUM is nobody's duty.
_ROW_BYTES: Final = 300
_EMPTY_BYTES: Final = 1 << 16

# How many timeouts somebody must have kept the writers waiting for the readers to be looked at;
# the end of a round cuts it short.
_LONG_STOP: Final = 1.2

# How long before the end a worker must have been forked to be asked what it has done, where there
# are no more of them than this.
_ACTIVE_NS: Final = 1_000_000_000
_FEW_WORKERS: Final = 8

# How long after its fork a worker may not have begun to read.
_LATE_NS: Final = 500_000_000


def held(evidence: Evidence) -> Check:
    """Look what was done while somebody held the write lock."""
    least_ns = _LONG_STOP * evidence.record["setting"]["timeout"] * 1e9
    waits = [
        event
        for event in evidence.events
        if event.get("writers_wait")
        and event["end_ns"] < evidence.record["until_ns"]
        and event["end_ns"] - event["begin_ns"] > least_ns
    ]
    if not waits:
        return Check(checks.HELD, (), "nobody held the write lock for long", is_asked=False)
    problems = [problem for event in waits for problem in _problems_of_a_wait(evidence, event)]
    return Check(checks.HELD, shortened(problems), f"{len(waits)} times")


def _problems_of_a_wait(evidence: Evidence, event: Mapping[str, Any]) -> Iterator[str]:
    begin_ns, end_ns = event["begin_ns"], event["end_ns"]
    meanwhile = f"{(end_ns - begin_ns) / 1e9:.2f} s of: {event['what']}"
    if not any(
        "LockTimeout" in error["types"] and begin_ns < error["raised_ns"] < end_ns
        for error in evidence.errors
    ):
        yield f"nobody who wanted to write gave up in {meanwhile}"
    inside = [
        op
        for op in evidence.history
        if begin_ns < op.called_ns < (op.returned_ns or end_ns) < end_ns
        and op.process not in (event.get("number"), AUDITOR)
    ]
    for op in inside:
        if _is_new_write(op, evidence.first_calls):
            yield f"process {op.process} thread {op.thread}: {what_it_was(op)} in {meanwhile}"
    readers = {op.process for op in inside if op.kind == Kind.GET}
    for member in evidence.record["members"]:
        if (
            member["role"] == "worker"
            and member["number"] not in {event.get("number"), *readers}
            and member["started_ns"] < begin_ns - _LATE_NS
            and end_ns < member["ended_ns"]
        ):
            yield f"worker {member['number']} could not read once in {meanwhile}"


def shares(evidence: Evidence) -> dict[int, float]:
    """Return each worker's calls, those that lived through the whole round, to their mean."""
    whole = {
        member["number"]
        for member in evidence.record["members"]
        if member["role"] == "worker" and member["number"] <= evidence.record["workers"]
    }
    counts = dict.fromkeys(whole, 0)
    for operation in evidence.history:
        if operation.process in counts and operation.kind != Kind.GET:
            counts[operation.process] += 1
    mean = sum(counts.values()) / max(len(counts), 1)
    return {number: count / mean if mean else 0.0 for number, count in counts.items()}


def fairness(evidence: Evidence) -> Check:
    """Compare the workers' shares, where nothing kept any of them from its own."""
    name = checks.SHARES
    if not all(fault.is_even for fault in evidence.faults):
        return Check(name, (), "some fault of this round is uneven", is_asked=False)
    found = shares(evidence)
    written = sum(op.kind != Kind.GET and op.process in found for op in evidence.history)
    if written < _LEAST_WRITES * len(found):
        return Check(name, (), f"{written} writes are too few to tell", is_asked=False)
    least = min(found.values(), default=0.0)
    problems = (
        [f"the slowest worker wrote {least:.2f} of the mean (limit {LEAST_SHARE})"]
        if least < LEAST_SHARE
        else []
    )
    return Check(name, tuple(problems), f"slowest {least:.2f} of the mean")


def sizes(evidence: Evidence) -> Check:
    """Look how far the files grew."""
    largest = evidence.record["largest"]
    wal, database = largest.get("-wal", 0), largest.get("", 0)
    limit = _EMPTY_BYTES + evidence.pairs.count * _ROW_BYTES
    problems = []
    log_limit = _WAL_LIMIT_BYTES * max(fault.log_factor for fault in evidence.faults)
    if wal > log_limit:
        problems.append(f"the log grew to {wal:,} bytes (limit {log_limit:,})")
    if database > limit:
        problems.append(f"the database grew to {database:,} bytes (limit {limit:,})")
    return Check(
        checks.SIZES,
        tuple(problems),
        f"log {wal / 1e6:.1f} MB, database {database / 1e3:.0f} kB",
    )


def something_happened(evidence: Evidence) -> Check:
    """Look whether the faults struck and the workers worked."""
    # A round in which nothing happened proves nothing.
    struck = {event["fault"] for event in evidence.events}
    problems = [
        f"{fault.name} has not struck once"
        for fault in evidence.faults
        if fault.name != "calm" and fault.name not in struck
    ]
    raised = {kind for error in evidence.errors for kind in error["types"]}
    problems += [
        f"{fault.name} has kept nobody from anything"
        for fault in evidence.faults
        if fault.errors and not any(name in raised for name, _ in fault.errors)
    ]
    crowding = max(1.0, evidence.record["workers"] / _FEW_WORKERS)
    patience_ns = _ACTIVE_NS * crowding
    active = {operation.process for operation in evidence.history}
    problems += [
        f"worker {member['number']} has called nothing"
        for member in evidence.record["members"]
        if member["role"] == "worker"
        and member["number"] not in active
        and member["exit_code"] == 0
        and member["started_ns"] < evidence.record["ended_ns"] - patience_ns
    ]
    return Check(checks.ACTIVE, shortened(problems))


def _is_new_write(operation: Operation, first_calls: Mapping[int, int]) -> bool:
    """Whether an operation has certainly changed the file."""
    match operation.kind:
        case Kind.SET:
            # Setting the state that is there already writes nothing, and needs no lock.
            return operation.called_ns == first_calls[operation.value]
        case Kind.SET_ALL | Kind.COMPARE_AND_SET:
            return bool(operation.result)
        case Kind.CLEAR:
            return True
    return False
