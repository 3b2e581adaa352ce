"""``lamson-state``, the operator's command: what it returns, and what it says when it cannot go on.

Its commands are in `_command`, which needs Click and Rich, the extra ``[cli]``. What they do is in
`maintenance` and `transfer`, which need neither.
"""

import io
import os
import sys
from collections.abc import Sequence

from ._exit_status import INTERRUPTED, PIPE_CLOSED, USAGE

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. Errors go to stderr, in one line.

    Args:
        arguments: of the command; by default, those that the program was called with.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what this terminal has no letter for
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        _say("interrupted: what was done is done, and a second run does the rest")
        return INTERRUPTED


def _run(arguments: Sequence[str] | None) -> int:
    try:
        from ._command import PipeClosed, run
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("click", "rich"):
            raise
        _say(f"{missing} is missing: pip install 'lamson-sqlite-state[cli]'")
        return USAGE
    try:
        status = run(arguments)
        sys.stdout.flush()
    except (PipeClosed, BrokenPipeError):
        # Whoever read our output has seen enough. Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return status


def _say(problem: str) -> None:
    print(f"lamson-state: {problem}", file=sys.stderr)
