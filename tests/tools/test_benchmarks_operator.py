"""The benchmark of the operator's command runs and has every row. What it measures is no test's."""

import dataclasses
import pathlib
import subprocess
import sys

import pytest
from benchmarks.operator._commands import COMMANDS, CONTROLS
from benchmarks.operator._found import PEAK_BYTES, Figure, Found
from benchmarks.operator._page import page, verdict
from benchmarks.operator._picture import draw
from benchmarks.operator._workers import Sets

ROOT = pathlib.Path(__file__).parent.parent.parent

WHERE = dict.fromkeys("date processor cores kernel load Python SQLite filelock".split(), "1.0")


def figure(
    seconds: float = 1.0, limit: float | None = None, peak: int = 1, ms: float = 1
) -> Figure:
    sets = Sets(count=9, blocked=int(ms > 50), median_ms=ms, p99_ms=ms, worst_ms=ms)
    return Figure("prune", 9, [seconds] * 3, [1.0], [peak], "DELETE", [1.0] * 3, limit, [sets])


def found(*figures: Figure) -> Found:
    where = {**WHERE, "file system": "ext4", "load before": "0.1"}
    return Found(where, 1_000_000, 3, figures)


@pytest.mark.timeout(240)
def test_quick_run_has_every_command_and_every_control(tmp_path: pathlib.Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.operator", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=230,
    )
    assert process.returncode == 0, process.stderr
    measured = Found.load(str(tmp_path / "operator.json"))
    figures = {each.name: each for each in measured.figures}
    names = [command.name for command in COMMANDS]
    assert list(figures) == [*CONTROLS, *names[:2], "summary, the function alone", *names[2:]]
    for command in COMMANDS:
        its = figures[command.name]
        assert len(its.seconds) == len(its.processor_seconds) == len(its.peak_bytes) == 1
        assert len(its.bare_seconds) == (command.bare is not None)
        assert len(its.sets) == command.has_workers
        assert all(each.count for each in its.sets)
    text = (tmp_path / "operator.md").read_text()
    assert text == page(measured)
    for name in figures:
        assert f"\n| {name} |" in text
    assert (tmp_path / "operator.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_saved_comes_back(tmp_path: pathlib.Path) -> None:
    before = found(figure(), figure(limit=0.5, ms=99))
    before.save(str(tmp_path / "operator.json"))
    after = Found.load(str(tmp_path / "operator.json"))
    assert (page(after), after.missed) == (page(before), before.missed)


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        (figure(2.0, limit=1.0), "time"),
        (figure(peak=PEAK_BYTES + 1), "memory"),
        (figure(ms=51.0), "a set took more than 50 ms"),
    ],
)
def test_missed_limit_is_said_and_marked(missing: Figure, what: str) -> None:
    run = found(figure(1.0, limit=1.0, peak=PEAK_BYTES, ms=50.0), missing)
    assert run.missed == [f"prune: {what}"]
    assert what in verdict(run)
    assert page(run).count("missed**") == 1


def test_controls_have_no_limit() -> None:
    control = dataclasses.replace(figure(ms=99.0), is_control=True)
    assert found(control).missed == []
    assert verdict(found(control)) == "All limits are kept."


def test_busy_machine_is_told_of_beside_a_missed_limit_and_hides_none() -> None:
    control = dataclasses.replace(figure(ms=99.0), is_control=True)
    assert "the machine was busy" not in verdict(found(figure(ms=51.0)))
    says = verdict(found(control, figure(ms=51.0)))
    assert "prune: a set took more than 50 ms" in says
    assert "the machine was busy" in says


def test_picture_is_drawn_of_any_run(tmp_path: pathlib.Path) -> None:
    draw(found(figure(ms=99.0)), str(tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_page_is_that_of_the_last_run() -> None:
    """Else somebody has changed a number by hand, or ``--redraw`` was forgotten."""
    results = ROOT / "benchmarks" / "results"
    committed = Found.load(str(results / "operator.json"))
    assert (results / "operator.md").read_text() == page(committed)
    assert (results / "operator.png").exists()
