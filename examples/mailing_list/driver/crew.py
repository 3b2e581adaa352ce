"""The parent's side of the forks: starts the workers, hears their reports, ends them."""

import json
import logging
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable

from .ledger import Happenings, Ledger
from .worker import work

END_SECONDS = 10.0


class Crew:
    """Forked workers on one queue.

    They end when the crew is dismissed, and also when this process dies in any way
    whatever, since their lifeline is a pipe that only this process holds open.
    """

    def __init__(self, happenings: Happenings, ledger: Ledger) -> None:
        self._happenings = happenings
        self._ledger = ledger
        self._reports: dict[int, int] = {}  # read end -> number of the worker
        self._listener = threading.Thread(target=self._listen, name="reports")
        self._is_dismissed = False
        self.pids: dict[int, int] = {}  # number -> pid, also of those that have ended
        self.exit_codes: dict[int, int] = {}  # number -> code, negative for a signal

    def fork(self, count: int, close_in_child: Callable[[], None]) -> None:
        """Start the workers. To be called before this process has any other thread."""
        self._lifeline_end, self._lifeline = os.pipe()
        try:
            for number in range(1, count + 1):
                read_end, write_end = os.pipe()
                pid = os.fork()
                if pid == 0:
                    self._be_a_worker(read_end, write_end, close_in_child)
                os.close(write_end)
                self.pids[number] = pid
                self._reports[read_end] = number
        finally:
            os.close(self._lifeline_end)
            self._listener.start()

    def dismiss(self) -> None:
        """End all workers, once each has done what it holds. Those that don't end are killed."""
        if self._is_dismissed or not self.pids:
            return
        self._is_dismissed = True
        os.close(self._lifeline)
        deadline = time.monotonic() + END_SECONDS
        # A worker's pipe ends when the worker does.
        self._listener.join(END_SECONDS)
        for number, pid in self.pids.items():
            while number not in self.exit_codes and time.monotonic() < deadline:
                self._reap(number, os.WNOHANG)
                if number not in self.exit_codes:
                    time.sleep(0.005)
            if number not in self.exit_codes:
                os.kill(pid, signal.SIGKILL)
                self._reap(number, 0)
        self._listener.join()

    def failures(self) -> list[str]:
        """Say which workers did not end as they should have."""
        return [
            f"worker {number} (pid {self.pids[number]}) ended with {code}"
            for number, code in sorted(self.exit_codes.items())
            if code != 0
        ]

    def _be_a_worker(
        self, read_end: int, write_end: int, close_in_child: Callable[[], None]
    ) -> None:
        code = 1
        try:
            # Else each worker would hold the others' lifeline open, and none would ever end.
            os.close(self._lifeline)
            for descriptor in (read_end, *self._reports):
                os.close(descriptor)
            close_in_child()
            work(self._lifeline_end, write_end)
            code = 0
        except BaseException:
            logging.exception("worker failed")
        finally:
            # Not sys.exit: the parent's command, with all its clean-up, is on this stack.
            logging.shutdown()
            os._exit(code)

    def _listen(self) -> None:
        rests = dict.fromkeys(self._reports, b"")
        with selectors.DefaultSelector() as selector:
            for descriptor in rests:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                for ready, _ in selector.select():
                    descriptor = ready.fd
                    number = self._reports[descriptor]
                    if not (data := os.read(descriptor, 65_536)):
                        selector.unregister(descriptor)
                        os.close(descriptor)
                        self._has_left(number)
                        continue
                    *lines, rests[descriptor] = (rests[descriptor] + data).split(b"\n")
                    for line in lines:
                        self._ledger.handle(number, *json.loads(line))

    def _has_left(self, number: int) -> None:
        if not self._is_dismissed:
            self._happenings.fail(
                f"worker {number} (pid {self.pids[number]}) ended before its time;"
                " use --keep DIR and see DIR/logs/salmon.log"
            )

    def _reap(self, number: int, options: int) -> None:
        pid, status = os.waitpid(self.pids[number], options)
        if pid:
            self.exit_codes[number] = os.waitstatus_to_exitcode(status)
