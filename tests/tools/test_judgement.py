"""What is made of a round's records: nothing excused that is not allowed, nothing overlooked."""

from collections.abc import Sequence
from typing import Any

import pytest

from faults import FAULTS, Fault
from judges.history import DOUBTFUL, START, Kind, Operation
from soaking import checks
from soaking.allowances import UNSEEN_NS, excused
from soaking.sabotages import POWER_CUT, SABOTAGES
from tests.tools.made_evidence import MS, OWN, PAIRS, SECOND, evidence, member, op, problems, value
from workers.setting import AUDITOR, FIRST_MISHAP, FIRST_TOOL


class TestExcused:
    """Each call is at 1,000 ms or so; the tool or the mishap somewhat earlier."""

    def is_excused(
        self, call: Operation, *others: Operation, events: Sequence[dict[str, Any]] = ()
    ) -> bool:
        history = sorted([*others, call], key=lambda op: op.called_ns)
        place = history.index(call)
        return excused(history, events, PAIRS.count)[place].result == DOUBTFUL

    def edit(self, key: int = 0) -> Operation:
        return op(1_000, 2_000, Kind.SET, key=key, value=value(1, FIRST_TOOL), process=FIRST_TOOL)

    def loss(self) -> Operation:
        return op(1_000, 2_000, Kind.CLEAR, span=PAIRS.count, process=FIRST_MISHAP)

    def test_a_read_soon_after_an_edit_is(self) -> None:
        last = 2_000 + UNSEEN_NS
        assert self.is_excused(op(last, last + 5, Kind.GET), self.edit())
        assert not self.is_excused(op(last + 1, last + 5, Kind.GET), self.edit())

    def test_a_read_of_another_pair_or_before_it_is_not(self) -> None:
        assert not self.is_excused(op(2_500, 2_600, Kind.GET, key=1), self.edit())
        assert not self.is_excused(op(900, 950, Kind.GET), self.edit())

    def test_a_new_state_after_an_edit_is_not(self) -> None:
        assert not self.is_excused(op(2_500, 2_600, Kind.SET, value=value(7)), self.edit())

    def test_a_state_set_again_after_an_edit_is(self) -> None:
        first = op(100, 200, Kind.SET, value=value(7), process=2)
        again = op(2_500, 2_600, Kind.SET, value=value(7))
        assert self.is_excused(again, self.edit(), first)

    def test_what_is_under_way_when_the_database_is_lost_is(self) -> None:
        for kind in (Kind.SET, Kind.CLEAR, Kind.SET_ALL, Kind.COMPARE_AND_SET):
            assert self.is_excused(op(500, 1_500, kind, value=value(7)), self.loss())
            assert self.is_excused(op(1_999, 9_000, kind, value=value(7)), self.loss())
            assert not self.is_excused(op(2_001, 9_000, kind, value=value(7)), self.loss())
            assert not self.is_excused(op(500, 999, kind, value=value(7)), self.loss())

    def test_a_mishap_without_loss_excuses_reads_alone(self) -> None:
        event = {"is_mishap": True, "begin_ns": 1_000, "end_ns": 2_000}
        assert self.is_excused(op(2_100, 2_200, Kind.GET), events=[event])
        assert not self.is_excused(op(500, 1_500, Kind.SET, value=value(7)), events=[event])

    def test_nothing_is_where_nothing_struck(self) -> None:
        assert not self.is_excused(op(2_100, 2_200, Kind.GET))


class TestAcknowledged:
    def check(self, *history: Operation, found: int, key: int = OWN) -> tuple[str, ...]:
        seen = op(8_000, 8_001, Kind.GET, key=key, result=found, process=AUDITOR)
        return problems(checks.ACKNOWLEDGED, evidence([*history, seen]))

    def test_the_last_state_is_demanded(self) -> None:
        history = [op(number, number, Kind.SET, key=OWN, value=value(number)) for number in (1, 2)]
        assert self.check(*history, found=value(2)) == ()
        (text,) = self.check(*history, found=value(1))
        assert "acknowledged S1.0.2, found S1.0.1" in text
        assert self.check(*history, found=START) != ()

    def test_of_a_call_that_never_returned_both_will_do(self) -> None:
        first = op(1, 2, Kind.SET, key=OWN, value=value(1))
        dying = op(3, None, Kind.SET, key=OWN, value=value(2))
        for found in (value(1), value(2)):
            assert self.check(first, dying, found=found) == ()
        assert self.check(first, dying, found=START) != ()
        assert self.check(dying, found=START) == ()

    def test_a_clear_that_came_last_is_demanded_too(self) -> None:
        first = op(1, 2, Kind.SET, key=OWN, value=value(1))
        clear = op(3, 4, Kind.CLEAR, span=PAIRS.count, process=2)
        assert self.check(first, clear, found=START) == ()
        assert self.check(first, clear, found=value(1)) != ()

    def test_of_a_clear_at_the_same_time_both_will_do(self) -> None:
        first = op(1, 3, Kind.SET, key=OWN, value=value(1))
        clear = op(2, 4, Kind.CLEAR, span=PAIRS.count, process=2)
        for found in (START, value(1)):
            assert self.check(first, clear, found=found) == ()

    def test_a_set_all_that_found_some_pairs_may_have_passed_this_by(self) -> None:
        first = op(1, 2, Kind.SET, key=OWN, value=value(1))
        some = op(3, 4, Kind.SET_ALL, key=OWN, span=2, value=value(2), result=1)
        for found in (value(1), value(2)):
            assert self.check(first, some, found=found) == ()
        assert self.check(first, some._replace(result=2), found=value(1)) != ()
        assert self.check(first, some._replace(result=0), found=value(2)) != ()

    def test_shared_pairs_are_left_to_the_other_judges(self) -> None:
        assert self.check(op(1, 2, Kind.SET, value=value(1)), found=START, key=0) == ()


