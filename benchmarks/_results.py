"""All that one run has found, in a JSON file."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Self

from ._comparison import PeerRow
from ._contention import Crowd, Waiting
from ._environment import Environment
from ._rows import Row

__all__ = ["COMMITTED", "RESULTS", "Results", "in_lines"]

RESULTS: Final = os.path.join(os.path.dirname(__file__), "results")
COMMITTED: Final = os.path.join(RESULTS, "full.json")
"""The last full run. Other runs are no part of the project."""


@dataclass(frozen=True)
class Results:
    """One run.

    Args:
        effort: its name: how much was done.
        environment: where.
        rows: what was compared with limits.
        waiting: 8 processes that pause between their writes; rounds by name.
        peers: each kind of work, done by each peer.
        crowds: processes that write without a pause.
    """

    effort: str
    environment: Environment
    rows: Sequence[Row]
    waiting: dict[str, list[Waiting]]
    peers: Sequence[PeerRow]
    crowds: Sequence[Crowd]

    @property
    def missed(self) -> list[str]:
        """The rows on the wrong side of their limits."""
        return [row.label for row in self.rows if row.is_missed]

    def save(self, path: str) -> None:
        """Write every round's values."""
        document = {
            "effort": self.effort,
            "environment": self.environment,
            "rows": [row.as_json() for row in self.rows],
            "waiting": {
                name: [asdict(each) for each in rounds] for name, rounds in self.waiting.items()
            },
            "peers": [row.as_json() for row in self.peers],
            "crowds": [crowd.as_json() for crowd in self.crowds],
        }
        with open(path, "w") as file:
            # A line for each list of numbers: readable, and a run's changes are too.
            file.write(in_lines(document))
            file.write("\n")

    @classmethod
    def load(cls, path: str) -> Self:
        """Return what `save` has written.

        Raises:
            FileNotFoundError: there was no such run.
        """
        with open(path) as file:
            document = json.load(file)
        return cls(
            document["effort"],
            document["environment"],
            [Row.from_json(row) for row in document["rows"]],
            {
                name: [Waiting(**each) for each in rounds]
                for name, rounds in document["waiting"].items()
            },
            [PeerRow.from_json(row) for row in document["peers"]],
            [Crowd.from_json(crowd) for crowd in document["crowds"]],
        )

    @classmethod
    def committed(cls) -> Self | None:
        """Return the last full run, if there was one."""
        try:
            return cls.load(COMMITTED)
        except FileNotFoundError:
            return None


def in_lines(value: object, indent: str = "") -> str:
    """Return a document as JSON, with a line for each list of numbers."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict) and value:
        inner = ",\n".join(
            f"{indent} {json.dumps(key)}: {in_lines(each, indent + ' ')}"
            for key, each in value.items()
        )
        return f"{{\n{inner}\n{indent}}}"
    if isinstance(value, list | tuple):
        parts = [in_lines(each, indent + " ") for each in value]
        if any("\n" in part for part in parts):
            inner = ",\n".join(f"{indent} {part}" for part in parts)
            return f"[\n{inner}\n{indent}]"
        return f"[{', '.join(parts)}]"
    return json.dumps(value)
