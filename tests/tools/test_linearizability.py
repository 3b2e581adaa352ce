"""The judges of recorded histories: right on every small history, and blind to no violation."""

import os
import random
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _traffic import Traffic, drive
from judges.falsify import DAMAGES, falsify
from judges.history import (
    ABSENT,
    DOUBTFUL,
    START,
    Kind,
    Operation,
    Recorder,
    load,
    new_value,
    state_of,
    value_of,
)
from judges.linearizability import check
from judges.second_opinion import look_again
from lamson_sqlite_state import SQLiteStorage
from tests.tools.broken_storages import BROKEN
from tests.tools.histories import mutated, simulated
from tests.tools.reference_checker import is_linearizable_by_trying


def op(
    called: int,
    returned: int | None,
    kind: Kind,
    value: int = 0,
    *,
    expected: int = 0,
    result: int = 0,
    process: int = 1,
) -> Operation:
    return Operation(process, 0, kind, 0, 1, value, expected, result, called, returned)


def read(called: int, returned: int, result: int, process: int = 1) -> Operation:
    return op(called, returned, Kind.GET, result=result, process=process)


def write(called: int, returned: int | None, value: int) -> Operation:
    return op(called, returned, Kind.SET, value)


def judge(history: list[Operation], *, is_one_pair: bool) -> None:
    """Hold both judges against one that tries every order."""
    is_good = is_linearizable_by_trying(history)
    violation, findings = check(history), look_again(history)
    if is_good:
        assert violation is None, str(violation)
    elif is_one_pair:
        assert violation is not None
    if findings:
        assert violation is not None, str(findings[0])
    assert all(map(str, [violation, *findings]))  # whatever is found can be told


class TestAgainstEveryOrder:
    @settings(max_examples=2000, deadline=None)
    @given(st.integers(min_value=0), st.integers(2, 8), st.integers(1, 5), st.booleans())
    def test_simulated_histories_are_linearizable(
        self, seed: int, count: int, threads: int, has_unknown: bool
    ) -> None:
        rng = random.Random(seed)
        history = simulated(
            rng, count, keys=rng.choice([1, 2]), threads=threads, unknown=0.3 * has_unknown
        )
        assert is_linearizable_by_trying(history)
        judge(history, is_one_pair=False)

    @settings(max_examples=4000, deadline=None)
    @given(st.integers(min_value=0), st.integers(2, 8), st.integers(1, 5), st.booleans())
    def test_mutated_histories_of_one_pair_are_judged_as_by_trying(
        self, seed: int, count: int, threads: int, has_unknown: bool
    ) -> None:
        rng = random.Random(seed)
        history = simulated(rng, count, threads=threads, unknown=0.2 * has_unknown)
        judge(mutated(rng, history, rng.randint(1, 3)), is_one_pair=True)

    @settings(max_examples=1000, deadline=None)
    @given(st.integers(min_value=0), st.integers(2, 8))
    def test_no_false_alarm_on_two_pairs(self, seed: int, count: int) -> None:
        rng = random.Random(seed)
        history = simulated(rng, count, keys=2)
        judge(mutated(rng, history, rng.randint(1, 2)), is_one_pair=False)


