"""Other processes with stores of their own, told what to do one call at a time.

An interleaving of processes is written down as a test's lines are: `first.set(...)`,
`second.get(...)`. Each call returns only when the other process has done it.
"""

import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from types import TracebackType
from typing import Any, Self

from lamson_sqlite_state import SQLiteStorage

REPLY_SECONDS = 40


class Actor:
    """A forked process with a store on ``path``; its methods are the store's.

    What the store raises there is raised here. The process ends with `os._exit`, and leaving the
    ``with`` block asserts that its exit status was 0.
    """

    def __init__(self, path: str, **options: Any) -> None:
        self._mine, its = Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._mine.close()
            _serve(its, path, options)
        its.close()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``function(store, *arguments)`` in the other process and return its result."""
        self.begin(function, *arguments)
        return self.result()

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Start a call; `result` waits for it."""
        self._mine.send((function, arguments))

    def result(self) -> Any:
        """Return or raise what the call begun last came to."""
        assert self._mine.poll(REPLY_SECONDS), f"process {self.pid} does not answer"
        is_error, value = self._mine.recv()
        if is_error:
            raise value
        return value

    def is_busy(self, seconds: float) -> bool:
        """Whether the call begun last is still under way after so many seconds."""
        return not self._mine.poll(seconds)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.call(getattr(SQLiteStorage, name), *arguments)

    def stop(self) -> None:
        """Freeze the process wherever it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process as a crash would, and reap it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if not self.pid:
            self._mine.close()
            return
        if kind is None:
            # Said aloud, as the end of the pipe is not seen: later actors inherited our side.
            self._mine.send(None)
        else:  # the test failed already: do not wait for anything
            os.kill(self.pid, signal.SIGKILL)
        self._mine.close()
        _, status = os.waitpid(self.pid, 0)
        assert kind is not None or status == 0, f"process {self.pid} ended with {status}"


def _serve(pipe: Connection, path: str, options: dict[str, Any]) -> None:
    status = 1
    try:
        store = SQLiteStorage(path, **options)
        while True:
            order = pipe.recv()
            if order is None:
                status = 0
                break
            function, arguments = order
            try:
                pipe.send((False, function(store, *arguments)))
            except Exception as error:  # noqa: BLE001 (all of them are the caller's to see)
                pipe.send((True, error))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)
