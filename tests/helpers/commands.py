"""Calls ``lamson-state`` as a shell does: in this process, in one of its own, or on a terminal."""

import codecs
import errno
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import pytest

from lamson_sqlite_state import cli

__all__ = ["PROGRAM", "Ended", "Terminal", "on_terminal", "run_in_process", "started"]

PROGRAM: Final = [
    sys.executable,
    "-c",
    "import sys; from lamson_sqlite_state.cli import main; sys.exit(main())",
]

_TIMEOUT_SECONDS: Final = 30.0


class Ended(NamedTuple):
    """What a call of the command left.

    Attributes:
        status: its exit status.
        out: what it wrote to standard output.
        err: what it wrote to standard error.
    """

    status: int
    out: str
    err: str

    @property
    def cells(self) -> list[list[str]]:
        """The cells of its lines."""
        return [line.split("\t") for line in self.out.splitlines()]


def run_in_process(capfd: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Call the command in this process, with its output in a pipe as it were."""
    capfd.readouterr()
    status = cli.main(arguments)
    out, err = capfd.readouterr()
    return Ended(status, out, err)


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    """Start the command as a process, its streams in pipes."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=hear_ctrl_c,
    )


def hear_ctrl_c() -> None:
    """Undo what a shell does to the jobs that it starts in the background, and nohup."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Terminal:
    """A process on a terminal of its own.

    Attributes:
        pid: of the process.
        screen: all that it has written.
    """

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self._status: int | None = None
        self.screen = ""
        # Ctrl-C has the terminal drop what nobody has read yet, which may begin within a letter.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read_until(self, is_there: Callable[[str], bool]) -> str:
        """Return what was written, once a condition holds of it.

        Raises:
            AssertionError: it ended, or the time was up, before.
        """
        until = time.monotonic() + _TIMEOUT_SECONDS
        while not is_there(self.screen):
            ready, _, _ = select.select([self._descriptor], [], [], until - time.monotonic())
            assert ready, f"not there in time:\n{self.screen}"
            assert self._read(), f"ended without it:\n{self.screen}"
        return self.screen

    @property
    def text(self) -> str:
        """What it has written, without colours and the like."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.screen)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._descriptor, text.encode())

    def wait(self) -> int:
        """Return the exit status, once it has ended."""
        while self._read():
            pass
        if self._status is None:
            _, status = os.waitpid(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def _read(self) -> bool:
        try:
            chunk = os.read(self._descriptor, 65_536)
        except OSError as error:  # how Linux says that nobody has the terminal open any more
            if error.errno != errno.EIO:
                raise
            return False
        self.screen += self._decoder.decode(chunk)
        return bool(chunk)


@contextmanager
def on_terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run the command on a terminal of 120 columns that shows colours."""
    settings = {
        **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
        "TERM": "xterm-256color",
        "COLUMNS": "120",
        "LINES": "40",
        **environment,
    }
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=settings,
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(theirs)
    terminal = Terminal(process.pid, ours)
    try:
        yield terminal
        process.returncode = terminal.wait()
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
        os.close(ours)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    hear_ctrl_c()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a run of the tests under nohup ignores it