class TestSince:
    CHANGE = op(SECOND, 2 * SECOND, Kind.SET, key=OWN, value=value(1))

    def check(self, *history: Operation, since: int) -> tuple[str, ...]:
        return problems(checks.SINCE, evidence([self.CHANGE, *history], since_ns={OWN: since}))

    def test_is_that_of_the_call_that_brought_the_state(self) -> None:
        assert self.check(since=1_500 * MS) == ()
        assert "1000 ms after its return" in self.check(since=3 * SECOND)[0]
        assert "-1000 ms after it was called" in self.check(since=0)[0]

    def test_is_not_that_of_setting_the_state_again(self) -> None:
        again = op(3 * SECOND, 4 * SECOND, Kind.SET, key=OWN, value=value(1))
        assert self.check(again, since=1_500 * MS) == ()
        assert self.check(again, since=3_500 * MS) != ()

    def test_is_not_asked_where_another_call_may_have_come_between(self) -> None:
        clear = op(1_900 * MS, 5 * SECOND, Kind.CLEAR, span=PAIRS.count, process=2)
        assert self.check(clear, since=3 * SECOND) == ()


class TestErrors:
    def error(self, kind: str, message: str, **more: Any) -> dict[str, Any]:
        types = [kind, "StorageError", "Exception", "object"]
        times = {"called_ns": SECOND, "raised_ns": 2 * SECOND}
        return {"process": 1, "thread": 0, "types": types, "message": message, **times, **more}

    def test_only_what_the_faults_allow(self) -> None:
        full = self.error("StorageError", "the disk is full, nothing was written")
        assert problems(checks.ERRORS, evidence(faults=["full-disk"], errors=[full])) == ()
        assert problems(checks.ERRORS, evidence(faults=["kill"], errors=[full])) != ()
        assert problems(checks.ERRORS, evidence(faults=["kill", "full-disk"], errors=[full])) == ()

    def test_an_allowed_kind_with_another_message_is_not(self) -> None:
        other = self.error("LockTimeout", "the moon is full")
        assert problems(checks.ERRORS, evidence(faults=["held-lock"], errors=[other])) != ()

    def test_a_call_that_raised_long_after_its_timeout(self) -> None:
        late = self.error("LockTimeout", "another process holds", raised_ns=8 * SECOND)
        assert problems(checks.DURATION, evidence(errors=[late])) != ()

    def test_a_call_that_returned_late_because_it_was_stopped(self) -> None:
        slow = op(0, 7 * SECOND, Kind.SET, value=value(1))
        stopped = member(1, stops=[(SECOND, 6 * SECOND)])
        assert problems(checks.DURATION, evidence([slow], members=[member(1)])) != ()
        assert problems(checks.DURATION, evidence([slow], members=[stopped])) == ()


class TestSabotages:
    def test_each_is_shown_by_faults_and_checks_that_there_are(self) -> None:
        for sabotage in SABOTAGES.values():
            assert set(sabotage.faults) <= {*FAULTS, POWER_CUT}
            assert set(sabotage.caught_by) <= set(checks.MEANINGS)

    def test_no_check_goes_without_one(self) -> None:
        """But for those that look at the run itself, and the second judge beside the first."""
        caught = {check for sabotage in SABOTAGES.values() for check in sabotage.caught_by}
        untried = set(checks.MEANINGS) - caught
        assert untried == {checks.SECOND, checks.ACTIVE, checks.BESIDE}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_says_what_it_is(name: str) -> None:
    fault = FAULTS[name]
    assert fault.name == name
    assert fault.about
    assert fault.allows
    if fault.errors or fault.exit_codes:
        assert fault.allows != Fault.allows
