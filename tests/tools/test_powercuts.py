"""Power cuts at every system call: nothing is lost, and the tool would notice if it were."""

import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

import pytest

from powercuts import survey as surveying
from powercuts.histories import Call, replay
from powercuts.real import RealCuts, cut_for_real
from powercuts.strace_log import UnknownCall
from powercuts.survey import SurveyedWorkload, Synchronous, survey
from powercuts.verdicts import Finding, Progress, loss
from powercuts.workloads import WORKLOADS, histories_of

SCRIPT = pathlib.Path(__file__).parent.parent.parent / "stress" / "powercut.py"

# Recording alone takes some seconds, and many times as long where others are at work.
pytestmark = pytest.mark.timeout(150)


def surveyed(
    seconds: float,
    workloads: Sequence[str],
    level: Synchronous,
    sabotage: str | None = None,
    keep: str | None = None,
) -> Sequence[SurveyedWorkload]:
    found = survey(
        1, seconds, workloads=workloads, levels=[level], sabotage=sabotage, keep=keep
    ).workloads
    for each in found:
        if each.skipped:
            pytest.skip(each.skipped)
    return found


@pytest.mark.parametrize("level", ["FULL", "NORMAL"])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_power_cut_loses_what_was_promised(workload: str, level: Synchronous) -> None:
    (found,) = surveyed(4, [workload], level)
    assert not found.losses, "\n".join(found.losses)
    assert found.cut_points
    assert found.directories
    assert found.acknowledgements == sum(
        len(history.calls) for history in histories_of(WORKLOADS[workload], 1)
    )


@pytest.mark.parametrize(
    ("sabotage", "level"),
    [("synchronous-off", "FULL"), ("no-directory-syncs", "FULL"), ("normal-as-full", "NORMAL")],
)
@pytest.mark.parametrize("workload", ["first use", "processes"])
def test_a_loss_is_reported_where_durability_is_turned_down(
    workload: str, sabotage: str, level: Synchronous, tmp_path: pathlib.Path
) -> None:
    keep = tmp_path / "kept"
    (found,) = surveyed(6, [workload], level, sabotage, str(keep))
    assert "calls acknowledged" in found.losses[0]
    assert keep.is_dir()


def test_what_the_model_does_not_know_fails_the_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    surveyed(0, ["first use"], "FULL")  # skips where nothing can be recorded

    def unknown(*_arguments: object) -> None:
        raise UnknownCall("line 1: link")

    monkeypatch.setattr(surveying, "record", unknown)
    (found,) = surveyed(1, ["first use"], "FULL")
    assert found.losses == ("it could not be recorded: line 1: link",)


def test_a_workload_that_fails_fails_the_survey(monkeypatch: pytest.MonkeyPatch) -> None:
    surveyed(0, ["first use"], "FULL")
    monkeypatch.setitem(WORKLOADS, "unheard of", WORKLOADS["first use"])
    (found,) = surveyed(1, ["unheard of"], "FULL")
    assert "KeyError: 'unheard of'" in found.losses[0]


@pytest.mark.parametrize("moments", [1, 7, 8, 100, 11_639])
def test_a_short_survey_spreads_its_cut_points_over_the_recording(moments: int) -> None:
    chosen = list(surveying.passes(moments))
    assert sorted(itertools.chain.from_iterable(chosen)) == list(range(moments))
    for early in (1, 2, 4):
        points = sorted(itertools.chain.from_iterable(chosen[:early]))
        gaps = [later - sooner for sooner, later in itertools.pairwise([0, *points, moments])]
        assert max(gaps) <= max(moments / 4 / early, 1)


# The judge.

HISTORY = replay([Call("set", ("m", "0.a", "A")), Call("set", ("m", "0.a", "B"))])
OTHER = replay([Call("set", ("m", "1.a", "A"))])


def progress(*marks: str) -> Progress:
    told = Progress.of([HISTORY, OTHER])
    for mark in marks:
        told.hear(mark, [HISTORY, OTHER])
    return told


def judged(states: dict[tuple[str, str], str], rule: Synchronous, *marks: str) -> str:
    return loss(Finding(states, None), [HISTORY, OTHER], progress(*marks), rule) or "ok"


def test_full_asks_for_what_was_acknowledged_and_normal_for_any_prefix() -> None:
    marks = "called 0 0", "acked 0 0", "called 0 1", "acked 0 1"
    assert judged({("m", "0.a"): "B"}, "FULL", *marks) == "ok"
    assert "there is what there was after call 1" in judged({("m", "0.a"): "A"}, "FULL", *marks)
    assert judged({("m", "0.a"): "A"}, "NORMAL", *marks) == "ok"
    assert judged({}, "NORMAL", *marks) == "ok"
    assert "was never there" in judged({("m", "0.a"): "C"}, "NORMAL", *marks)
    assert "('m', '0.a') is in 'C', not 'A'" in judged({("m", "0.a"): "C"}, "FULL", *marks[:2])


