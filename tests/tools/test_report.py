"""The report says what was found, to whoever reads it, and needs nothing but itself."""

import random
import re
from html import unescape
from pathlib import Path

import pytest

from faults import FAULTS, NEVER
from powercuts.real import RealCut, RealCuts
from powercuts.survey import Survey, SurveyedWorkload
from reporting.tally import KINDS
from reporting.wording import GLOSSARY
from soaking import checks
from soaking.campaign import Campaign, Round
from tests.tools.read_reports import Elements, Written, headline, summary, tables_of, text_of
from tests.tools.synthetic_runs import CUTS, SURVEY, broken, campaign, complete_run, run_of, verdict

# The page as such.


def test_page_needs_nothing_from_elsewhere(written: Written, tmp_path: Path) -> None:
    page = written(complete_run(tmp_path))
    assert not re.search(r"https?:|//|@import|url\((?!#)", page.replace("<!doctype html>", ""))
    tags = {tag for tag, _ in Elements(page).found}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
    for _, attributes in Elements(page).found:
        assert not attributes.keys() & {"src", "srcset", "action", "onload", "onclick"}
        assert (attributes.get("href") or "#").startswith("#")


def test_page_is_well_formed_and_no_id_is_given_twice(written: Written, tmp_path: Path) -> None:
    elements = Elements(written(complete_run(tmp_path)))
    assert elements.open == []
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {f"#{each}" for each in ids}
    assert {a["href"] for _, a in elements.found if "href" in a} <= named


def test_each_chart_is_described_and_has_no_colour_of_its_own(
    written: Written, tmp_path: Path
) -> None:
    page = written(run_of(campaign(tmp_path, len(FAULTS))))
    charts = [attributes for tag, attributes in Elements(page).found if tag == "svg"]
    assert len(charts) == 3
    assert all(each["role"] == "img" and each["aria-label"] for each in charts)
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert "var(--muted)" in svg
        assert not re.search(r"(?:fill|stroke): #", svg)


def test_the_same_numbers_give_the_same_charts(written: Written, tmp_path: Path) -> None:
    pages = [written(run_of(campaign(tmp_path, len(FAULTS)))) for _ in range(2)]
    first, second = (re.findall(r"<svg.*?</svg>", each, re.DOTALL) for each in pages)
    assert first == second


def test_three_hundred_rounds_make_no_large_page(written: Written, tmp_path: Path) -> None:
    page = written(run_of(campaign(tmp_path, 300, seconds=6.0), survey=SURVEY, cuts=CUTS))
    assert len(page.encode()) < 1_500_000


# What it tells.


def test_every_violation_is_shown_with_its_history(written: Written, tmp_path: Path) -> None:
    history = 'pair 0: stale read\n     +0.0..4.4 ms  set "<b>S0</b>" & more\n>    get -> START'
    page = written(run_of(broken(tmp_path, history, "... and 611 more")))
    blocks = [unescape(each) for each in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)]
    assert blocks == [history + "\n\n... and 611 more"]
    assert "<b>" not in page
    text = text_of(page)
    assert f"Not so: {checks.LINEARIZABLE}" in text
    assert checks.MEANINGS[checks.LINEARIZABLE] in text
    assert "Round 2: kill" in text


def test_losses_of_power_cuts_are_violations(written: Written, tmp_path: Path) -> None:
    survey = Survey(1, [SurveyedWorkload("first use", "FULL", losses=["lost <A1>"])])
    cuts = RealCuts(1, 4, [RealCut("FULL", "journal lost", 9, 8, ["lost <B2>"], 1.0)])
    run = run_of(campaign(tmp_path, 2), survey=survey, cuts=cuts)
    page = written(run)
    assert "Promises were broken" in headline(page)
    for text in (text_of(page), summary(run)):
        assert "first use, FULL: lost <A1>" in text
        assert "ext4, FULL, journal lost: lost <B2>" in text
        assert "2 findings after power cuts, in 2 of 5 workloads." in text


