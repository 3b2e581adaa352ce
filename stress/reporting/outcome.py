"""How one line of the report ends: the same words on the page and on the terminal."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What became of some rounds, or of some workloads under power cuts.

    Args:
        of: how many there were.
        judged: how many of these have a verdict.
        failed: in how many of these something was wrong.
    """

    of: int
    judged: int
    failed: int

    @property
    def kind(self) -> Literal["good", "bad", "unproved"]:
        """Good only if there was something to judge, and all of it was judged."""
        if self.failed:
            return "bad"
        return "good" if self.judged and self.judged == self.of else "unproved"

    @property
    def words(self) -> str:
        """The same in words."""
        unjudged = self.of - self.judged
        if self.failed:
            share = f"{self.failed:,} of {self.of:,} " if self.of > 1 else ""
            return f"{share}failed" + (f", {unjudged:,} not judged" if unjudged else "")
        if not self.judged:
            return "not judged"
        return f"{self.judged:,} of {self.of:,} kept" if unjudged else "kept"
