"""The report says what was found, to whoever reads it, and needs nothing but itself."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from faults import FAULTS, NEVER
from powercuts.real import RealCut, RealCuts
from powercuts.survey import Survey, SurveyedWorkload
from reporting.display import print_summary
from reporting.page import write_report
from reporting.run import Run
from reporting.tally import KINDS, by_check, by_fault, totals
from reporting.verdict import verdict_on
from reporting.wording import GLOSSARY
from soaking import checks
from soaking.campaign import Campaign, Round
from tests.tools.synthetic_runs import campaign, run_of, verdict

SURVEY = Survey(
    1,
    [
        SurveyedWorkload("first use", "FULL", 120, 14, 121, 640),
        SurveyedWorkload("every call", "NORMAL", skipped="strace is <missing>"),
    ],
)
CUTS = RealCuts(
    1,
    4,
    [
        RealCut("FULL", "journal lost", 1_200, 1_190, [], 1.0),
        RealCut("FULL", "journal lost", 800, 790, [], 1.0),
    ],
)

Written = Callable[[Run], str]


class Elements(HTMLParser):
    """All elements of a page, and whether each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(run: Run) -> str:
        path = tmp_path / "report.html"
        write_report(path, run)
        return path.read_text(encoding="utf-8")

    return write


def text_of(page: str) -> str:
    """Return what one reads, in one line."""
    without = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(without))


