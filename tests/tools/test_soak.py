"""The soak as one runs it: what it says, how it ends, and that it can fail."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "stress" / "soak.py"

# Run with the script and its arguments: Ctrl-C strikes in a hook of the first fork of round 2.
# What a hook raises, CPython reports and forgets.
STRUCK_IN_A_HOOK = """
import os, runpy, signal, sys
import lamson_sqlite_state  # in its hooks no Ctrl-C is lost: those of others run after them

def strike(blows=[signal.SIGINT]):
    if blows and os.path.exists(records + "/round-2"):
        os.kill(os.getpid(), blows.pop())

sys.argv.pop(0)
(records,) = [each.split("=")[1] for each in sys.argv if each.startswith("--keep")]
os.register_at_fork(after_in_parent=strike)
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def soak(
    directory: Path, *arguments: str, seconds: float = 2.0
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*command(directory), f"--seconds={seconds}", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def command(directory: Path) -> list[str]:
    report, records = f"--report={directory / 'report.html'}", f"--keep={directory / 'records'}"
    return [sys.executable, str(SCRIPT), "--seed=3", "--workers=3", report, records]


def judged(directory: Path) -> list[Path]:
    return sorted(directory.glob("records/round-*"))


@pytest.mark.timeout(120)
def test_in_a_sound_store_nothing_wrong_is_found(tmp_path: Path) -> None:
    ended = soak(tmp_path, "--faults=calm,kill,fork-storm,orphan,edits", seconds=8)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "NOTHING WRONG WAS FOUND, BUT NOT EVERYTHING WAS JUDGED" in ended.stdout
    assert "no power cut loses what was acknowledged: the power was not cut" in ended.stdout
    assert ended.stderr == ""
    assert (tmp_path / "report.html").stat().st_size > 0
    assert judged(tmp_path) == []  # the records of rounds in which nothing was wrong are gone


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("sabotage", "faults", "check"),
    [
        ("cache-ignores-versions", "calm", "the history is linearizable"),
        ("no-file-lock", "held-lock", "while the write lock is held, all read on"),
        ("close-closes-nothing", "calm", "nothing is left"),
    ],
)
def test_a_sabotage_is_caught_and_shown(
    tmp_path: Path, sabotage: str, faults: str, check: str
) -> None:
    ended = soak(tmp_path, f"--faults={faults}", f"--sabotage={sabotage}", seconds=20)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"not so: {check}" in ended.stdout
    assert "PROMISES WERE BROKEN" in ended.stdout
    # What was recorded is kept, and can be judged again.
    (*_, last) = judged(tmp_path)
    again = subprocess.run(
        [sys.executable, SCRIPT.parent / "judge.py", last], capture_output=True, text=True
    )
    assert again.returncode == 1
    assert f"NOT SO: {check}" in again.stdout


@pytest.mark.timeout(60)
def test_ctrl_c_ends_all_processes_and_judges_what_there_is(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*command(tmp_path), "--seconds=6", "--faults=kill,calm,edits,signals"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        # In the second round, when the first is being judged.
        begun = tmp_path / "records" / "round-2" / "3.0.history"
        while not begun.exists() and process.poll() is None:
            os.sched_yield()
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        assert process.stdout is not None
        said = process.stdout.read()  # ends when nobody has the pipe any more
        assert process.wait() == 130, said
    assert "Interrupted" in said
    assert "NOTHING WRONG WAS FOUND, BUT NOT EVERYTHING WAS JUDGED" in said
    assert "Not judged: round 2 (calm): the run ended before its verdict." in said
    assert "Not judged: edits, signals: the run ended before their rounds." in said
    assert (tmp_path / "report.html").exists()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.timeout(60)
def test_a_ctrl_c_that_strikes_in_a_hook_of_a_fork_is_heeded(tmp_path: Path) -> None:
    python, *rest = command(tmp_path)
    ended = subprocess.run(
        [python, "-c", STRUCK_IN_A_HOOK, *rest, "--seconds=30", "--faults=calm,kill"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "KeyboardInterrupt" in ended.stderr  # it was swallowed
    assert ended.returncode == 130, ended.stdout
    assert "Interrupted" in ended.stdout
    assert "in 1 round:" in ended.stdout  # the second was cut short


@pytest.mark.timeout(60)
def test_workers_end_when_who_forked_them_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*command(tmp_path), "--seconds=3", "--faults=calm"], stdout=subprocess.PIPE
    ) as process:
        while not (tmp_path / "records" / "round-1" / "3.0.history").exists():
            os.sched_yield()
        process.kill()
        # The workers have this pipe too: it comes to its end when the last of them has.
        process.communicate(timeout=30)


def test_every_fault_says_what_it_does_and_allows() -> None:
    ended = subprocess.run(
        [sys.executable, SCRIPT, "--list-faults"], capture_output=True, text=True, check=True
    )
    blocks = re.findall(r"^([\w-]+)\n    (.+)\n    allows: (.+)$", ended.stdout, re.MULTILINE)
    assert len(blocks) > 25
    assert {"kill", "stop", "full-disk", "failing-syncs", "power-cut"} <= {n for n, _, _ in blocks}


@pytest.mark.timeout(150)
def test_the_selftest_hears_what_a_soak_says() -> None:
    script = SCRIPT.parent / "selftest.py"
    ended = subprocess.run(
        [sys.executable, script, "--only=since-in-seconds"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the file is sound" in ended.stdout
    assert "Every sabotage that was tried was caught: 1 of" in ended.stdout


def test_faults_that_cannot_be_had_are_skipped_by_name(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*command(tmp_path), "--seconds=2", "--faults=failing-writes"],
        env={**os.environ, "PATH": str(tmp_path)},  # without strace
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "strace is not installed" in ended.stdout
    assert "NOTHING WAS JUDGED" in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--faults=earthquake"], ["--seconds=1", "--minutes=1"], ["--keep=."], ["--report=/no/page"]],
)
def test_wrong_arguments_are_a_usage_error(arguments: list[str]) -> None:
    ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "Error: " in ended.stderr
