"""All people live their lives, a few of them at a time."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable

from .errors import DemoError
from .people import Correspondent, Person
from .post import Postman
from .stage import Stage


class Crowd:
    """Lets people live in threads, each with an SMTP connection of its own.

    A thread takes one person after the other through all they do, so as many people are
    about at the same time as there are threads, and they know nothing of each other.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._happenings = stage.happenings
        self.posts = Counter[str]()  # by list

    def live(self, people: Iterable[Person], threads: int, on_finished: Callable[[], None]) -> None:
        """Return when all have lived as they should; DemoError at the first who couldn't."""
        waiting: queue.SimpleQueue[Person] = queue.SimpleQueue()
        for person in people:
            waiting.put(person)
        running = [
            threading.Thread(target=self._live_some, args=(waiting, on_finished))
            for _ in range(threads)
        ]
        try:
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
        except BaseException as interruption:
            # Else the threads that run already would wait for mail that nobody answers any more.
            self._happenings.fail(f"interrupted: {type(interruption).__name__}")
            for thread in running:
                if thread.is_alive():
                    thread.join()
            raise
        if self._happenings.failure is not None:
            raise DemoError(self._happenings.failure)

    def _live_some(
        self, waiting: queue.SimpleQueue[Person], on_finished: Callable[[], None]
    ) -> None:
        try:
            with self._stage.postman() as postman:
                while self._happenings.failure is None:
                    person = waiting.get_nowait()
                    self._live_one(person, postman)
                    on_finished()
        except queue.Empty:
            pass
        except (DemoError, OSError) as error:  # smtplib's errors are OSErrors
            self._happenings.fail(str(error) or type(error).__name__)
        except Exception as error:
            logging.exception("a thread of the crowd failed")
            self._happenings.fail(repr(error))

    def _live_one(self, person: Person, postman: Postman) -> None:
        correspondent = Correspondent(
            person.name, person.address, postman, self._stage.boxes, self._stage.ledger
        )
        try:
            person.fate.live(correspondent)
        except DemoError as error:
            raise DemoError(f"{person.address} ({person.fate.live.__name__}): {error}") from error
        with self._happenings.change():
            self.posts += correspondent.posts
