"""``lamson-state``, the operator's command: what it returns, and what it says when it cannot go on.

Its commands are in `_group`, which needs Click and Rich, the extra ``[cli]``. What they do is in
`maintenance` and `transfer`, which need neither.
"""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

__all__ = ["main"]

# Exit statuses, beside those of `_commands._session`, which needs Click.
_USAGE: Final = 2
_INTERRUPTED: Final = 130  # as a shell reports a SIGINT
_PIPE_CLOSED: Final = 141  # as a shell reports a SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. Errors go to stderr, in one line.

    Args:
        arguments: of the command; by default, those that the program was called with.
    """
    if not _have_streams():
        _say("standard output is closed: give it a file, or /dev/null")
        return _USAGE
    try:
        with _ended_with_care():
            return _run(arguments)
    except KeyboardInterrupt:
        _say("interrupted: what was done is done, and a second run does the rest")
        return _INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    try:
        from ._group import run
        from ._session import PipeClosed
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        _say(f"{missing} is missing: pip install 'lamson-sqlite-state[cli]'")
        return _USAGE
    try:
        status = run(arguments)
        sys.stdout.flush()
    except (PipeClosed, BrokenPipeError):
        _drop_output()  # whoever read it has seen enough
        return _PIPE_CLOSED
    except OSError as error:
        _drop_output()
        _say(f"standard output: {error.strerror or error}")
        return _USAGE
    return status


def _have_streams() -> bool:
    """Set the streams up; return whether there is one for the results.

    A shell may have closed them (>&-). Then the next file to be opened, the store's, would take
    the descriptor.
    """
    has_output = sys.stdout is not None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what this terminal has no letter for
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        # Who reads JSON expects it, whatever the locale.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return has_output


def _drop_output() -> None:
    # Of what cannot be written, Python would complain at its exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _ended_with_care() -> Iterator[None]:
    """Have SIGTERM and SIGHUP leave no unfinished file, and no terminal that shows no cursor."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL  # nohup ignores one
    ]
    try:
        for number in ours:
            signal.signal(number, _end)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # as a shell reports it


def _say(problem: str) -> None:
    print(f"lamson-state: {problem}", file=sys.stderr)
