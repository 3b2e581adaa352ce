"""Stores with many rows, what is in them, and what can be done to a bulk call in its middle."""

import dis
import functools
import gc
import itertools
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from types import CodeType, FrameType
from typing import Any, Final, ParamSpec, TypeVar

import pytest

import lamson_sqlite_state
from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.keys.rows import RawRow
from lamson_sqlite_state.sqlite.bulk import batches, scan
from tests.helpers.interruptions import arrival

__all__ = [
    "OLD_MS",
    "after_first",
    "beside",
    "fill",
    "pass_a_millisecond",
    "put",
    "raw_rows",
    "senders",
    "stricken",
    "two_at_a_time",
]

PACKAGE: Final = os.path.dirname(lamson_sqlite_state.__file__)

OLD_MS: Final = 1_600_000_000_000
"""A time years ago (Unix time in ms)."""

P = ParamSpec("P")
T = TypeVar("T")


def senders(count: int, state: str = "OLD", module: str = "app", prefix: str = "") -> list[RawRow]:
    """Return a row for each of so many senders, in the order of their keys."""
    return [(f"{prefix}{number:06}@example.com", module, state, OLD_MS) for number in range(count)]


def fill(path: str, rows: Iterable[RawRow]) -> None:
    """Make a store with these rows, closed again."""
    with SQLiteStorage(path, synchronous="NORMAL") as store:
        store.clear()
        batches.in_batches(store._handle, batches.insert, list(rows), "DO NOTHING")


def put(store: SQLiteStorage, *rows: RawRow) -> None:
    """Put rows of new pairs in."""
    batches.in_batches(store._handle, batches.insert, rows, "DO NOTHING")


def pass_a_millisecond() -> None:
    """Return when what is written has a later time than all that was."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now + 1:
        pass


def beside(target: str) -> list[str]:
    """Return what stands in the directory of a file."""
    return sorted(os.listdir(os.path.dirname(target)))


def raw_rows(path: str) -> list[RawRow]:
    """Return all rows of a sound file, in the order of their keys."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute(
            "SELECT sender, module, state, since FROM states ORDER BY sender, module"
        ).fetchall()


def two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a chunk be four rows, and a batch two."""
    monkeypatch.setattr(scan, "CHUNK_ROWS", 4)
    monkeypatch.setattr(batches, "BATCH_ROWS", 2)


def after_first(function: Callable[P, T], deed: Callable[[], object]) -> Callable[P, T]:
    """Return the function with something done after its first call, before it returns."""
    calls = [0]

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        returned = function(*args, **kwargs)
        calls[0] += 1
        if calls[0] == 1:
            deed()
        return returned

    return wrapped


def stricken(call: Callable[[], object], at: int, number: int) -> int:
    """Make a call and send this process a signal at so many places in the package's functions.

    A place is one at which the interpreter looks for signals: where a function begins, and behind
    a call and a loop. SIGKILL strikes at once, any other signal as `interruptions.arrival` says.

    Returns:
        How many there were before the call was done.
    """
    steps = 0
    is_over = False

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        places = _places(frame.f_code)  # asked for once: each look at f_code is an audit event

        def trace_opcodes(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal steps, is_over
            if event == "opcode" and frame.f_lasti in places:
                steps += 1
                if steps >= at and not is_over and not _is_in_a_finalizer(frame):
                    is_over = True
                    if number != signal.SIGKILL:
                        return arrival(number)
                    signal.raise_signal(number)
            return trace_opcodes

        frame.f_trace = trace_opcodes  # Python 3.13 heeds f_trace_opcodes only after that
        frame.f_trace_opcodes = True
        frame.f_trace_lines = sys.version_info >= (3, 13)  # as in `interrupted`
        return trace_opcodes

    before = sys.gettrace()
    gc.disable()
    # Python 3.12 traces opcodes only if the frame that calls settrace does.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return steps


def _is_in_a_finalizer(frame: FrameType | None) -> bool:
    """What is raised in one is lost."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


@functools.cache
def _places(code: CodeType) -> frozenset[int]:
    """Return the offsets of the instructions before which a signal may be noticed."""
    return frozenset(
        after.offset
        for before, after in itertools.pairwise(dis.get_instructions(code))
        if before.opname.startswith(("RESUME", "CALL", "JUMP_BACKWARD"))
    )
