"""What has happened so far, and waiting for what has to happen next."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from .errors import DemoError


class Happenings:
    """One place to wait in: for mail, for work done, and for the bad news that ends it all.

    The one condition guards the ledger and the post boxes. Whoever waits here wakes up
    when anything changes, and doesn't go on waiting for mail from a worker that has died.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._changed = threading.Condition()
        self._patience_seconds = patience_seconds
        self.failure: str | None = None

    @contextmanager
    def change(self) -> Iterator[None]:
        """Change what others wait for."""
        with self._changed:
            yield
            self._changed.notify_all()

    def fail(self, reason: str) -> None:
        """End all waiting with a DemoError; the first reason counts."""
        with self.change():
            self.failure = self.failure or reason

    def wait_for(self, has_happened: Callable[[], bool], what: str) -> None:
        """Return when it has happened; DemoError when something failed, or patience ran out."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.failure is not None or has_happened(), self._patience_seconds
            )
            if self.failure is not None:
                raise DemoError(self.failure)
            if not has_happened():
                raise DemoError(
                    f"waited {self._patience_seconds:g} s for {what}, in vain;"
                    " is the machine too busy? try --patience"
                )


class Ledger:
    """Which messages came in, and which worker handled each, with which outcome."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self.accepted: set[str] = set()
        self.handled: dict[str, str] = {}  # key of the message -> outcome
        self.handled_twice: list[str] = []
        self.outcomes: dict[int, Counter[str]] = defaultdict(Counter)  # by worker

    def accept(self, key: str) -> None:
        """Note a message that lies in the queue."""
        with self._happenings.change():
            self.accepted.add(key)

    def handle(self, worker: int, key: str, outcome: str) -> None:
        """Note that a worker is done with a message."""
        with self._happenings.change():
            if key in self.handled:
                self.handled_twice.append(key)
            self.handled[key] = outcome
            self.outcomes[worker][outcome] += 1

    def undelivered(self) -> int:
        """Return how many messages were handled in any way but the good one."""
        return sum(outcome != "handled" for outcome in self.handled.values())

    def wait_until_handled(self, key: str) -> None:
        """Return when a worker is done with this message."""
        self._happenings.wait_for(lambda: key in self.handled, "a message to be handled")

    def wait_for_room(self, at_most: int) -> None:
        """Return when no more than so many messages are in the queue or being handled."""
        self._happenings.wait_for(
            lambda: len(self.accepted) - len(self.handled) <= at_most,
            "the workers to get on with the queue",
        )


class PostBoxes:
    """The mail that the list has sent, by its recipient."""

    def __init__(self, happenings: Happenings) -> None:
        self._happenings = happenings
        self._boxes: dict[str, list[EmailMessage]] = defaultdict(list)
        self.arrived = 0

    def deliver(self, recipient: str, message: EmailMessage) -> None:
        """Put mail into somebody's box."""
        with self._happenings.change():
            self._boxes[recipient].append(message)
            self.arrived += 1

    def take(self, recipient: str, subject: str) -> EmailMessage:
        """Wait for the mail with this subject and take it out of the box."""
        self._happenings.wait_for(
            lambda: any(message["Subject"] == subject for message in self._boxes[recipient]),
            f"{subject!r} to reach {recipient}",
        )
        with self._happenings.change():
            box = self._boxes[recipient]
            return box.pop([message["Subject"] for message in box].index(subject))

    def take_all(self) -> list[tuple[str, EmailMessage]]:
        """Take what there is, with its recipients, without waiting."""
        with self._happenings.change():
            taken = [(who, message) for who, box in self._boxes.items() for message in box]
            self._boxes.clear()
            return taken
