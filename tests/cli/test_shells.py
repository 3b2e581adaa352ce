"""Each shell completes, once it has run the lines that the docs give for it."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Final

import pytest
from write_help import PAGE

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.commands import PROGRAM

BASH_COMPLETION: Final = Path("/usr/share/bash-completion/bash_completion")

# Characters at which bash breaks words, that a shell would obey, and that a literal has.
MODULE: Final = "app:handlers=one@two"
DOLLAR: Final = "cost $HOME; * 'q'"

_TIMEOUT_SECONDS: Final = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory, a store, and ``lamson-state`` on the path."""
    with SQLiteStorage(tmp_path / "states") as store:
        store.set(MODULE, "ann", "POSTING")
        store.set(DOLLAR, "ann", "PENDING")
        store.set(None, "ann", "ERROR")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "lamson-state"
    program.write_text(f'#!/bin/sh\nexec {" ".join(map(quote, PROGRAM))} "$@"\n')
    program.chmod(0o755)
    return tmp_path


def lines_of_the_docs(shell: str) -> str:
    """Return the lines that the docs tell to put into the shell's file."""
    text = PAGE.read_text().partition("\n## Completion\n")[2].partition("\n## ")[0]
    (block,) = (each for each in text.split("\n\n") if f"{shell}_source" in each)
    return "\n".join(line.partition("  #")[0].strip() for line in block.splitlines())


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a shell."""
    return {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "LAMSON_STATE_STORE": str(home / "states"),
    }


@contextmanager
def interactive(home: Path, *command: str) -> Iterator[int]:
    """Run a shell on a terminal, and give its other end."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(home),
        cwd=home,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def answer(terminal: int, keys: str, is_there: str) -> str:
    """Press keys, and return what the pattern's group finds on the terminal."""
    os.write(terminal, keys.encode())
    screen = b""
    until = time.monotonic() + _TIMEOUT_SECONDS
    while not (found := re.search(is_there, screen.decode(errors="replace"), re.DOTALL)):
        ready, _, _ = select.select([terminal], [], [], until - time.monotonic())
        assert ready, f"not there in time:\n{screen.decode(errors='replace')}"
        screen += os.read(terminal, 65_536)
    return found[1]


def completed(terminal: int, line: str) -> list[str]:
    """Type a line and Tab, and return the arguments that the command would get."""
    shown = answer(terminal, f"lamson-state {line}\t\x01show \n", r"<<(.*?)>>")
    return shown.split("|")


# For bash and zsh. What is typed must not look like what is shown.
SHOW: Final = r"""show() { shift; local IFS='|'; printf '<%s>>\n' "<$*"; }"""


# What is typed, and what becomes of it.
LINES: Final = {
    "summ": ["summary"],
    "get app:han": ["get", MODULE],
    "get 'app:han": ["get", MODULE],
    "get cost": ["get", DOLLAR],
    "list --state=PO": ["list", "--state=POSTING"],
    "--store=sta": ["--store=states"],
}

# Where bash has other words than the others.
BASH_LINES: Final = {
    **LINES,
    "get app:": ["get", MODULE],
    "list --state=ERROR --module Non": ["list", "--state=ERROR", "--module", "None"],
}


def test_bash_completes_by_the_line_of_the_docs(home: Path) -> None:
    check_terminal(home, BASH_LINES, ".bashrc", "bash", "--noprofile", "--rcfile", ".bashrc", "-i")


def test_bash_completes_beside_bash_completion(home: Path) -> None:
    if not BASH_COMPLETION.exists():
        pytest.skip("there is no bash-completion here")
    (home / ".bashrc").write_text(f". {BASH_COMPLETION}\n")
    check_terminal(home, BASH_LINES, ".bashrc", "bash", "--noprofile", "--rcfile", ".bashrc", "-i")


def test_zsh_completes_by_the_lines_of_the_docs(home: Path) -> None:
    (home / ".zshrc").write_text("bindkey -e\n")  # as the keys below are, whatever EDITOR is
    check_terminal(home, LINES, ".zshrc", "zsh", "-d", "-i")


def check_terminal(home: Path, lines: dict[str, list[str]], file: str, *command: str) -> None:
    """Have a shell read the docs' lines in its file, and complete what is typed."""
    with (home / file).open("a") as startup:
        startup.write(f"{lines_of_the_docs(command[0])}\n{SHOW}\n")
    with interactive(home, *command) as terminal:
        for typed, expected in lines.items():
            assert completed(terminal, typed) == expected, typed


def test_fish_completes_by_the_line_of_the_docs(home: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    lines = ["summ", "get app:", "list --state=PO", "list --module 'app:h", "--store=bi"]
    asked = "\n".join(f"complete -C {quote('lamson-state ' + line)}; echo" for line in lines)
    ended = subprocess.run(
        ["fish", "--no-config", "-c", f"{lines_of_the_docs('fish')}\n{asked}"],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines()[::2] == [
        "summary\tHow many senders are in which state, and how the store is.",
        MODULE,
        "--state=POSTING",
        MODULE,
        "--store=bin/",
    ]
    assert not ended.stderr
