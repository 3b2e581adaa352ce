"""The verdict on a round: independent looks at what it left in its directory.

Each check stands for itself. The linearizability of the history is judged twice, by methods that
share nothing; what was acknowledged is looked up a third time, without either; and what the
file, the processes and the clock say does not depend on the history at all.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _caller import Pairs
from _history import START, Kind, Operation, load, state_of
from _linearizability import check
from _second_opinion import look_again
from _violation import what_it_was
from faults import FAULTS, Fault

from . import checks
from .allowances import excused
from .checks import Check, shortened
from .log import events_in
from .setting import AUDITOR, FIRST_TOOL

__all__ = ["LEAST_SHARE", "Evidence", "evidence_in", "judged", "shares"]

# How unequal the workers' shares may be in a calm round of some seconds.
LEAST_SHARE: Final = 0.5

# A call waits for its timeout, a first `get` twice; the rest is for a machine that is busy.
_BUSY_SECONDS: Final = 3.0

# SQLite makes a checkpoint at 1,000 pages, and a frame is a page of 4,096 bytes with a header of
# 24 (https://www.sqlite.org/wal.html). Until a reader has ended who still needs the log, it grows.
_WAL_LIMIT_BYTES: Final = 2_000 * (4_096 + 24)

# A row takes some 100 bytes, in pages that are half full at the worst; VACUUM is nobody's duty.
_ROW_BYTES: Final = 300
_EMPTY_BYTES: Final = 1 << 16

# How many timeouts somebody must have kept the writers waiting for the readers to be looked at;
# the end of a round cuts it short.
_LONG_STOP: Final = 1.2

# How long before the end a worker must have been forked to be asked what it has done.
_ACTIVE_NS: Final = 1_000_000_000

# How long after its fork a worker may not have begun to read.
_LATE_NS: Final = 500_000_000


@dataclass(frozen=True)
class Evidence:
    """What a round left.

    Args:
        record: what the process that ran it wrote down at the end.
        faults: that struck.
        history: all recorded calls, by the time of the call.
        errors: all that calls raised.
        events: all that struck.
    """

    record: Mapping[str, Any]
    faults: Sequence[Fault]
    history: Sequence[Operation]
    errors: Sequence[Mapping[str, Any]]
    events: Sequence[dict[str, Any]]

    @property
    def pairs(self) -> Pairs:
        """Which pairs there were."""
        return Pairs(**self.record["setting"]["pairs"])


def evidence_in(directory: Path) -> Evidence:
    """Read what a round left in its directory."""
    record = json.loads((directory / "round.json").read_text())
    return Evidence(
        record,
        [FAULTS[name] for name in record["faults"]],
        load(directory),
        sorted(_errors_in(directory), key=lambda error: error["raised_ns"]),
        events_in(directory),
    )


def judged(evidence: Evidence) -> list[Check]:
    """Return all checks of a round, those of its end among them."""
    history = excused(evidence.history, evidence.events, evidence.pairs.count)
    return [
        _linearizable(history),
        _second_opinion(history),
        _acknowledged(evidence),
        _errors(evidence),
        _waiting(evidence),
        _held(evidence),
        _fairness(evidence),
        _sizes(evidence),
        _something_happened(evidence),
        *(
            Check(name, shortened(problems))
            for name, problems in evidence.record["findings"].items()
        ),
    ]


def _errors_in(directory: Path) -> Iterator[dict[str, Any]]:
    for path in directory.glob("*.errors"):
        process, thread, _ = path.name.split(".")
        for line in path.read_text().splitlines():
            yield json.loads(line) | {"process": int(process), "thread": int(thread)}


def _linearizable(history: Sequence[Operation]) -> Check:
    violation = check(history)
    return Check(
        checks.LINEARIZABLE,
        () if violation is None else (str(violation),),
        f"{len(history):,} calls",
    )


def _second_opinion(history: Sequence[Operation]) -> Check:
    findings = [str(finding) for finding in look_again(history)]
    return Check(checks.SECOND, shortened(findings))


def _acknowledged(evidence: Evidence) -> Check:
    """Look up the last write of each pair that only one thread writes to.

    Not judged here but by the others is in what order a `clear` or a mishap came: where one may
    have been last, its state will do as well.
    """
    pairs = evidence.pairs
    first_own = pairs.first_of(0)
    writes: dict[int, list[Operation]] = defaultdict(list)
    found: dict[int, int] = {}
    for operation in evidence.history:
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
            problems.append(f"{module}, {sender}: acknowledged {expected}, found {there}")
    return Check(checks.ACKNOWLEDGED, shortened(problems), f"{len(writes):,} pairs")


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


def _errors(evidence: Evidence) -> Check:
    allowed = [rule for fault in evidence.faults for rule in fault.errors]
    problems = [
        f"process {error['process']} thread {error['thread']}: {error['types'][0]}: "
        f"{error['message']}"
        for error in evidence.errors
        if not any(name in error["types"] and text in error["message"] for name, text in allowed)
    ]
    return Check(checks.ERRORS, shortened(problems), f"{len(evidence.errors):,} errors")


def _waiting(evidence: Evidence) -> Check:
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


def _held(evidence: Evidence) -> Check:
    timeout = evidence.record["setting"]["timeout"]
    until_ns = evidence.record["setting"]["until"] * 1e9
    first_calls: dict[int, int] = {}  # of what writes a value
    for op in evidence.history:
        if op.kind != Kind.GET:
            first_calls.setdefault(op.value, op.called_ns)
    problems, times = [], 0
    for event in evidence.events:
        begin_ns, end_ns = event["begin_ns"], event["end_ns"]
        is_whole = end_ns < until_ns and end_ns - begin_ns > _LONG_STOP * timeout * 1e9
        if not event.get("writers_wait") or not is_whole:
            continue
        times += 1
        meanwhile = f"{(end_ns - begin_ns) / 1e9:.2f} s of: {event['what']}"
        if not any(
            "LockTimeout" in error["types"] and begin_ns < error["raised_ns"] < end_ns
            for error in evidence.errors
        ):
            problems.append(f"nobody who wanted to write gave up in {meanwhile}")
        inside = [
            op
            for op in evidence.history
            if begin_ns < op.called_ns < (op.returned_ns or end_ns) < end_ns
            and op.process not in (event.get("number"), AUDITOR)
        ]
        problems += [
            f"process {op.process} thread {op.thread}: {what_it_was(op)} in {meanwhile}"
            for op in inside
            if _is_new_write(op, first_calls)
        ]
        readers = {op.process for op in inside if op.kind == Kind.GET}
        problems += [
            f"worker {member['number']} could not read once in {meanwhile}"
            for member in evidence.record["members"]
            if member["role"] == "worker"
            and member["number"] not in {event.get("number"), *readers}
            and member["started_ns"] < begin_ns - _LATE_NS
            and end_ns < member["ended_ns"]
        ]
    return Check(checks.HELD, shortened(problems), f"{times} times" * bool(times))


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


def _fairness(evidence: Evidence) -> Check:
    name = checks.SHARES
    if not all(fault.is_even for fault in evidence.faults):
        return Check(name, (), "not asked for in this round")
    found = shares(evidence)
    least = min(found.values(), default=0.0)
    problems = (
        [f"the slowest worker wrote {least:.2f} of the mean (limit {LEAST_SHARE})"]
        if least < LEAST_SHARE
        else []
    )
    return Check(name, tuple(problems), f"slowest {least:.2f} of the mean")


def _sizes(evidence: Evidence) -> Check:
    largest = evidence.record["largest"]
    wal, database = largest.get("-wal", 0), largest.get("", 0)
    limit = _EMPTY_BYTES + evidence.pairs.count * _ROW_BYTES
    problems = []
    if wal > _WAL_LIMIT_BYTES:
        problems.append(f"the log grew to {wal:,} bytes (limit {_WAL_LIMIT_BYTES:,})")
    if database > limit:
        problems.append(f"the database grew to {database:,} bytes (limit {limit:,})")
    return Check(
        checks.SIZES,
        tuple(problems),
        f"log {wal / 1e6:.1f} MB, database {database / 1e3:.0f} kB",
    )


def _something_happened(evidence: Evidence) -> Check:
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
    active = {operation.process for operation in evidence.history}
    problems += [
        f"worker {member['number']} has called nothing"
        for member in evidence.record["members"]
        if member["role"] == "worker"
        and member["number"] not in active
        and member["exit_code"] == 0
        and member["started_ns"] < evidence.record["ended_ns"] - _ACTIVE_NS
    ]
    return Check(checks.ACTIVE, shortened(problems))
