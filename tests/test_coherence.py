"""No read is older than a write that had returned, in any process or thread: a recorded run."""

from pathlib import Path

import pytest

from _traffic import Traffic, drive
from judges.falsify import falsify
from judges.history import Kind, load
from judges.linearizability import check
from judges.second_opinion import look_again
from lamson_sqlite_state import SQLiteStorage

TRAFFIC = Traffic(operations=200_000, processes=8, threads=2, clears=40)


@pytest.mark.timeout(240)
def test_200_000_operations_of_8_processes_with_2_threads_are_linearizable(tmp_path: Path) -> None:
    # Whether a write waits for the disk makes no difference to who sees it, only to how long
    # it takes: at FULL, the same run takes five times as long.
    with SQLiteStorage(tmp_path / "states", synchronous="NORMAL") as store:
        sources = drive(store, TRAFFIC, tmp_path)
    assert [source.problem for source in sources] == [None] * TRAFFIC.processes

    history = load(tmp_path)
    assert len(history) == TRAFFIC.operations
    assert sum(operation.kind == Kind.CLEAR for operation in history) == TRAFFIC.clears
    assert len({(op.process, op.thread) for op in history}) == 1 + 8 * 2
    assert all(operation.returned_ns for operation in history)
    violation = check(history)
    assert violation is None, str(violation)
    findings = look_again(history)
    assert findings == [], str(findings[0])

    falsified, false = falsify(history, "stale read", TRAFFIC.seed)
    violation = check(falsified)
    assert violation is not None
    assert violation.operation == false
    assert look_again(falsified)
