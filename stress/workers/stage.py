"""What a fault has before it while a round goes on: the workers, the files, the clock, the log."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping

from judges.history import Kind, Recorder, value_of
from lamson_sqlite_state import SQLiteStorage

from .crew import Crew, Member, lock_holder
from .log import Log
from .setting import Board, Setting
from .worker import Driver

__all__ = ["Mishaps", "Stage"]


class Stage:
    """A round as the process sees it that runs it.

    Args:
        setting: of the round.
        board: of the round.
        crew: its processes.
        work: what a worker does, given its number.
    """

    def __init__(
        self, setting: Setting, board: Board, crew: Crew, work: Callable[[int], None]
    ) -> None:
        self.setting = setting
        self.board = board
        self.crew = crew
        self.random = random.Random(f"{setting.seed}/faults")
        self.log = Log(setting.directory)
        self._work = work

    @property
    def is_over(self) -> bool:
        """Whether the round is over."""
        return self.board.is_over(self.setting.until)

    @property
    def path(self) -> str:
        """The state file."""
        return self.setting.path

    def between(self, least: float, most: float) -> float:
        """Return a random number of seconds."""
        return self.random.uniform(least, most)

    def add_worker(self) -> Member:
        """Fork one more worker."""
        return self.crew.fork("worker", self._work)

    def any_worker(self) -> Member | None:
        """Return a random worker that is at work, if there is one."""
        working = self.crew.working()
        return self.random.choice(working) if working else None

    def stop_holder(self, patience_seconds: float = 0.5) -> Member | None:
        """Stop a worker that certainly holds the write lock, and return it.

        A look at the kernel's table of locks is old when it is read. So whoever holds the lock
        is stopped first; if the table then still says so, it will not let go of it.
        """
        until = time.monotonic() + patience_seconds
        while time.monotonic() < until and not self.is_over:
            holder = lock_holder(self.path + ".lock")
            for member in self.crew.working():
                if member.pid == holder:
                    member.signal(signal.SIGSTOP)
                    os.waitid(os.P_PID, member.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                    if lock_holder(self.path + ".lock") == member.pid:
                        return member
                    self.resume(member)
        return None

    def resume(self, member: Member, since_ns: int | None = None) -> None:
        """Let a stopped process go on; ``since_ns`` is when it was stopped."""
        if since_ns is not None:
            member.stops.append((since_ns, time.monotonic_ns()))
        member.signal(signal.SIGCONT)

    def kill(self, member: Member) -> None:
        """Kill a process at once."""
        self.crew.poll()
        if member.is_alive:
            member.killed_by = signal.SIGKILL
            member.signal(signal.SIGKILL)

    def driver(self, store: SQLiteStorage, process: int, thread: int) -> Driver:
        """Return what calls a store in this process, and records it under these numbers."""
        return Driver(self.setting, self.board, store, process, thread)


class Mishaps:
    """Records what a mishap, or another tool, did to the states, as if these were calls.

    Args:
        setting: of the round.
        process: FIRST_TOOL or FIRST_MISHAP, or a number behind it.
    """

    def __init__(self, setting: Setting, process: int) -> None:
        self._recorder = Recorder(setting.directory, process, 0)
        self._pairs = setting.pairs
        self.close = self._recorder.close

    def all_forgotten(self, begin_ns: int, end_ns: int) -> None:
        """Record that all states were forgotten at some instant in between."""
        self._recorder.call(Kind.CLEAR, 0, span=self._pairs.count, called_ns=begin_ns)
        self._recorder.returned(0, end_ns)

    def became(
        self, states: Mapping[tuple[str | bytes, str | bytes], str], begin_ns: int, end_ns: int
    ) -> None:
        """Record that all pairs took these states, or none where they are not named."""
        for key in range(self._pairs.count):
            state = states.get(self._pairs.columns(key))
            self.pair_became(key, state, begin_ns, end_ns)

    def pair_became(self, key: int, state: str | None, begin_ns: int, end_ns: int) -> None:
        """Record that a pair took a state, or was forgotten."""
        if state is None:
            self._recorder.call(Kind.CLEAR, key, called_ns=begin_ns)
        else:
            self._recorder.call(Kind.SET, key, value=value_of(state), called_ns=begin_ns)
        self._recorder.returned(0, end_ns)