def headline(page: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert found is not None
    return text_of(found[1])


def summary(run: Run) -> str:
    console = Console(file=StringIO(), width=80)
    print_summary(console, run, Path("report.html"))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def broken(directory: Path, *problems: str, check: str = checks.LINEARIZABLE) -> Campaign:
    """Return a campaign in whose second round of three a check has found these problems."""
    result = campaign(directory, 3)
    result.rounds[1].verdict = verdict(["kill"], random.Random(1), problems={check: list(problems)})
    return result


# The page as such.


def test_page_needs_nothing_from_elsewhere(written: Written, tmp_path: Path) -> None:
    page = written(run_of(campaign(tmp_path, len(FAULTS)), survey=SURVEY, cuts=CUTS))
    assert not re.search(r"https?:|//|@import|url\((?!#)", page.replace("<!doctype html>", ""))
    tags = {tag for tag, _ in Elements(page).found}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
    for _, attributes in Elements(page).found:
        assert not attributes.keys() & {"src", "srcset", "action", "onload", "onclick"}
        assert (attributes.get("href") or "#").startswith("#")


def test_page_is_well_formed_and_no_id_is_given_twice(written: Written, tmp_path: Path) -> None:
    elements = Elements(written(run_of(campaign(tmp_path, len(FAULTS)), survey=SURVEY, cuts=CUTS)))
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


# The verdict.


@pytest.mark.parametrize(
    ("is_broken", "others", "kind", "words"),
    [
        (False, {}, "good", "Every promise was kept"),
        (False, {"is_interrupted": True}, "good", "as far as the run went"),
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
    this = broken(tmp_path, "wrong") if is_broken else campaign(tmp_path, 3)
    run = run_of(this, **others)
    page = written(run)
    assert words in headline(page)
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


def test_summary_says_how_much_was_done(written: Written, tmp_path: Path) -> None:
    run = run_of(campaign(tmp_path, len(FAULTS)), survey=SURVEY, cuts=CUTS)
    found = totals(run.campaign)
    for text in (text_of(written(run)), summary(run)):
        for words in (
            f"{found.calls:,} calls",
            f"{found.strikes:,} times",
            f"{len(FAULTS) - 1} kinds of faults",
        ):
            assert words in text
        assert "The power was cut at 123 moments." in text


def test_what_was_not_judged_is_not_called_kept(written: Written, tmp_path: Path) -> None:
    nothing = run_of(Campaign(tmp_path, 1.0, 1, ["calm"]), is_interrupted=True)
    assert "Nothing was judged" in headline(written(nothing))
    assert "Nothing was judged" in headline(written(replace(nothing, sabotage="no lock")))
    assert "NOTHING WAS JUDGED" in summary(nothing)
    cut_short = campaign(tmp_path, 3)
    for each in cut_short.rounds:
        each.verdict = None
    run = run_of(cut_short, is_interrupted=True)
    assert "Nothing was judged" in headline(written(run))
    assert "3 rounds cut short: no verdict on that." in text_of(written(run))
    assert "✓ kept" not in written(run)


def test_a_round_that_could_not_be_run_is_a_broken_promise(
    written: Written, tmp_path: Path
) -> None:
    this = campaign(tmp_path, 2)
    this.rounds[1].verdict, this.rounds[1].problem = None, "OSError: <no space>"
    text = text_of(written(run_of(this)))
    assert "Promises were broken" in text
    assert "OSError: <no space>" in text
    assert "the round could be run and judged" in text


def test_a_workload_that_was_never_cut_off_is_not_called_kept(
    written: Written, tmp_path: Path
) -> None:
    survey = Survey(1, [SurveyedWorkload("first use", "FULL", 120, 14, 0, 0)])
    run = run_of(Campaign(tmp_path, 1.0, 1, []), survey=survey)
    assert re.search(r"first use FULL 120 14 0 0 . no time to judge", text_of(written(run)))
    assert "✓ kept" not in written(run)
    assert "not judged" in summary(run)


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
        assert "2 losses found after power cuts." in text


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
    run = run_of(this, survey=SURVEY, cuts=RealCuts(1, 4, [], "mkfs.ext4 is <missing>"))
    for text in (text_of(written(run)), summary(run)):
        assert "full-disk" in text
        assert "this user is not <root>" in text
        assert "strace is <missing>" in text
        assert "mkfs.ext4 is <missing>" in text


def test_power_cuts_that_were_not_made_are_said_not_to_have_been(
    written: Written, tmp_path: Path
) -> None:
    assert text_of(written(run_of(campaign(tmp_path, 3)))).count("Not run.") == 2
    text = text_of(written(run_of(campaign(tmp_path, 3), survey=SURVEY, cuts=CUTS)))
    assert "Not run." not in text
    assert "first use FULL 120 14 121 640 ✓ kept" in text
    assert "FULL journal lost 2 2,000 1,980 ✓ kept" in text


def test_page_says_what_was_run(written: Written, tmp_path: Path) -> None:
    text = text_of(written(run_of(campaign(tmp_path, 1))))
    for words in ("python stress/soak.py --seed 1", "SQLite 3.", "Python", "filelock", "kernel"):
        assert words in text


# The sums.


def test_faults_are_added_up_over_the_rounds_in_which_they_struck(tmp_path: Path) -> None:
    this = campaign(tmp_path, 60)
    rows = {row.name: row for row in by_fault(this)}
    assert list(rows) == list(FAULTS)
    kills = [each for each in this.rounds if "kill" in each.faults]
    assert rows["kill"].rounds == kills
    assert rows["kill"].judged == len(kills)
    struck = [
        strike for each in kills if each.verdict for strike in each.verdict["numbers"]["strikes"]
    ]
    assert rows["kill"].strikes == sum(count for name, _, count in struck if name == "kill")
    assert sum(row.strikes for row in rows.values()) == totals(this).strikes


def test_checks_are_added_up_over_the_rounds_in_which_they_were_asked_for(tmp_path: Path) -> None:
    rows = {row.name: row for row in by_check(campaign(tmp_path, 10))}
    assert rows[checks.LINEARIZABLE].looked_at == "57,360 calls"
    assert rows[checks.DURATION].looked_at == "longest 0.18 s"
    assert rows[checks.SIZES].looked_at == "log up to 4.1 MB, database up to 16 kB"
    assert rows[checks.SHARES].rounds == 1
    assert totals(campaign(tmp_path, 10)).checks == 10 * (len(checks.MEANINGS) - 1) - 9


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
    assert "Every promise was kept" in headline(written(run))
    assert verdict_on(run).kind == "good"
    assert "Every promise was kept" in summary(run)


def test_summary_fits_a_terminal(tmp_path: Path) -> None:
    for rounds in (len(FAULTS), 300):
        lines = summary(run_of(campaign(tmp_path, rounds), survey=SURVEY, cuts=CUTS)).splitlines()
        table = lines[: lines.index("", lines.index("") + 1)]
        assert max(map(len, table)) <= 80
        assert len(lines) < 60


def test_long_violations_are_cut_short_on_the_terminal(tmp_path: Path) -> None:
    run = run_of(broken(tmp_path, "\n".join(f"line [{number}]" for number in range(30))))
    text = summary(run)
    assert "line [11]" in text
    assert "line [12]" not in text
    assert "... 18 lines more in the report" in text
