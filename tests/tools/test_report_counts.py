"""The report counts the same thing everywhere alike, and its verdicts can be seen."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from faults import FAULTS
from powercuts.real import RealCut, RealCuts
from powercuts.survey import Survey, SurveyedWorkload
from reporting import page
from reporting.display import Display
from reporting.outcome import Outcome
from reporting.run import Run
from reporting.tally import by_check, by_fault, totals
from soaking import checks
from tests.tools.read_reports import Written, number, summary, tables_of, text_of
from tests.tools.synthetic_runs import CUTS, campaign, complete_run, run_of


@pytest.mark.parametrize(
    ("outcome", "kind", "words"),
    [
        (Outcome(0, 0, 0), "unproved", "not judged"),
        (Outcome(1, 0, 0), "unproved", "not judged"),
        (Outcome(1, 1, 0), "good", "kept"),
        (Outcome(1, 1, 1), "bad", "failed"),
        (Outcome(3, 3, 0), "good", "kept"),
        (Outcome(3, 2, 0), "unproved", "2 of 3 kept"),
        (Outcome(3, 3, 2), "bad", "2 of 3 failed"),
        (Outcome(3, 2, 1), "bad", "1 of 3 failed, 1 not judged"),
    ],
)
def test_only_what_was_judged_whole_is_kept(outcome: Outcome, kind: str, words: str) -> None:
    assert (outcome.kind, outcome.words) == (kind, words)


def eventful(directory: Path, rounds: int = len(FAULTS)) -> Run:
    """Return a run with all that may become of a round: kept, failed, not run, not judged."""
    this = campaign(directory, rounds)
    found = this.rounds[1].verdict
    assert found is not None
    found["checks"][0]["problems"] = [f"wrong {each}" for each in range(6)]
    found["numbers"]["unknown"] = 3
    this.rounds[2].verdict, this.rounds[2].problem = None, "OSError: no space"
    this.rounds[3].verdict = None
    survey = Survey(
        1,
        [
            SurveyedWorkload("first use", "FULL", 120, 14, 121, 640, ["lost A", "lost B"]),
            SurveyedWorkload("every call", "NORMAL", losses=["it could not be recorded"]),
            SurveyedWorkload("mishaps", "FULL", 120, 14, 0, 0),
        ],
    )
    real = RealCut("FULL", "journal lost", 9, 8, ["lost C"], 1.0)
    return run_of(this, survey=survey, cuts=RealCuts(1, 4, [*CUTS.cuts, real]))


@pytest.mark.parametrize("rounds", [len(FAULTS), 60])
def test_counts_of_the_page_agree(rounds: int, written: Written, tmp_path: Path) -> None:
    run = eventful(tmp_path, rounds)
    text, tables = text_of(written(run)), tables_of(written(run))
    found = totals(run.campaign)
    assert f"made {found.calls:,} calls (3 of unknown outcome)" in text
    assert f"struck {found.strikes:,} times" in text
    assert f"all that was recorded in {rounds - 2} of {rounds} rounds was judged" in text
    assert f"1 check failed, in 1 of {rounds} rounds" not in text
    assert f"2 checks failed, in 2 of {rounds} rounds." in text
    by_round = tables["Round"]
    assert len(by_round) == rounds
    assert sum(number(row["Calls"]) for row in by_round) == found.calls
    for column, total in (("Struck", found.strikes), ("Errors", found.errors)):
        assert sum(number(row[column]) for row in by_round) == total
    assert sum(number(row["Struck"]) for row in tables["Fault"]) == found.strikes
    ends = [row["Verdict"] for row in by_round]
    assert ends[:5] == ["✓ kept", "✕ failed", "✕ failed", "? not judged", "✓ kept"]
    rows = {row["What should be so"].split(" Each ")[0]: row for row in tables["What should be so"]}
    assert rows["The history is linearizable"]["Verdict"] == f"✕ 1 of {rounds} failed, 2 not judged"
    assert rows["The round could be run and judged"]["Verdict"] == (
        f"✕ 1 of {rounds} failed, 1 not judged"
    )
    for row in by_check(run.campaign):
        assert row.outcome.failed <= row.outcome.judged <= row.outcome.of <= rounds
    for fault in by_fault(run.campaign):
        assert fault.outcome.failed <= fault.outcome.judged <= fault.outcome.of


@pytest.mark.parametrize("rounds", [len(FAULTS), 60])
def test_page_and_terminal_agree(rounds: int, written: Written, tmp_path: Path) -> None:
    run = eventful(tmp_path, rounds)
    tables, said = tables_of(written(run)), summary(run, width=200)
    is_long = re.search("^Faults *$", said, re.MULTILINE)
    for row in tables["Fault" if is_long else "Round"]:
        name = row["Fault"].split(":")[0] if is_long else row["Faults"]
        (line,) = re.findall(rf"^{re.escape(name)}  .*", said, re.MULTILINE)
        assert line.rstrip().endswith("  " + row["Verdict"][2:])
        for column in ("Struck", "Calls"):
            assert not number(row[column]) or row[column] in line.split()


def test_a_narrow_terminal_shows_verdicts_whole(tmp_path: Path) -> None:
    run = eventful(tmp_path, 60)
    ends = [row.outcome.words for row in by_fault(run.campaign)]
    assert max(map(len, ends)) > 12
    table = summary(run, width=80).split("\n\n")[0].splitlines()[3:]
    assert " ".join(line[70:].strip() for line in table) == " ".join(ends)


def test_power_cuts_are_counted_alike_everywhere(written: Written, tmp_path: Path) -> None:
    run = eventful(tmp_path)
    tables, said = tables_of(written(run)), summary(run, width=200)
    rows = [*tables["Workload"], *tables["File system"]]
    cuts = sum(number(row["Cuts"]) for row in rows)
    assert cuts == run.power_cuts == 130
    (power,) = (row for row in tables["What should be so"] if "cuts" in row["Looked at"])
    assert (power["Looked at"], power["Verdict"]) == (
        "130 cuts, 7 workloads",
        "✕ 3 of 7 failed, 1 not judged",
    )
    for text in (text_of(written(run)), said):
        assert "The power was cut at 130 moments." in text
        assert "4 findings after power cuts, in 3 of 7 workloads." in text
        assert "power cuts of mishaps, FULL: there was no time for it." in text
    (below,) = re.findall(r"^Power cuts *\n.*\n.*\n((?:\S.*\n)+)", said, re.MULTILINE)
    assert [re.split("  +", line.strip())[-1] for line in below.splitlines()] == [
        row["Verdict"][2:] for row in rows
    ]


def test_the_line_that_is_redrawn_counts_as_the_summary_does(tmp_path: Path) -> None:
    run = eventful(tmp_path)
    del run.campaign.rounds[2:4]
    found = totals(run.campaign)
    file = StringIO()
    with Display(Console(file=file, width=200, force_terminal=True), 9.0) as display:
        display.show(run.campaign, run.campaign.rounds[-1])
    said = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", file.getvalue())
    assert f"{found.calls:,} calls, {found.strikes:,} strikes, checks failed: 1" in said


def test_summary_says_how_much_was_done(written: Written, tmp_path: Path) -> None:
    run = complete_run(tmp_path)
    found = totals(run.campaign)
    for text in (text_of(written(run)), summary(run)):
        for words in (
            f"{found.calls:,} calls",
            f"{found.strikes:,} times",
            f"{len(FAULTS) - 1} kinds of faults",
            "The power was cut at 189 moments.",
            "all that was recorded was judged.",
        ):
            assert words in text


def test_faults_are_added_up_over_the_rounds_in_which_they_struck(tmp_path: Path) -> None:
    this = campaign(tmp_path, 60)
    rows = {row.name: row for row in by_fault(this)}
    assert list(rows) == list(FAULTS)
    kills = [each for each in this.rounds if "kill" in each.faults]
    assert rows["kill"].rounds == kills
    assert rows["kill"].outcome == Outcome(len(kills), len(kills), 0)
    struck = [
        strike for each in kills if each.verdict for strike in each.verdict["numbers"]["strikes"]
    ]
    assert rows["kill"].strikes == sum(count for name, _, count in struck if name == "kill")
    assert sum(row.strikes for row in rows.values()) == totals(this).strikes


def test_checks_are_added_up_over_the_rounds_in_which_they_were_asked_for(tmp_path: Path) -> None:
    this = campaign(tmp_path, 10)
    rows = {row.name: row for row in by_check(this)}
    assert rows[checks.LINEARIZABLE].looked_at == "57,360 calls"
    assert rows[checks.DURATION].looked_at == "longest 0.18 s"
    assert rows[checks.SIZES].looked_at == "log up to 4.1 MB, database up to 16 kB"
    assert rows[checks.SHARES].outcome == Outcome(1, 1, 0)
    assert rows[checks.HELD].outcome == Outcome(1, 1, 0)
    assert totals(this).checks == 10 * (len(checks.MEANINGS) - 1) - 2 * 9
    assert totals(this).checks == sum(row.outcome.judged for row in rows.values())


# What can be seen at 400 pixels.


def test_each_tables_verdict_stands_before_what_is_wide(written: Written, tmp_path: Path) -> None:
    run = eventful(tmp_path)
    run.campaign.skipped["full-disk"] = "this user is not root"
    tables = tables_of(written(run))
    judged = {name: table for name, table in tables.items() if name != "Rounds"}
    assert len(judged) == len(tables) - 1 == 5
    for table in judged.values():
        for row in table:
            assert next(iter(row)) == "Verdict"
            assert re.match("[✓✕?] ", row["Verdict"])
            assert max(map(len, row["Verdict"].split())) <= 8  # its words may be wrapped


def test_the_verdict_column_may_be_wrapped() -> None:
    sheet = Path(page.__file__).with_name("report.css").read_text()
    assert re.findall(r"^\.outcome\b", sheet, re.MULTILINE)
    assert not [
        line for line in sheet.splitlines() if line.startswith(".outcome") and "nowrap" in line
    ]
