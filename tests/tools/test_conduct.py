"""Checks of how all got along, and of how much there was to look at."""

from collections.abc import Sequence
from typing import Any

import pytest

from judges.history import Kind, Operation
from soaking import checks
from soaking.statistics import numbers_of
from tests.tools.made_evidence import (
    MS,
    PAIRS,
    SECOND,
    check,
    evidence,
    member,
    op,
    problems,
    value,
)
from workers.setting import AUDITOR, FIRST_MISHAP


class TestHeldLock:
    def check(self, *history: Operation, is_told: bool = True) -> tuple[str, ...]:
        event = {
            "fault": "held-lock",
            "what": "lock held",
            "writers_wait": True,
            "begin_ns": 2 * SECOND,
            "end_ns": 4 * SECOND,
        }
        what: dict[str, Any] = {"types": ["LockTimeout"], "message": "another process holds"}
        times = {"called_ns": 2 * SECOND, "raised_ns": 3 * SECOND}
        return problems(
            checks.HELD,
            evidence(
                [op(2_500 * MS, 2_501 * MS, Kind.GET, process=1), *history],
                faults=["held-lock"],
                events=[event],
                errors=[{"process": 1, "thread": 0, **what, **times}] * is_told,
                members=[member(1)],
            ),
        )

    def test_reading_and_giving_up_are_as_they_should_be(self) -> None:
        assert self.check() == ()

    def test_a_write_meanwhile_is_not(self) -> None:
        write = op(3_000 * MS, 3_001 * MS, Kind.SET, value=value(1))
        (text,) = self.check(write)
        assert "process 1 thread 0: set S1.0.1 in 2.00 s of: lock held" in text

    def test_a_set_that_changes_nothing_is(self) -> None:
        first = op(SECOND, SECOND + 1, Kind.SET, value=value(1))
        again = op(3_000 * MS, 3_001 * MS, Kind.SET, value=value(1))
        assert self.check(first, again) == ()

    def test_nobody_who_gives_up_or_reads_is_not(self) -> None:
        assert "gave up" in self.check(is_told=False)[0]
        event = {"fault": "stop", "what": "stopped", "writers_wait": True}
        times = {"begin_ns": 0, "end_ns": 4 * SECOND}
        found = evidence(events=[event | times], members=[member(1, started_ns=-SECOND)])
        assert any("worker 1 could not read" in text for text in problems(checks.HELD, found))


class TestWhatElse:
    def test_unequal_shares(self) -> None:
        history = [
            op(number, number, Kind.SET, value=value(number, process), process=process)
            for process, count in ((1, 190), (2, 200), (3, 10))
            for number in range(1, count)
        ]
        found = evidence(history, members=[member(1), member(2), member(3)])
        assert "the slowest worker wrote" in problems(checks.SHARES, found)[0]
        equal = evidence(history, members=[member(1), member(2)])
        assert problems(checks.SHARES, equal) == ()

    def test_files_that_grow(self) -> None:
        assert problems(checks.SIZES, evidence(largest={"-wal": 4_200_000, "": 20_000})) == ()
        assert problems(checks.SIZES, evidence(largest={"-wal": 9_000_000})) != ()
        assert problems(checks.SIZES, evidence(largest={"": 9_000_000})) != ()

    def test_a_fault_that_never_struck_and_a_worker_that_never_worked(self) -> None:
        texts = problems(checks.ACTIVE, evidence(faults=["kill"], members=[member(1)]))
        assert texts == ("kill has not struck once", "worker 1 has called nothing")

    def test_a_worker_that_came_last_need_not_have_worked(self) -> None:
        late = member(1, started_ns=int(8.5 * SECOND))
        assert problems(checks.ACTIVE, evidence(members=[late])) == ()


class TestHowMuchWasLookedAt:
    def test_calls_are_counted_as_in_the_numbers_of_the_round(self) -> None:
        found = evidence(
            [
                op(1, 2, Kind.GET),
                op(3, None, Kind.SET, value=value(1)),
                op(5, 6, Kind.CLEAR, span=PAIRS.count, process=FIRST_MISHAP),
                op(7, 8, Kind.GET, process=AUDITOR),
            ]
        )
        numbers = numbers_of(found)
        assert (sum(numbers["calls"].values()), numbers["unknown"]) == (2, 1)
        assert check(checks.LINEARIZABLE, found).looked_at == "2 calls"

    @pytest.mark.parametrize(
        ("name", "faults"),
        [
            (checks.HELD, ["stop"]),
            (checks.SHARES, ["kill"]),
            (checks.SHARES, ["calm"]),  # with too few writes
            (checks.SINCE, ["clock"]),
            (checks.SINCE, ["calm"]),  # without a pair that changed
            (checks.ACKNOWLEDGED, ["calm"]),
        ],
    )
    def test_a_check_of_nothing_says_that_it_was_not_asked(
        self, name: str, faults: Sequence[str]
    ) -> None:
        assert not check(name, evidence(faults=faults, members=[member(1)])).is_asked
