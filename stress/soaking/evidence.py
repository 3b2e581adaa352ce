"""What a round left in its directory, read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import FAULTS, Fault
from judges.history import Operation, load
from workers.caller import Pairs
from workers.log import events_in

__all__ = ["Evidence", "evidence_in"]


@dataclass(frozen=True)
class Evidence:
    """What a round left.

    Args:
        record: what the process that ran it wrote down at the end.
        faults: that struck.
        history: all recorded calls, by the time of the call.
        errors: all that calls raised.
        events: all that struck.
    """

    record: Mapping[str, Any]
    faults: Sequence[Fault]
    history: Sequence[Operation]
    errors: Sequence[Mapping[str, Any]]
    events: Sequence[dict[str, Any]]

    @property
    def pairs(self) -> Pairs:
        """Which pairs there were."""
        return Pairs(**self.record["setting"]["pairs"])


def evidence_in(directory: Path) -> Evidence:
    """Read what a round left in its directory."""
    record = json.loads((directory / "round.json").read_text())
    return Evidence(
        record,
        [FAULTS[name] for name in record["faults"]],
        load(directory),
        sorted(_errors_in(directory), key=lambda error: error["raised_ns"]),
        events_in(directory),
    )


def _errors_in(directory: Path) -> Iterator[dict[str, Any]]:
    for path in directory.glob("*.errors"):
        process, thread, _ = path.name.split(".")
        for line in path.read_text().splitlines():
            yield json.loads(line) | {"process": int(process), "thread": int(thread)}
