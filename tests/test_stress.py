"""The stress run: it ends well, it finds what must not be, and it leaves no process behind."""

import pathlib
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent / "stress" / "many_writers.py"


def stress(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=50
    )


def words(text: str) -> str:
    """Return text as it was before it was put into a table."""
    return " ".join(text.replace("│", " ").split())


def test_four_workers_lose_nothing(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "states"
    process = stress("--workers=4", "--seconds=1.5", "--threads=2", f"--path={path}")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Nothing acknowledged is missing" in process.stdout
    with closing(sqlite3.connect(path)) as connection:
        senders = connection.execute("SELECT count(DISTINCT sender) FROM states").fetchone()
    assert senders == (2 * (4 + 1) + 1,)  # two writers in each process and the parent; the counter


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        ("row", "('stress.handlers_0', 'writer.0.0@example.com'): acknowledged STATE_"),
        ("counter", "changes succeeded, but the counter is at"),
    ],
)
def test_a_write_that_is_undone_is_named(tmp_path: pathlib.Path, damage: str, verdict: str) -> None:
    process = stress(
        "--workers=2", "--seconds=0.5", f"--sabotage={damage}", f"--path={tmp_path / 'states'}"
    )
    assert process.returncode == 1, process.stdout + process.stderr
    assert verdict in words(process.stdout)
    assert "FAILED" in process.stdout


def test_an_existing_file_is_left_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "states"
    path.write_bytes(b"somebody's")
    assert stress("--seconds=0.1", f"--path={path}").returncode == 2
    assert path.read_bytes() == b"somebody's"


def test_workers_end_when_their_parent_is_killed(tmp_path: pathlib.Path) -> None:
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "--seconds=45", f"--path={tmp_path / 'states'}"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert any(line.startswith("workers ") for line in process.stdout)
        process.kill()
        # The workers have this pipe too: it comes to its end when the last of them has.
        process.communicate(timeout=20)
