"""The working tree and another revision, each with an environment made in the same way.

The environment of the revision is new and small. That of the working tree has all that the
tools need, and a large environment alone makes imports slower. So each side gets a new one.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from typing import Final

import click

__all__ = ["ROOT", "Checkout", "commit_of", "installed", "scratch_with"]

ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Checkout:
    """One side of the comparison.

    Args:
        name: what people call it.
        path: of its files.
        python: the interpreter that imports the package from there.
    """

    name: str
    path: str
    python: str


def commit_of(rev: str) -> str:
    """Return the full hash of a revision.

    Raises:
        click.ClickException: there is none of that name, or no repository.
    """
    _run("there is no Git repository", "git", "-C", ROOT, "rev-parse", "--git-dir")
    command = ("git", "-C", ROOT, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}")
    return _run(f"there is no revision {rev}", *command).strip()


@contextmanager
def scratch_with(commit: str, parent: str | None) -> Iterator[tuple[str, str]]:
    """Make a directory with a worktree of that commit in it; yield the paths of both.

    Both are gone afterwards, also where Ctrl-C, SIGTERM or SIGHUP ends the block.
    """
    handlers = {
        number: signal.signal(number, signal.default_int_handler)
        for number in _ENDINGS
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    directory = ""
    try:
        with _undisturbed():
            directory = tempfile.mkdtemp(prefix="bench-", dir=parent)
            worktree = os.path.join(directory, "revision")
            command = ("git", "-C", ROOT, "worktree", "add", "--quiet", "--detach")
            _run("git worktree add", *command, worktree, commit)
        yield directory, worktree
    finally:
        with _undisturbed():
            if directory:
                _remove(directory, worktree)
            for number, handler in handlers.items():
                signal.signal(number, handler)


def installed(name: str, path: str, directory: str) -> Checkout:
    """Install the package of that path, in place, into a new environment in that directory."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    python = os.path.join(directory, "bin", "python")
    pins = os.path.join(directory, "constraints.txt")
    with open(pins, "w", encoding="utf-8") as file:
        # The libraries below are to be the same on both sides.
        file.writelines(
            f"{each.name}=={each.version}\n"
            for each in distributions()
            if each.name != "lamson-sqlite-state"
        )
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    _run(f"{name} cannot be installed", *pip, "install", "--constraint", pins, "--editable", path)
    return Checkout(name, path, python)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let signals, also those to the processes that are started, wait for the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _remove(directory: str, worktree: str) -> None:
    command = ["git", "-C", ROOT, "worktree", "remove", "--force", worktree]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)  # was perhaps never made
    shutil.rmtree(directory, ignore_errors=True)


def _run(problem: str, *command: str) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise click.ClickException(f"{problem}: {command[0]} is not installed") from None
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
        raise click.ClickException(f"{problem}: {lines[-1]}")
    return ran.stdout
