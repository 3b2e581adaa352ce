"""``lamson-state``, the operator's command: `main` runs it and returns its exit status.

The commands themselves stand in `_group` and below. These modules need Click and Rich, which the
extra ``[cli]`` installs; this module needs neither, so that it can name the extra where they are
missing. The work of the commands is done by `maintenance` and `transfer`.
"""

import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ._status import INTERRUPTED, PIPE_CLOSED, USAGE, of_signal

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. An error is one line on stderr.

    To be called in the main thread, because it sets handlers for SIGTERM and SIGHUP.

    Args:
        arguments: the command's arguments; by default, those of this program.

    Raises:
        SystemExit: SIGTERM or SIGHUP ended the command.
    """
    if not _prepare_streams():
        _say("standard output is closed: give it a file, or /dev/null")
        return USAGE
    try:
        with _cleanup_on_signals():
            return _run(arguments)
    except KeyboardInterrupt:
        _say("interrupted: what was done is done, and a second run does the rest")
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    try:
        from ._group import run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        _say(f"{missing} is missing: pip install 'lamson-sqlite-state[cli]'")
        return USAGE
    try:
        status = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _drop_output()
        return PIPE_CLOSED
    except OSError as error:
        _drop_output()
        _say(f"standard output: {error.strerror or error}")
        return USAGE
    return status


def _prepare_streams() -> bool:
    """Set up the standard streams; return whether standard output was open.

    A shell can close a stream (``>&-``). Put /dev/null in the place of each closed one, because
    the next file to be opened, the store's, would get the stream's descriptor.
    """
    has_output = sys.stdout is not None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - open until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Escape the letters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        # Programs that read JSON expect UTF-8, whatever the locale.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    return has_output


def _drop_output() -> None:
    # Python flushes standard output at its exit, and would complain a second time.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _cleanup_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, which runs every ``finally``.

    So no unfinished file stays, and no terminal is left without a cursor.
    """
    numbers = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL  # under nohup, SIGHUP stays ignored
    ]
    try:
        for number in numbers:
            signal.signal(number, _exit)
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(of_signal(number))


def _say(problem: str) -> None:
    print(f"lamson-state: {problem}", file=sys.stderr)
