"""The demo, run as a user runs it, and ended in all the ways it can be ended."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import nasty_mail

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SECONDS = 40

Demo = Callable[..., subprocess.Popen[str]]


def files_in_the_repository() -> set[Path]:
    """Return what is there, but for what Python and other tests keep for themselves."""
    return {
        Path(directory, name)
        for directory, subdirectories, names in os.walk(REPOSITORY)
        if not subdirectories.sort()
        for name in [*names, *subdirectories]
        if not any(
            part.startswith(".") or part == "__pycache__"
            for part in Path(directory, name).relative_to(REPOSITORY).parts
        )
    }


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Start the demo with these arguments. Afterwards nothing may be left of it anywhere."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = files_in_the_repository()

    def start(*arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "always::ResourceWarning", "-m", "examples.mailing_list"]
            + [str(argument) for argument in arguments],
            cwd=REPOSITORY,
            env=os.environ | {"TMPDIR": str(temporary), "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    yield start
    assert files_in_the_repository() == before
    assert list(temporary.iterdir()) == []


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit status and the output, once every process of the demo has ended.

    Its workers have its standard output from it: the pipe's end is the end of them all.
    """
    try:
        output, errors = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=SECONDS)
        raise
    return process.returncode, output, errors


def messages_by_worker(output: str) -> list[int]:
    """Return the last number in the row of each worker that has ended well."""
    rows = re.findall(r"^│ +\d+ │ +\d+ │(.*)│ well ", output, re.MULTILINE)
    return [int(re.findall(r"\d+", row)[-1]) for row in rows]


def test_each_person_ends_in_the_state_they_must_be_in(demo: Demo) -> None:
    status, output, errors = ended(demo("--people", "24", "--workers", "3"))

    assert (status, errors) == (0, ""), output
    assert "Every one of them is in the state they must be in." in output
    shares = messages_by_worker(output)
    assert len(shares) == 3
    assert sum(share > 0 for share in shares) >= 2
    assert re.search(r"BOUNCED +│ +4 │ +4 │", output)


@pytest.mark.long
@pytest.mark.parametrize("write", [nasty_mail.write_mbox, nasty_mail.write_maildir])
def test_broken_mail_stops_no_worker(
    demo: Demo, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    status, output, errors = ended(demo("--mbox", write(tmp_path / "nasty"), "--workers", "3"))

    assert (status, errors) == (0, ""), output
    assert "No worker died, and each message is accounted for." in output
    assert len(messages_by_worker(output)) == 3
    assert "undecodable" in output
    assert re.search(r"ERROR +│ +1 │", output), "the subject that is in no encoding"


@pytest.mark.long
def test_a_played_mailbox_is_only_read(demo: Demo, tmp_path: Path) -> None:
    mbox = tmp_path / "mbox"
    mbox.write_bytes(b"From ann@people.example Thu Jan  1 00:00:00 1970\n\none mail, no more\n")
    before = mbox.read_bytes(), mbox.stat().st_mtime_ns

    status, _, _ = ended(demo("--mbox", mbox, "--workers", "1"))

    assert status == 0
    assert (mbox.read_bytes(), mbox.stat().st_mtime_ns) == before


def test_what_is_no_mailbox_is_refused_in_one_line(demo: Demo, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("Dear Sir or Madam,\n")

    for path in (tmp_path / "letter", tmp_path):
        status, output, errors = ended(demo("--mbox", path))
        assert (status, output, errors.count("\n")) == (1, "", 1)
        assert errors.startswith(f"Error: {path} ")


@pytest.mark.long
def test_what_is_kept_is_kept_and_not_overwritten(demo: Demo, tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    assert ended(demo("--people", "1", "--workers", "1", "--keep", kept))[0] == 0
    assert (kept / "run" / "states").exists()
    assert (kept / "logs" / "salmon.log").exists()

    status, _, errors = ended(demo("--people", "1", "--keep", kept))
    assert status == 1
    assert "give --keep a new or empty directory" in errors


@pytest.mark.long
def test_workers_end_when_their_parent_is_killed(demo: Demo, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = demo("--people", "1000", "--workers", "2", "--keep", kept)
    wait_for_line(kept / "logs" / "salmon.log", "Queue receiver started", times=2)

    process.kill()

    status, _, _ = ended(process)
    assert status == -9


@pytest.mark.long
def test_sigterm_ends_everything(demo: Demo, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    process = demo("--people", "1000", "--workers", "2", "--keep", kept)
    wait_for_line(kept / "logs" / "salmon.log", "Queue receiver started", times=2)

    process.terminate()

    status, _, errors = ended(process)
    assert (status, errors) == (128 + 15, "")
    wait_for_line(kept / "logs" / "salmon.log", "worker has ended", times=2)


def wait_for_line(log: Path, text: str, times: int) -> None:
    deadline = time.monotonic() + SECONDS
    while not log.exists() or log.read_text().count(text) < times:
        assert time.monotonic() < deadline, f"{text!r} did not come"
        time.sleep(0.01)
