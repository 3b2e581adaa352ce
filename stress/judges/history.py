"""Recorded histories: who called what, when, and what came of it; whatever became of the process.

Each thread has a file of fixed-size records, mapped into its memory. A call is recorded before it
is made and its result once it has returned, so the file of a killed process holds everything it
did: only the outcome of the call it died in is unknown. A record costs about 2 µs, no system
call, and no lock that would put the threads in step.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from lamson_sqlite_state import ROUTE_FIRST_STATE

__all__ = ["ABSENT", "DOUBTFUL", "START", "Kind", "Operation", "Recorder", "load", "new_value"]
__all__ += ["state_of", "value_of"]

START: Final = 0
"""The value that stands for ``ROUTE_FIRST_STATE``."""

ABSENT: Final = -1
"""The value of a pair that is not stored. It reads as START, but `set_all` passes it by."""

_FOREIGN: Final = -2
"""The value of a state that no recorded writer can have made."""

DOUBTFUL: Final = -3
"""The result of a call that has returned, but may have done its work on what no longer counts."""

_SEQUENCE_BITS: Final = 32
_THREAD_BITS: Final = 8


class Kind(IntEnum):
    """What was called."""

    GET = 1
    SET = 2
    CLEAR = 3
    SET_ALL = 4
    COMPARE_AND_SET = 5


class Operation(NamedTuple):
    """One call of one thread.

    Args:
        process: its number; 0 is the parent.
        thread: its number in the process.
        kind: what was called.
        key: the number of the first pair that it covers.
        span: how many pairs it covers, from ``key`` on; more than one for `set_all` and `clear`.
        value: what it was to write.
        expected: by `compare_and_set`.
        result: the value of a `get`, the count of a `set_all`, 1 or 0 of a `compare_and_set`.
        called_ns: `time.monotonic_ns` before the call, which all processes of a host share.
        returned_ns: the same after it. None: the outcome is unknown.
    """

    process: int
    thread: int
    kind: Kind
    key: int
    span: int
    value: int
    expected: int
    result: int
    called_ns: int
    returned_ns: int | None

    @property
    def is_known(self) -> bool:
        """Whether it is known what came of it: it has returned, and what it returned counts."""
        return self.returned_ns is not None and self.result != DOUBTFUL


def new_value(process: int, thread: int, number: int) -> int:
    """Return the value of a thread's ``number``-th new state, from 1 on; no other has it."""
    return ((process << _THREAD_BITS | thread) << _SEQUENCE_BITS) + number


def state_of(value: int) -> str:
    """Return a value as the state that is stored for it."""
    if value < START:
        return "nothing" if value == ABSENT else "a foreign state"
    if value == START:
        return ROUTE_FIRST_STATE
    writer, number = divmod(value, 1 << _SEQUENCE_BITS)
    process, thread = divmod(writer, 1 << _THREAD_BITS)
    return f"S{process}.{thread}.{number}"


def value_of(state: str) -> int:
    """Return the value that a state stands for; one nobody can have written has its own."""
    if state == ROUTE_FIRST_STATE:
        return START
    try:
        value = new_value(*map(int, state.removeprefix("S").split(".")))
    except (TypeError, ValueError):
        return _FOREIGN
    return value if state_of(value) == state else _FOREIGN


# Native alignment: every field is stored at once, so that none is ever read half-written.
_CALL: Final = struct.Struct("@iiqqq")  # key, span, value, expected, called_ns
_RESULT: Final = struct.Struct("@qq")  # result, returned_ns
_KIND_AT: Final = 0
_CALL_AT: Final = 8
_RESULT_AT: Final = _CALL_AT + _CALL.size
_RECORD_BYTES: Final = 64
_CHUNK_BYTES: Final = 1 << 20  # a multiple of the record's and the page's size; sparse
_READ_BYTES: Final = 1 << 16


class Recorder:
    """Where one thread records its calls, one after the other.

    Args:
        directory: of the whole history. The file is named after the thread.
        process: its number.
        thread: its number.
    """

    def __init__(self, directory: Path, process: int, thread: int) -> None:
        self.process = process
        self.thread = thread
        self._file = os.open(
            directory / f"{process}.{thread}.history", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600
        )
        self._end = 0
        self._chunk: mmap.mmap
        self._at = _CHUNK_BYTES
        self.called_ns = 0
        """When the last call was made."""
        # Now, and much at once: growing takes a descriptor, which there may be none left of.
        self._grow()
        self._at -= _RECORD_BYTES

    def call(
        self,
        kind: Kind,
        key: int,
        span: int = 1,
        value: int = 0,
        expected: int = 0,
        called_ns: int | None = None,
    ) -> None:
        """Record that a call is about to be made, or was at a time that is given.

        The one before it, unless `returned` or `refused` was said of it, is of unknown outcome.
        """
        self._at += _RECORD_BYTES
        if self._at >= _CHUNK_BYTES:
            self._grow()
        self.called_ns = called_ns = called_ns or time.monotonic_ns()
        _CALL.pack_into(self._chunk, self._at + _CALL_AT, key, span, value, expected, called_ns)
        # Last, as it makes the record one: whoever is killed before has not made the call.
        self._chunk[self._at + _KIND_AT] = kind

    def returned(self, result: int = 0, returned_ns: int | None = None) -> None:
        """Record that the call has returned, now or at a time that is given."""
        returned_ns = returned_ns or time.monotonic_ns()
        # The time comes last: a record without it is one of unknown outcome.
        _RESULT.pack_into(self._chunk, self._at + _RESULT_AT, result, returned_ns)

    def refused(self) -> None:
        """Record that the call has raised, and that certainly nothing was written."""
        self._chunk[self._at + _KIND_AT] = 0
        self._at -= _RECORD_BYTES

    def close(self) -> None:
        """Close the file; the last call stays as it is."""
        os.close(self._file)

    def _grow(self) -> None:
        os.ftruncate(self._file, self._end + _CHUNK_BYTES)
        self._chunk = mmap.mmap(self._file, _CHUNK_BYTES, offset=self._end)
        self._end += _CHUNK_BYTES
        self._at = 0


def load(directory: Path) -> list[Operation]:
    """Return all operations that were recorded in a directory, in the order of their calls."""
    operations = [
        operation for path in directory.glob("*.history") for operation in _operations_in(path)
    ]
    return sorted(operations, key=lambda operation: operation.called_ns)


def _operations_in(path: Path) -> Iterator[Operation]:
    process, thread, _ = path.name.split(".")
    with path.open("rb") as file:
        while content := file.read(_READ_BYTES):
            for at in range(0, len(content), _RECORD_BYTES):
                if not content[at + _KIND_AT]:
                    return
                key, span, value, expected, called_ns = _CALL.unpack_from(content, at + _CALL_AT)
                result, returned_ns = _RESULT.unpack_from(content, at + _RESULT_AT)
                yield Operation(
                    int(process),
                    int(thread),
                    Kind(content[at + _KIND_AT]),
                    key,
                    span,
                    value,
                    expected,
                    result,
                    called_ns,
                    returned_ns or None,
                )
