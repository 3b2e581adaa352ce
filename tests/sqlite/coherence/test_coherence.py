"""No read is older than a write that had returned, in any process or thread: a recorded run."""

from dataclasses import replace
from pathlib import Path

import pytest

from _traffic import Traffic, drive
from judges.falsify import falsify
from judges.history import Kind, load
from judges.linearizability import check
from judges.second_opinion import look_again
from lamson_sqlite_state import SQLiteStorage

SHORT = Traffic(operations=10_000, processes=8, threads=2, clears=40)
LONG = replace(SHORT, operations=200_000)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "traffic",
    [SHORT, pytest.param(LONG, marks=pytest.mark.long)],
    ids=lambda traffic: str(traffic.operations),
)
def test_operations_of_8_processes_with_2_threads_are_linearizable(
    traffic: Traffic, tmp_path: Path
) -> None:
    # Whether a write waits for the disk makes no difference to who sees it, only to how long
    # it takes: at FULL, the same run takes five times as long.
    with SQLiteStorage(tmp_path / "states", synchronous="NORMAL") as store:
        sources = drive(store, traffic, tmp_path)
    assert [source.problem for source in sources] == [None] * traffic.processes

    history = load(tmp_path)
    assert len(history) == traffic.operations
    assert sum(operation.kind == Kind.CLEAR for operation in history) == traffic.clears
    assert len({(op.process, op.thread) for op in history}) == 1 + 8 * 2
    assert all(operation.returned_ns for operation in history)
    violation = check(history)
    assert violation is None, str(violation)
    findings = look_again(history)
    assert findings == [], str(findings[0])

    falsified, false = falsify(history, "stale read", traffic.seed)
    violation = check(falsified)
    assert violation is not None
    assert violation.operation == false
    assert look_again(falsified)
