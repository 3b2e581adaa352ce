"""The application with its workers and mail servers: started in order, and ended in order."""

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from salmon.routing import Router

from .application import boot, installed
from .crew import Crew
from .ledger import Happenings, Ledger, PostBoxes
from .post import Collector, MailServers, Postman, Receiver


class Stage:
    """All that is running, and what is known of it."""

    def __init__(self, patience_seconds: float) -> None:
        self.happenings = Happenings(patience_seconds)
        self.ledger = Ledger(self.happenings)
        self.boxes = PostBoxes(self.happenings)
        self.servers = MailServers()
        self.crew = Crew(self.happenings, self.ledger)
        self._patience_seconds = patience_seconds

    def postman(self) -> Postman:
        """Return a new connection to the list's mail server."""
        return Postman(self.servers.incoming_port, self._patience_seconds)


@contextmanager
def staged(workers: int, patience_seconds: float, keep: Path | None) -> Iterator[Stage]:
    """Start everything, and end everything that was started, whatever happens in between."""
    with ExitStack() as stack:
        stack.enter_context(installed(keep))
        stage = Stage(patience_seconds)
        # Stopped after the workers, who may have mail to send to the very end.
        stack.callback(stage.servers.stop)
        boot(stage.servers.outgoing_port)
        store = Router.STATE_STORE
        stack.callback(store.close)
        # The store is open now, when this process forks. That is what others must not do.
        store.set_all("nobody@lists.example", "START")
        stack.callback(stage.crew.dismiss)
        signal.signal(signal.SIGTERM, _leave)
        stage.crew.fork(workers, stage.servers.close_sockets)
        stage.servers.start(Receiver("run/queue", stage.ledger), Collector(stage.boxes))
        yield stage


def _leave(signal_number: int, frame: FrameType | None) -> None:
    """End in good order on SIGTERM, as on Ctrl-C."""
    sys.exit(128 + signal_number)