class TestSituations:
    def test_a_read_during_a_set_may_find_either(self) -> None:
        for found in (1, 2):
            assert check([write(0, 1, 1), write(2, 9, 2), read(3, 4, found)]) is None

    def test_new_then_old_during_one_set(self) -> None:
        history = [write(0, 1, 1), write(2, 9, 2), read(3, 4, 2), read(5, 6, 1, process=2)]
        violation = check(history)
        assert violation is not None
        assert violation.operation == history[-1]
        assert [finding.what for finding in look_again(history)]

    def test_stale_read_is_told_with_who_set_what_when(self) -> None:
        old, new = new_value(3, 1, 17), new_value(5, 0, 2)
        history = [
            write(0, 1_000_000, old),
            write(2_000_000, 3_000_000, new),
            read(3_500_000, 4_000_000, old),
        ]
        text = str(check(history))
        assert text.splitlines()[0] == (
            "pair 0 is no register: get -> S3.1.17 +3.5000..4.0000 ms, although it had been "
            "S3.1.17 since +0.0000..1.0000 ms, and then came set S5.0.2 +2.0000..3.0000 ms"
        )
        assert "stale read" in str(look_again(history)[0])

    def test_read_of_what_is_set_only_later(self) -> None:
        history = [read(0, 1, 7), write(2, 3, 7)]
        assert "came only later" in str(check(history))
        assert look_again(history)

    def test_read_of_what_nobody_set(self) -> None:
        assert "nobody had ever brought to" in str(check([read(0, 1, 7)]))

    def test_clear_that_skips_a_pair(self) -> None:
        clear = op(2, 3, Kind.CLEAR)
        assert check([write(0, 1, 1), clear, read(4, 5, START)]) is None
        assert check([write(0, 1, 1), clear, read(4, 5, 1)]) is not None

    def test_two_compare_and_set_from_one_state(self) -> None:
        swaps = [op(2, 9, Kind.COMPARE_AND_SET, value, expected=1, result=1) for value in (2, 3)]
        assert check([write(0, 1, 1), swaps[0]]) is None
        assert check([write(0, 1, 1), *swaps]) is not None

    def test_compare_and_set_that_fails_on_what_is_there(self) -> None:
        failed = op(2, 3, Kind.COMPARE_AND_SET, 2, expected=1, result=0)
        assert check([write(0, 1, 1), failed]) is not None
        # A set that nobody reads is all that explains it.
        assert check([write(0, 1, 1), write(1, 9, 5), failed, write(4, 5, 6)]) is None

    def test_set_all_does_not_find_what_was_cleared(self) -> None:
        def history(found: int) -> list[Operation]:
            return [write(0, 1, 1), op(2, 3, Kind.CLEAR), op(4, 5, Kind.SET_ALL, 2, result=found)]

        assert check(history(0)) is None
        assert check(history(1)) is not None

    def test_a_set_that_nobody_reads_may_be_what_set_all_finds(self) -> None:
        unread = write(1, 10, 2)
        find = op(12, 13, Kind.SET_ALL, 3, result=1)
        assert check([write(0, 2, 1), unread, op(4, 5, Kind.CLEAR), find]) is None
        assert check([write(0, 2, 1), op(4, 5, Kind.CLEAR), find]) is not None

    def test_two_states_cannot_take_turns(self) -> None:
        sets = [write(0, 20, 1), write(1, 21, 2)]
        reads = [read(2, 3, 1), read(4, 5, 2), read(6, 7, 1)]
        assert check([*sets, *reads[:2]]) is None
        assert check([*sets, *reads]) is not None
        assert [finding.what for finding in look_again([*sets, *reads, read(8, 9, 2)])] == [
            "values that took turns"
        ]

    def test_a_state_set_again_may_come_back(self) -> None:
        history = [write(0, 1, 1), write(2, 3, 2), write(4, 5, 1), read(6, 7, 1)]
        assert check(history) is None
        assert look_again(history) == []

    def test_a_set_of_unknown_outcome_may_happen_late_or_never(self) -> None:
        start = [write(0, 1, 1), write(2, None, 2)]
        assert check([*start, read(3, 4, 1), read(5, 6, 2), read(7, 8, 2)]) is None
        assert check([*start, read(3, 4, 1), read(5, 6, 1)]) is None
        assert check([*start, read(3, 4, 2), read(5, 6, 1)]) is not None

    def test_a_doubtful_set_has_happened_by_its_return_or_never(self) -> None:
        start = [write(0, 1, 1), op(2, 5, Kind.SET, 2, result=DOUBTFUL)]
        assert check([*start, read(6, 7, 1), read(8, 9, 1)]) is None
        assert check([*start, read(6, 7, 2), read(8, 9, 2)]) is None
        assert check([*start, read(6, 7, 1), read(8, 9, 2)]) is not None

    def test_what_a_doubtful_read_has_found_does_not_count(self) -> None:
        doubtful = op(4, 5, Kind.GET, result=DOUBTFUL)
        assert check([write(0, 1, 1), write(2, 3, 2), doubtful, read(6, 7, 2)]) is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_seeded_damage_is_found(damage: str) -> None:
    for seed in range(8):
        history = simulated(random.Random(seed), 2000, keys=2, threads=6)
        assert check(history) is None
        assert look_again(history) == []
        assert check(falsify(history, damage, seed)[0]) is not None
    if damage != "two successes":  # which the second judge sees only where they don't overlap
        assert look_again(falsify(history, damage, seed)[0])


def drive_once(store: SQLiteStorage, traffic: Traffic, directory: Path) -> list[Operation]:
    sources = drive(store, traffic, directory)
    assert [source.problem for source in sources] == [None] * traffic.processes
    return load(directory)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_storage_that_is_not_coherent_is_found_out(
    kind: type[SQLiteStorage], tmp_path: Path
) -> None:
    traffic = Traffic(operations=24_000, processes=4, senders=1, clears=20)
    for seed in range(10):  # the races of some are rare
        directory = tmp_path / str(seed)
        directory.mkdir()
        with kind(directory / "states", synchronous="NORMAL") as store:
            history = drive_once(store, Traffic(**(vars(traffic) | {"seed": seed})), directory)
        violation = check(history)
        if violation is not None:
            assert "is no register" in str(violation)
            return
    pytest.fail("nothing was found")


class TestRecords:
    def test_values_and_states(self) -> None:
        value = new_value(3, 1, 17)
        assert state_of(value) == "S3.1.17"
        assert value_of("S3.1.17") == value
        assert value_of("START") == START
        for foreign in ("", "S", "S1", "S1.2", "s1.1.1", "S01.1.1", "S1.1.1.1", "POSTING"):
            assert value_of(foreign) not in (START, ABSENT)
            assert value_of(foreign) < 0

    def test_a_killed_process_leaves_all_it_did(self, tmp_path: Path) -> None:
        pid = os.fork()
        if not pid:
            recorder = Recorder(tmp_path, 1, 2)
            for number in range(10_000):  # more than one chunk
                recorder.call(Kind.SET, number, value=number)
                recorder.returned(5)
            recorder.call(Kind.GET, 3)
            recorder.refused()
            recorder.call(Kind.COMPARE_AND_SET, 7, value=8, expected=9)
            os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        *done, last = load(tmp_path)
        assert [operation.key for operation in done] == list(range(10_000))
        assert all(operation.result == 5 and operation.returned_ns for operation in done)
        assert last[:8] == (1, 2, Kind.COMPARE_AND_SET, 7, 1, 8, 9, 0)
        assert last.returned_ns is None
