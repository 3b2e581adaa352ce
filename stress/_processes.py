"""Writers as processes: started, listened to, and seen to their end."""

import os
import selectors
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import FileIO
from typing import Final, NoReturn, TypeAlias

__all__ = ["Source", "Tick", "Work", "end", "fork_writer", "listen"]

Tick: TypeAlias = Callable[[Sequence["Source"]], None]
"""What the parent does now and then while others write; they may be told apart by their pids."""

_PARENT_IS_GONE: Final = 2

Work: TypeAlias = Callable[[FileIO], None]
"""What a writer does; it announces it over the pipe that it is given."""


@dataclass
class Source:
    """A forked process, and the pipe over which it announces what it does.

    Args:
        name: for messages.
        number: of the process among all writers; 0 is this one.
        pipe: this process's end.
        pid: of the process.
        problem: how it ended, where that was not as it should have been.
    """

    name: str
    number: int
    pipe: FileIO
    pid: int
    problem: str | None = None
    unfinished_line: bytes = field(default=b"", repr=False)


def fork_writer(name: str, number: int, work: Work, others: Iterable[Source]) -> Source:
    """Start a writer in a process of its own.

    It ends with `os._exit`: with 0 once ``work`` returns, with 1 where it raised, and with 2
    where this process is gone.

    Args:
        name: for messages.
        number: of the process among all writers.
        work: what it does.
        others: the sources there are already.
    """
    reader, writer = _pipe()
    pid = os.fork()
    if not pid:
        # Copies of the other pipes would keep their writers from noticing that the parent died,
        # and the parent from noticing that they ended.
        for source in others:
            source.pipe.close()
        reader.close()
        _run_to_exit(work, writer)
    writer.close()
    return Source(name, number, reader, pid)


def listen(
    sources: Sequence[Source],
    hear: Callable[[str], None],
    until: float,
    tick: Tick,
) -> list[Source]:
    """Pass on every line until all writers have ended, or it is too late.

    Args:
        sources: whom to listen to.
        hear: is given each line, without its end.
        until: when to give up, by `time.monotonic`.
        tick: called several times a second, with the sources.

    Returns:
        The sources that had not ended in time.
    """
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source.pipe, selectors.EVENT_READ, source)
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(timeout=0.1):
                source = key.data
                received = os.read(source.pipe.fileno(), 1 << 16)
                *lines, source.unfinished_line = (source.unfinished_line + received).split(b"\n")
                for line in lines:
                    hear(line.decode())
                if not received:
                    selector.unregister(source.pipe)
            tick(sources)
        return [key.data for key in selector.get_map().values()]


def end(sources: Iterable[Source], stuck: Iterable[Source]) -> None:
    """Kill the processes that are stuck, reap all, and close every pipe."""
    for source in stuck:
        source.problem = "did not end in time"
        os.kill(source.pid, signal.SIGKILL)  # none is reaped yet: the number is still its own
    for source in sources:
        source.pipe.close()
        _, status = os.waitpid(source.pid, 0)
        source.problem = source.problem or _problem(os.waitstatus_to_exitcode(status))


def _problem(exit_code: int) -> str | None:
    if exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with {exit_code}" if exit_code else None


def _run_to_exit(work: Work, pipe: FileIO) -> NoReturn:
    try:
        # What the terminal's Ctrl-C is to end is all of us, and silently.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work(pipe)
        os._exit(0)
    except BrokenPipeError:
        os._exit(_PARENT_IS_GONE)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)


def _pipe() -> tuple[FileIO, FileIO]:
    reader, writer = os.pipe()
    return FileIO(reader, "r"), FileIO(writer, "w")