def test_nothing_went_wrong_and_nothing_is_said_of_it(written: Written, tmp_path: Path) -> None:
    page = written(run_of(campaign(tmp_path, len(FAULTS))))
    assert "What went wrong" not in page
    assert "✕" not in page


def test_all_checks_faults_and_words_are_explained(written: Written, tmp_path: Path) -> None:
    text = text_of(written(run_of(campaign(tmp_path, len(FAULTS)))))
    for name, meaning in checks.MEANINGS.items():
        assert name[1:] in text
        assert meaning in text
    for name, fault in FAULTS.items():
        assert name in text
        assert fault.about[1:] in text
        assert fault.allows[1:] in text
    for meaning in GLOSSARY.values():
        assert meaning in text
    assert NEVER in text
    for kind in KINDS:
        assert kind in text


def test_what_was_skipped_is_named_with_the_reason(written: Written, tmp_path: Path) -> None:
    this = campaign(tmp_path, 3)
    this.skipped["full-disk"] = "this user is not <root>"
    survey = Survey(1, [SurveyedWorkload("every call", "NORMAL", skipped="strace is <missing>")])
    run = run_of(this, survey=survey, cuts=RealCuts(1, 4, [], "mkfs.ext4 is <missing>"))
    for text in (text_of(written(run)), summary(run)):
        assert "full-disk" in text
        assert "this user is not <root>" in text
        assert "strace is <missing>" in text
        assert "mkfs.ext4 is <missing>" in text


def test_power_cuts_that_were_not_made_are_said_not_to_have_been(
    written: Written, tmp_path: Path
) -> None:
    assert text_of(written(run_of(campaign(tmp_path, 3)))).count("Not run.") == 2
    page = written(complete_run(tmp_path))
    assert "Not run." not in text_of(page)
    assert tables_of(page)["Workload"][0] == {
        "Verdict": "✓ kept",
        "Workload": "first use",
        "Synchronous": "FULL",
        "Steps": "120",
        "Acknowledged": "14",
        "Cuts": "121",
        "Directories judged": "640",
    }
    assert tables_of(page)["File system"][1] == {
        "Verdict": "✓ kept",
        "File system": "ext4, journal lost",
        "Synchronous": "FULL",
        "Calls": "2,400",
        "Acknowledged": "2,380",
        "Cuts": "2",
    }


def test_page_says_what_was_run(written: Written, tmp_path: Path) -> None:
    text = text_of(written(run_of(campaign(tmp_path, 1))))
    for words in ("python stress/soak.py --seed 1", "SQLite 3.", "Python", "filelock", "kernel"):
        assert words in text


# What there may be little of.


@pytest.mark.parametrize("kinds", [(), KINDS[:1], KINDS[1:3]])
@pytest.mark.parametrize("faults", [["calm"], ["kill", "clock"]])
def test_page_does_without_what_did_not_happen(
    faults: list[str], kinds: tuple[str, ...], written: Written, tmp_path: Path
) -> None:
    this = Campaign(tmp_path, 1.0, 1, faults)
    this.rounds.append(Round(1, faults, tmp_path, 0.0))
    found = verdict(faults, random.Random(1), kinds=kinds)
    if not kinds:
        found["numbers"] |= {"timeline": [], "writes": [], "shares": {}, "strike_seconds": []}
    this.rounds[0].verdict = found
    run = run_of(this)
    assert 'class="verdict unproved"' in written(run)
    assert "1 round: none found anything wrong." in summary(run)


def test_summary_fits_a_terminal(tmp_path: Path) -> None:
    for rounds in (len(FAULTS), 300):
        lines = summary(complete_run(tmp_path, rounds)).splitlines()
        table = lines[: lines.index("", lines.index("") + 1)]
        assert max(map(len, table)) <= 80
        assert len(lines) < 60


def test_long_violations_are_cut_short_on_the_terminal(tmp_path: Path) -> None:
    run = run_of(broken(tmp_path, "\n".join(f"line [{number}]" for number in range(30))))
    text = summary(run)
    assert "line [11]" in text
    assert "line [12]" not in text
    assert "... 18 lines more in the report" in text
