"""The comparison with another revision: what it concludes from numbers, and that it tidies up."""

import dataclasses
import math
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from benchmarks import __main__ as command
from benchmarks.against import _report
from benchmarks.against._checkouts import Checkout
from benchmarks.against._effort import BENCH, SMOKE
from benchmarks.against._rows import ROWS
from benchmarks.against._turns import measured
from benchmarks.against._verdict import TOLERANCE, Compared, Estimate
from click.testing import CliRunner, Result
from rich.console import Console

ROOT = pathlib.Path(__file__).parent.parent.parent
ROUNDS = BENCH.rounds

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a Git checkout")


def compared(here: float = 1.0, noise: float = 0.0, rounds: int = ROUNDS) -> Compared:
    """Return a row whose three sides waver by so much, the working tree around that factor."""
    chance = random.Random(4)

    def side(factor: float) -> list[float]:
        return [factor * 1e-6 * (1 + chance.uniform(-noise, noise)) for _ in range(rounds)]

    return Compared("set, changing, NORMAL", side(1.0), side(1.0), side(here))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command.main, arguments)


def printed(rows: list[Compared], refused: dict[str, str] | None = None) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        for each in _report.sentences(rows, refused or {}, "v1.0"):
            console.print(each, soft_wrap=True)
    return capture.get()


@pytest.mark.parametrize("count", range(6, 40))
def test_interval_holds_the_median_with_95_per_cent_and_is_the_narrowest_that_does(
    count: int,
) -> None:
    estimate = Estimate.of([float(n) for n in range(count)])
    outside = int(estimate.low)

    def doubt(each_end: int) -> float:
        return sum(math.comb(count, k) for k in range(each_end + 1)) / 2.0 ** (count - 1)

    assert estimate.high == count - 1 - outside
    assert doubt(outside) <= 0.05 < doubt(outside + 1)


def test_interval_of_fewer_than_six_is_their_range() -> None:
    assert Estimate.of([3.0, 1.0, 2.0]) == Estimate(2.0, 1.0, 3.0)
    assert Estimate.of([1.0]) == Estimate(1.0, 1.0, 1.0)


def test_same_revision_is_neither_slower_nor_quicker() -> None:
    for noise in (0.0, 0.01, 0.05, 0.2):
        row = compared(noise=noise)
        assert not row.is_slower
        assert not row.is_quicker


def test_slower_is_what_is_so_by_over_5_per_cent_beyond_the_noise() -> None:
    assert not compared(here=1.04).is_slower
    assert compared(here=1.06).is_slower
    assert compared(here=1.12, noise=0.02).is_slower
    assert not compared(here=1.12, noise=0.2).is_slower
    assert compared(here=0.9).is_quicker
    assert not compared(here=0.96).is_quicker
    assert not compared(here=0.9, noise=0.2).is_quicker


def test_noise_counts_on_whichever_side_of_1_it_is() -> None:
    row = compared(here=1.12)
    for again in (1.1, 1 / 1.1):
        wavering = dataclasses.replace(row, again=[again * each for each in row.revision])
        assert wavering.least_seen == pytest.approx(TOLERANCE * 1.1)
        assert not wavering.is_slower


