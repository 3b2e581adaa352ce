"""What struck when: the log that all processes of a round write to."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Log", "events_in"]

_NAME = "events.jsonl"


class Log:
    """One process's way to the log. Each line is one write, so lines never mix.

    Args:
        directory: of the round's records.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(
            directory / _NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )

    @contextmanager
    def struck(self, fault: str, what: str, **details: Any) -> Iterator[dict[str, Any]]:
        """Write down that a fault strikes, from when until when; more may be added meanwhile."""
        event = {"fault": fault, "what": what, "begin_ns": time.monotonic_ns(), **details}
        try:
            yield event
        finally:
            event["end_ns"] = time.monotonic_ns()
            os.write(self._descriptor, (json.dumps(event) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def events_in(directory: Path) -> list[dict[str, Any]]:
    """Return all that struck, in the order in which it began."""
    path = directory / _NAME
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted(map(json.loads, lines), key=lambda event: event["begin_ns"])
