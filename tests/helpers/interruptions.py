"""A signal that arrives at an instruction, exactly as the interpreter would handle it there."""

import _thread
import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from types import FrameType
from typing import Any, Final

import lamson_sqlite_state

__all__ = ["arrival", "interrupted"]

_PACKAGE: Final = os.path.dirname(lamson_sqlite_state.__file__)


class _Arrival:
    """Ends tracing, and then notes that a signal has arrived: in C alone, when it is formatted."""

    settrace = staticmethod(sys.settrace)
    tracing_ends = property(methodcaller("settrace", None))
    signal_arrives = property(methodcaller("arrive"))

    def __init__(self, number: int) -> None:
        # What the C handler of a signal does.
        self.arrive = partial(_thread.interrupt_main, signal.Signals(number))


def arrival(number: int) -> Callable[..., Any]:
    """Return a trace function that is no Python: tracing ends, and a signal has arrived.

    So the signal's handler runs where the interpreter next looks for signals, as it would without
    a tracer, and whether that is inside or outside of a ``with`` or ``try`` is the interpreter's
    own answer. What a trace function of Python's raises is raised before any instruction.
    """
    # It takes whatever arguments a trace function is given. It ends with the name of NoneType, as
    # to format None itself is to look for signals.
    return partial("{0.tracing_ends}{0.signal_arrives.__class__.__name__}".format, _Arrival(number))


def interrupted(call: Callable[[], object], at: int, *folders: str) -> int:
    """Make a call, and have SIGUSR1 arrive before one instruction of the package's functions.

    See `arrival`.

    Args:
        call: what to do.
        at: the number of the instruction, from 1; a large number only counts.
        folders: what else is interrupted besides the package.

    Returns:
        How many instructions there were, up to that one.
    """
    steps, send = 0, arrival(signal.SIGUSR1)

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.startswith((_PACKAGE, *folders)):
            return None
        frame.f_trace_opcodes = True
        # Before 3.13, what ends tracing at a line would be asked once more for the instruction;
        # from 3.13 on, instructions are traced together with lines only.
        frame.f_trace_lines = sys.version_info >= (3, 13)
        if event == "opcode":
            steps += 1
            if steps == at:
                return send
        return trace

    sys._getframe().f_trace_opcodes = True  # or Python 3.12 traces none in the first function
    before = sys.gettrace()
    gc.disable()  # what a handler raises in a finalizer is lost
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return steps
