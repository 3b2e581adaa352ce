"""What one process does in a round: its threads call the store until the round is over."""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from judges.history import Recorder
from lamson_sqlite_state import SQLiteStorage, StorageError

from .caller import Caller
from .log import Log
from .setting import GRANDCHILDREN, Board, Setting

__all__ = ["Driver", "Worker"]

# So that two threads of a process take turns inside of calls and not only between them.
_SWITCH_SECONDS: Final = 0.0001

# How many of the calls are followed by a `close` of the whole process's store.
_CLOSE_SHARE: Final = 0.002

_JOIN_SECONDS: Final = 60.0


class Driver:
    """One thread's calls on the store, recorded, with every error that it met.

    Whatever is raised is written down; whether it was allowed is judged later. What a
    `StorageError` says of the outcome is believed: that is one of the promises.

    Args:
        setting: of the round.
        board: of the round.
        store: is called.
        process: the number of this process.
        thread: a number that no other thread, handler or child of this process has.
    """

    def __init__(
        self, setting: Setting, board: Board, store: SQLiteStorage, process: int, thread: int
    ) -> None:
        self._setting = setting
        self._board = board
        self._store = store
        self._random = random.Random(f"{setting.seed}/{process}/{thread}")
        self._recorder = Recorder(setting.directory, process, thread)
        # Open from the start: errors are to be noted when no descriptors are left, too.
        self._errors = os.open(
            setting.directory / f"{process}.{thread}.errors",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC,
            0o600,
        )
        owner = process * setting.threads + thread
        has_own = thread < setting.threads and owner < setting.pairs.own
        self.caller = Caller(
            store,
            setting.pairs,
            self._recorder,
            self._random,
            self._on_error,
            owner if has_own else None,
        )

    def act(self) -> None:
        """Make one call."""
        is_clear = self._random.random() < self._setting.clear_share
        if is_clear and time.monotonic() < self._setting.clear_until:
            self.caller.clear()
        else:
            self.caller.act()
        if self._random.random() < _CLOSE_SHARE:
            self._close()
        self._board.count(self._recorder.process, self._recorder.thread)

    def run(self) -> None:
        """Make calls until the round is over."""
        board, until = self._board, self._setting.until
        while not board.is_over(until):
            self.act()

    def read_on(self, keys: Sequence[int], pause_seconds: float) -> None:
        """Read these pairs again and again until the round is over."""
        while not self._board.is_over(self._setting.until):
            self.caller.read(keys)
            time.sleep(pause_seconds)

    def _close(self) -> None:
        # No call of the history: closing changes no state, and the next call opens again.
        try:
            self._store.close()
        except Exception as error:  # noqa: BLE001 - judged with the others
            self._on_error(error)

    def close(self) -> None:
        """Close the records."""
        self._recorder.close()
        os.close(self._errors)

    def _on_error(self, error: Exception) -> bool:
        note = {
            "called_ns": self._recorder.called_ns,
            "raised_ns": time.monotonic_ns(),
            "types": [kind.__name__ for kind in type(error).__mro__],
            "message": str(error),
        }
        os.write(self._errors, (json.dumps(note) + "\n").encode())
        return isinstance(error, StorageError) and error.code != "outcome-unknown"


class Worker:
    """One process of a round, from inside.

    Args:
        setting: of the round.
        board: of the round.
        store: as it was before the fork, perhaps in use by threads that did not come along.
        number: of the process.
    """

    def __init__(self, setting: Setting, board: Board, store: SQLiteStorage, number: int) -> None:
        self.setting = setting
        self.board = board
        self.store = store
        self.number = number
        self.random = random.Random(f"{setting.seed}/{number}")
        self.log = Log(setting.directory)
        self.problems: list[BaseException] = []

    @property
    def is_over(self) -> bool:
        """Whether the round is over."""
        return self.board.is_over(self.setting.until)

    def driver(self, thread: int, process: int | None = None) -> Driver:
        """Return what makes calls and records them as a thread of this process, or of another."""
        number = self.number if process is None else process
        return Driver(self.setting, self.board, self.store, number, thread)

    def grandchild(self) -> Driver:
        """Return the driver of this process, which a worker has forked."""
        return self.driver(0, GRANDCHILDREN + os.getpid())

    @contextmanager
    def thread(self, work: Callable[[], None]) -> Iterator[None]:
        """Let a thread of its own do something beside the load; it must end with the round."""

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised by `run` in the main thread
                self.problems.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        thread.join(_JOIN_SECONDS)
        if thread.is_alive():
            raise TimeoutError("a thread did not end with the round")

    def drivers(self) -> list[Driver]:
        """Return what makes the calls of all threads. To be asked for before faults strike."""
        return [self.driver(number) for number in range(self.setting.threads)]

    def run(self, drivers: Sequence[Driver]) -> None:
        """Let all threads make calls until the round is over.

        The first is the main thread, so that signal handlers, which Python runs there, come in
        between the steps of its calls.

        Raises:
            Exception: what a thread has raised.
        """
        sys.setswitchinterval(_SWITCH_SECONDS)
        with ExitStack() as stack:
            for driver in drivers[1:]:
                stack.enter_context(self.thread(driver.run))
            drivers[0].run()
        if self.problems:
            raise self.problems[0]
