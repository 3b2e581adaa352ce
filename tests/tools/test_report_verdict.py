"""The report claims no more than was judged, and says what was not."""

import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from powercuts.real import RealCuts
from powercuts.survey import Survey, SurveyedWorkload
from reporting.run import Run
from soaking import checks
from soaking.campaign import Campaign
from tests.tools.read_reports import Written, headline, summary, tables_of, text_of, title
from tests.tools.synthetic_runs import CUTS, broken, campaign, complete_run, run_of

KEPT = "Every promise was kept"
NOT_ALL = "Nothing wrong was found, but not everything was judged"

# The verdict.


@pytest.mark.parametrize(
    ("is_broken", "others", "kind", "words"),
    [
        (False, {}, "good", KEPT),
        (False, {"is_interrupted": True}, "unproved", NOT_ALL),
        (False, {"sabotage": "no lock"}, "unproved", "The sabotage was not noticed"),
        (True, {}, "bad", "Promises were broken"),
        (True, {"is_interrupted": True}, "bad", "Promises were broken"),
        (True, {"sabotage": "no lock"}, "bad", "as they had to be"),
    ],
)
def test_verdict_comes_first(
    is_broken: bool,
    others: dict[str, Any],
    kind: str,
    words: str,
    written: Written,
    tmp_path: Path,
) -> None:
    run = complete_run(tmp_path, **others)
    if is_broken:
        run = replace(run, campaign=broken(tmp_path, "wrong"))
    page = written(run)
    assert words in headline(page)
    assert words in title(page)
    assert f'class="verdict {kind}"' in page
    assert page.index("<h1>") < page.index("<h2>")
    said = summary(run)
    assert words.upper() in said.upper()
    assert said.rstrip().endswith("report: report.html")
    for text in (text_of(page), said):
        assert ("Interrupted: " in text) == run.is_interrupted
        assert ("switched off on purpose" in text.lower()) == (run.sabotage is not None)
        assert (run.sabotage or "") in text
        assert ("1 check failed, in 1 of 3 rounds." in text) == is_broken


def leave_a_round_unjudged(run: Run) -> Run:
    run.campaign.rounds[2].verdict = None
    return run


def skip_a_fault(run: Run) -> Run:
    del run.campaign.rounds[-1]
    run.campaign.skipped["failing-writes"] = "strace is <missing>"
    return run


def end_before_two_faults(run: Run) -> Run:
    del run.campaign.rounds[-2:]
    return run


def ask_nobody_about_shares(run: Run) -> Run:
    calm = run.campaign.rounds[0].verdict
    assert calm is not None
    for check in calm["checks"]:
        check["is_asked"] &= check["name"] != checks.SHARES
    return run


def with_workload(**others: Any) -> Callable[[Run], Run]:
    survey = Survey(1, [SurveyedWorkload("first use", "FULL", **others)])
    return lambda run: replace(run, survey=survey)


def with_others(**others: Any) -> Callable[[Run], Run]:
    return lambda run: replace(run, **others)


@pytest.mark.parametrize(
    ("leave_out", "said"),
    [
        (leave_a_round_unjudged, "round 3 (stop): the run ended before its verdict"),
        (skip_a_fault, "failing-writes: strace is <missing>"),
        (end_before_two_faults, "failing-syncs, failing-writes: the run ended before their rounds"),
        (ask_nobody_about_shares, "whether the workers got equal shares: no round could tell"),
        (with_workload(skipped="no strace"), "power cuts of first use, FULL: no strace"),
        (with_workload(calls=9), "power cuts of first use, FULL: there was no time for it"),
        (
            with_others(cuts=RealCuts(1, 4, [], "no mkfs")),
            "power cuts of a real file system: no mkfs",
        ),
        (
            with_others(cuts=RealCuts(1, 4, CUTS.cuts[:4])),
            "power cuts of ext4, journal lost, NORMAL: there was no time for it",
        ),
        (with_others(cuts=None), "power cuts of a real file system: the run ended before them"),
        (
            with_others(survey=None, cuts=None),
            "whether no power cut loses what was acknowledged: the power was not cut",
        ),
        (
            with_others(campaign=Campaign(Path(), 1.0, 1, [])),
            "all that is asked of a round: no round was judged",
        ),
    ],
)
def test_what_was_not_judged_is_named_and_not_called_kept(
    leave_out: Callable[[Run], Run], said: str, written: Written, tmp_path: Path
) -> None:
    run = complete_run(tmp_path)
    assert KEPT in summary(run)
    assert "Not judged" not in text_of(written(run)) + summary(run)
    run = leave_out(run)
    page = written(run)
    for text in (text_of(page), title(page), summary(run)):
        assert KEPT.lower() not in text.lower()
        assert NOT_ALL.lower() in text.lower()
    assert f"{said}." in map(unescape, re.findall(r"<li>(.*?)</li>", page))
    assert f"Not judged: {said}." in summary(run)


def test_what_was_not_judged_is_named_beside_what_is_broken(
    written: Written, tmp_path: Path
) -> None:
    run = run_of(broken(tmp_path, "wrong"))
    for text in (text_of(written(run)), summary(run)):
        assert "whether no power cut loses what was acknowledged: the power was not cut." in text


def test_where_nothing_was_judged_nothing_is_called_kept(written: Written, tmp_path: Path) -> None:
    nothing = run_of(Campaign(tmp_path, 1.0, 1, ["calm"]), is_interrupted=True)
    assert "Nothing was judged" in headline(written(nothing))
    assert "Nothing was judged" in headline(written(replace(nothing, sabotage="no lock")))
    assert "NOTHING WAS JUDGED" in summary(nothing)
    cut_short = campaign(tmp_path, 3)
    for each in cut_short.rounds:
        each.verdict = None
    run = run_of(cut_short, is_interrupted=True)
    assert "Nothing was judged" in headline(written(run))
    for text in (text_of(written(run)), summary(run)):
        assert "round 2 (kill): the run ended before its verdict." in text
        assert "kept" not in text.replace("are kept under", "")


def test_a_round_that_could_not_be_run_is_a_broken_promise(
    written: Written, tmp_path: Path
) -> None:
    this = campaign(tmp_path, 2)
    this.rounds[1].verdict, this.rounds[1].problem = None, "OSError: <no space>"
    page = written(run_of(this))
    text = text_of(page)
    assert "Promises were broken" in text
    assert "OSError: <no space>" in text
    assert "the round could be run and judged" in text
    assert "No round failed" not in page
    assert "Failed rounds: 2." in page


def test_a_workload_that_was_never_cut_off_is_not_called_kept(
    written: Written, tmp_path: Path
) -> None:
    survey = Survey(1, [SurveyedWorkload("first use", "FULL", 120, 14, 0, 0)])
    run = run_of(Campaign(tmp_path, 1.0, 1, []), survey=survey)
    (row,) = tables_of(written(run))["Workload"]
    assert row["Verdict"] == "? not judged"
    assert "✓" not in written(run)
    assert "not judged" in summary(run)
