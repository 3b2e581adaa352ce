"""Programs that are run as a person runs them, and what each took."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["ROOT", "Ran", "run_bare", "run_command"]

ROOT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_LAUNCH: Final = os.path.join(os.path.dirname(__file__), "_launch.py")

# What the installed script does, but of the package that this process has.
_COMMAND: Final = "import sys; from lamson_sqlite_state.cli import main; sys.exit(main())"


class Ran(NamedTuple):
    """What one run took.

    Attributes:
        start: when it was started, by `time.perf_counter`, which all processes share.
        end: when it had ended.
        processor_seconds: of all its threads.
        peak_bytes: the most that it had in memory.
    """

    start: float
    end: float
    processor_seconds: float
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """From the fork to the exit."""
        return self.end - self.start


def run_command(arguments: Sequence[str], *, may_find: bool = False) -> Ran:
    """Run ``lamson-state``.

    Args:
        arguments: of the command.
        may_find: whether its exit status may be 1, which says that there is a finding.

    Raises:
        RuntimeError: it failed.
    """
    return _run(["-c", _COMMAND, *arguments], (0, 1) if may_find else (0,))


def run_bare(work: str, paths: Sequence[str]) -> Ran:
    """Run one of the works of `_bare`, in a process as the command is one.

    Raises:
        RuntimeError: it failed.
    """
    return _run(["-m", "benchmarks.operator._bare", work, *paths], (0,))


def _run(arguments: Sequence[str], good: Sequence[int]) -> Ran:
    python = sys.executable
    ended = subprocess.run(
        [python, "-I", "-S", _LAUNCH, python, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode not in good:
        raise RuntimeError(f"{arguments[2:]} ended with {ended.returncode}: {ended.stderr}")
    start, end, processor, peak = ended.stdout.split()
    return Ran(float(start), float(end), float(processor), int(peak))
