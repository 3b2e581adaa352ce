"""What a round left in its directory, read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from faults import FAULTS, Fault
from judges.history import Kind, Operation, load
from workers.caller import Pairs
from workers.log import events_in
from workers.setting import AUDITOR

__all__ = ["Evidence", "calls_of", "evidence_in"]


@dataclass(frozen=True)
class Evidence:
    """What a round left.

    Args:
        record: what the process that ran it wrote down at the end.
        faults: that struck.
        history: all recorded calls, by the time of the call.
        errors: all that calls raised.
        events: all that struck.
        since_ns: when each pair entered its state, as the file says, by `time.monotonic_ns`.
    """

    record: Mapping[str, Any]
    faults: Sequence[Fault]
    history: Sequence[Operation]
    errors: Sequence[Mapping[str, Any]]
    events: Sequence[dict[str, Any]]
    since_ns: Mapping[int, int]

    @cached_property
    def first_calls(self) -> Mapping[int, int]:
        """When each value was first written, by the time of the call."""
        found: dict[int, int] = {}
        for operation in self.history:
            if operation.kind != Kind.GET:
                found.setdefault(operation.value, operation.called_ns)
        return found

    @property
    def pairs(self) -> Pairs:
        """Which pairs there were."""
        return Pairs(**self.record["setting"]["pairs"])


def calls_of(history: Sequence[Operation]) -> list[Operation]:
    """Return what was called on stores: not what the auditor read, and not what mishaps did."""
    return [operation for operation in history if operation.process < AUDITOR]


def evidence_in(directory: Path) -> Evidence:
    """Read what a round left in its directory."""
    record = json.loads((directory / "round.json").read_text())
    return Evidence(
        record,
        [FAULTS[name] for name in record["faults"]],
        load(directory),
        sorted(_errors_in(directory), key=lambda error: error["raised_ns"]),
        events_in(directory),
        {int(k): ns for k, ns in json.loads((directory / "since.json").read_text()).items()},
    )


def _errors_in(directory: Path) -> Iterator[dict[str, Any]]:
    for path in directory.glob("*.errors"):
        process, thread, _ = path.name.split(".")
        for line in path.read_text().splitlines():
            yield json.loads(line) | {"process": int(process), "thread": int(thread)}
