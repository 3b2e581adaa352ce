"""What a fault is: what it does, what it allows to happen, and what it never allows."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import ClassVar

from workers.stage import Stage
from workers.worker import Worker

__all__ = ["NEVER", "Fault", "WritersWait"]

NEVER = "a wrong answer, a lost acknowledged write, a hang beyond the timeout, a corrupt file"
"""What no fault allows."""


class Fault:
    """One way in which a day can go wrong. The base does nothing and allows nothing.

    Attributes:
        name: for the command line.
        about: what it does, in words.
        allows: what may happen because of it, in words.
        errors: which errors calls may raise meanwhile: the name of the class (or of one of its
            bases), and a text that the message has.
        exit_codes: how workers may end, beside with 0 and by our own SIGKILL.
        debris: which files may lie about after all have ended, beside the store's own.
        timeout: of the stores, in seconds.
        workers: how many there must be at least, or None.
        is_alone: whether it cannot be combined with others.
        is_even: whether the workers must still get equal shares of the time.
        with_parent: whether the process that forks uses the store meanwhile.
        wrong_clock: whether `since` may be any time.
        keeps_descriptors: whether workers may have some files open when the store is closed.
        log_factor: how many times as large as otherwise the log may become.
        with_clear: whether some of the calls are `clear`.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    allows: ClassVar[str] = "nothing beyond the ordinary"
    errors: ClassVar[tuple[tuple[str, str], ...]] = ()
    exit_codes: ClassVar[tuple[int, ...]] = ()
    debris: ClassVar[tuple[str, ...]] = ()
    timeout: ClassVar[float] = 10.0
    workers: ClassVar[int | None] = None
    is_alone: ClassVar[bool] = False
    is_even: ClassVar[bool] = False
    with_parent: ClassVar[bool] = True
    wrong_clock: ClassVar[bool] = False
    keeps_descriptors: ClassVar[bool] = False
    log_factor: ClassVar[int] = 1
    with_clear: ClassVar[bool] = True

    def missing(self) -> str | None:
        """Return why it cannot be had on this machine, or None."""
        return None

    @contextmanager
    def place(self, directory: Path) -> Iterator[Path]:
        """Give the directory in which the store is to be; by default the soak's own."""
        yield directory

    def strikes(self, stage: Stage) -> Iterator[float]:
        """Strike again and again; each number yielded is the seconds to let pass.

        Closed at the end of the round: what must be put right stands in a ``finally``.
        """
        yield from ()

    def inside(self, worker: Worker) -> AbstractContextManager[object]:
        """Be in force in a worker while it works."""
        return nullcontext()


class WritersWait(Fault):
    """A fault that keeps all writers waiting. In each worker, one more thread only reads.

    Without `clear`, as the first read of a pair stores START, and waits for the writers then.
    """

    reader_thread: ClassVar[int] = 100
    with_clear = False

    def inside(self, worker: Worker) -> AbstractContextManager[object]:
        reader = worker.driver(self.reader_thread)
        return worker.thread(lambda: reader.read_on([0], pause_seconds=0.005))