def test_row_that_is_itself_too_noisy_is_not_called_slower() -> None:
    row = compared()
    here = [each * (0.8 if n < ROUNDS // 3 else 1.3) for n, each in enumerate(row.revision)]
    row = dataclasses.replace(row, here=here)
    assert row.ratio.median > row.least_seen
    assert not row.is_slower


def test_busy_minute_that_hits_all_sides_changes_no_ratio() -> None:
    row = compared(here=1.02)
    busy = [1.0] * (ROUNDS // 2) + [3.0] * (ROUNDS - ROUNDS // 2)
    slowed = Compared(
        row.name,
        *(
            [each * factor for each, factor in zip(side, busy, strict=True)]
            for side in (row.revision, row.again, row.here)
        ),
    )
    assert slowed.ratio.median == pytest.approx(row.ratio.median)
    assert slowed.ratio.high == pytest.approx(row.ratio.high)
    assert not slowed.is_slower


def test_few_rounds_tell_nothing() -> None:
    row = compared(here=2.0, rounds=5)
    assert not row.is_slower
    assert "So few rounds tell nothing" in printed([row])
    assert "No row" not in printed([row])


def test_words_say_which_rows_are_slower_and_which_could_not_be_told() -> None:
    slower, quicker, noisy = compared(here=1.5), compared(here=0.5), compared(noise=0.6)
    assert printed([slower]) == "Slower than v1.0: set, changing, NORMAL (1.50 x)\n"
    assert "No row is over 5 % slower than v1.0" in printed([quicker])
    assert "Quicker: set, changing, NORMAL (0.50 x)" in printed([quicker])
    assert "Too noisy to show less than this: set, changing" in printed([noisy])
    assert "Not measured: set_all. v1.0: TypeError" in printed([], {"set_all": "v1.0: TypeError"})


def test_table_fits_into_80_columns() -> None:
    rows = [dataclasses.replace(compared(here=1.5), name=name) for name in ROWS]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(_report.ratios_table(rows, "a-branch-with-a-long-name"))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 80
    for name, line in zip(ROWS, lines[1:], strict=True):
        assert line.startswith(f"{name} ")
        assert "1.50" in line
        assert line.rstrip().endswith("slower")


@needs_git
def test_unknown_revision_is_one_clear_line() -> None:
    for rev in ("no-such-branch", "--help", ""):
        result = invoke("--quick", f"--against={rev}")
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: there is no revision {rev}: ")
        assert result.output.count("\n") == 1


@pytest.mark.parametrize("option", ["--full", "--strict", "--redraw", "--results=."])
def test_options_that_mean_nothing_beside_it_are_refused(option: str) -> None:
    result = invoke("--against=HEAD", option)
    assert result.exit_code == 2
    assert "--against goes with --quick, --rounds and --directory only" in result.output
    assert invoke("--rounds=3").exit_code == 2


def test_workers_need_nothing_of_the_package_but_its_public_names(tmp_path: pathlib.Path) -> None:
    """The private modules of the other revision may have other names, and be elsewhere."""
    (tmp_path / "lamson_sqlite_state.py").write_text("class SQLiteStorage: ...")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import benchmarks.against._worker as w"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True, timeout=50)


def test_row_that_a_checkout_cannot_do_is_left_out_with_the_reason(tmp_path: pathlib.Path) -> None:
    here = Checkout("v1.0", str(ROOT), sys.executable)
    advanced: list[None] = []
    rows, refused = measured(
        [here] * 3,
        ["no such row", "get, cached"],
        str(tmp_path),
        SMOKE,
        lambda _row: None,
        lambda: advanced.append(None),
    )
    assert refused == {"no such row": "v1.0: KeyError: 'no such row'"}
    assert [row.name for row in rows] == ["get, cached"]
    assert len(advanced) == 2


def run_in(directory: pathlib.Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks", "--quick", "--against", "HEAD"),
            *("--directory", str(directory)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def assert_tidy(directory: pathlib.Path) -> None:
    assert list(directory.iterdir()) == []
    listed = subprocess.check_output(["git", "worktree", "list"], cwd=ROOT, text=True)
    assert str(directory) not in listed
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(directory) not in process.read_text()
        except OSError:
            continue  # has just ended, or is another user's


@needs_git
@pytest.mark.timeout(300)
def test_quick_run_against_head_has_every_row_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    process = run_in(tmp_path)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    for name in ROWS:
        assert f"\n{name} " in out
    assert "Not measured" not in out
    assert "So few rounds tell nothing" in out
    assert_tidy(tmp_path)


@needs_git
@pytest.mark.timeout(200)
@pytest.mark.parametrize("sign", ["revision/pyproject.toml", "side-2/tmp*/store"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worktree_is_gone_after_ctrl_c(
    sign: str, number: signal.Signals, tmp_path: pathlib.Path
) -> None:
    process = run_in(tmp_path)
    deadline = time.monotonic() + 150
    while not list(tmp_path.glob(f"*/{sign}")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _out, err = process.communicate(timeout=40)
    assert process.returncode == 1
    assert err.strip() == "Aborted!"
    assert_tidy(tmp_path)