def test_what_was_only_called_may_be_there_and_what_was_not_may_not() -> None:
    marks = "called 0 0", "acked 0 0", "called 0 1"
    assert judged({("m", "0.a"): "A"}, "FULL", *marks) == "ok"
    assert judged({("m", "0.a"): "B"}, "FULL", *marks) == "ok"
    assert "was never there" in judged({("m", "0.a"): "B"}, "NORMAL", *marks[:2])


def test_no_call_is_there_without_those_that_had_returned_before_it() -> None:
    after = "called 0 0", "acked 0 0", "called 1 0"
    assert judged({("m", "1.a"): "A"}, "NORMAL", *after) == (
        "call 1 of process 1 is there, but not call 1 of process 0, which had returned before"
    )
    meanwhile = "called 0 0", "called 1 0", "acked 0 0"
    assert judged({("m", "1.a"): "A"}, "NORMAL", *meanwhile) == "ok"


def test_after_a_mishap_durability_is_asked_again_once_a_call_has_returned() -> None:
    history = replay(
        [Call("set", ("m", "0.a", "A")), Call("delete -wal"), Call("set", ("m", "0.b", "B"))]
    )
    told = Progress.of([history])
    nothing = Finding({}, None)

    def verdict(*marks: str) -> bool:
        for mark in marks:
            told.hear(mark, [history])
        return loss(nothing, [history], told, "FULL") is None

    assert not verdict("called 0 0", "acked 0 0")
    assert verdict("called 0 1", "acked 0 1", "called 0 2")
    assert not verdict("acked 0 2")


def test_a_backup_with_the_log_of_another_may_be_damaged_until_the_next_call() -> None:
    history = replay([Call("set", ("m", "0.a", "A")), Call("restore"), Call("get", ("m", "0.a"))])
    told = Progress.of([history])
    damaged, failing = Finding({}, "malformed", is_damaged=True), Finding({}, "ValueError: 7")
    excused: list[bool] = []
    for mark in ("acked 0 0", "called 0 1", "acked 0 1", "called 0 2", "acked 0 2"):
        told.hear(mark, [history])
        excused.append(loss(damaged, [history], told, "FULL") is None)
        assert loss(failing, [history], told, "FULL")
    assert excused == [False, True, True, True, False]


def test_a_replayed_history_is_what_the_calls_make() -> None:
    history = replay(
        [
            Call("get", ("m", "0.a")),
            Call("set_all", ("0.a", "A")),
            Call("compare_and_set", ("m", "0.a", "START", "B")),
            Call("compare_and_set", ("m", "0.a", "A", "C")),
            Call("back up"),
            Call("clear"),
            Call("restore"),
        ]
    )
    states = [snapshot.get(("m", "0.a")) for snapshot in history.snapshots]
    assert states == [None, None, "A", "A", "C", "C", None, "C"]


# Real cuts.


def cut(rounds: int, level: Synchronous, sabotage: str | None = None) -> RealCuts:
    found = cut_for_real(1, 30, rounds=rounds, levels=[level], sabotage=sabotage)
    if found.skipped:
        pytest.skip(found.skipped)
    assert len(found.cuts) == rounds
    assert json.dumps(asdict(found))
    return found


@pytest.mark.parametrize("level", ["FULL", "NORMAL"])
def test_a_real_file_system_that_is_cut_off_has_what_was_promised(level: Synchronous) -> None:
    found = cut(2, level)
    assert not found.losses, "\n".join(found.losses)
    assert all(each.acknowledgements for each in found.cuts)


def test_a_real_cut_shows_a_loss_where_nothing_is_synced() -> None:
    found = cut(2, "FULL", "synchronous-off")
    assert "calls acknowledged" in found.losses[0]


# The command.


def powercut(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), "--seed=1", "--no-real", "--workload=first use"]
    ended = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, timeout=100
    )
    if "nothing could be cut" in ended.stdout:
        pytest.skip(ended.stdout.partition("not judged: ")[2].partition("│")[0] or ended.stdout)
    return ended


@pytest.fixture
def report(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "report.json")


def test_the_command_ends_well_and_reports(report: str) -> None:
    ended = powercut("--seconds=4", f"--json={report}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "No power cut lost anything" in ended.stdout
    model = json.loads(pathlib.Path(report).read_text())["model"]
    assert [each["synchronous"] for each in model["workloads"]] == ["FULL", "NORMAL"]
    assert all(each["directories"] and not each["losses"] for each in model["workloads"])


def test_the_command_fails_where_something_is_lost(tmp_path: pathlib.Path) -> None:
    keep = tmp_path / "kept"
    ended = powercut(
        "--seconds=4", "--synchronous=FULL", "--sabotage=synchronous-off", f"--keep={keep}"
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "FAILED" in ended.stdout
    assert "calls acknowledged" in ended.stdout
    assert keep.is_dir()
    assert powercut(f"--keep={keep}").returncode == 2
