"""What was acknowledged: what the writers announce over a pipe, and the ledger of all of it.

A writer is one thread of one process. It does one thing at a time, and announces it twice:
before the call, and after the call has returned. So wherever a writer dies, of all its calls
but the last it is known whether they have happened.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from io import FileIO
from typing import Final, TypeAlias

from lamson_sqlite_state import ROUTE_FIRST_STATE

__all__ = ["COUNTER", "Announcer", "Ledger", "Pair", "Writer", "count_in", "own_pair", "state_of"]

Writer: TypeAlias = str
"""``<process>.<thread>``; process 0 is the parent."""

Pair: TypeAlias = tuple[str, str]
"""``(module, sender)``"""

COUNTER: Final[Pair] = ("stress.counter", "everybody@example.com")
"""The one pair that all writers change: its state is a number, which only ever grows by one."""


def own_pair(writer: Writer, number: int) -> Pair:
    """Return a pair that only this writer changes. All of a writer's have one sender."""
    return f"stress.handlers_{number}", f"writer.{writer}@example.com"


def state_of(count: int) -> str:
    """Return the counter's state after so many changes."""
    return str(count) if count else ROUTE_FIRST_STATE


def count_in(state: str) -> int:
    """Return how often the counter was changed until it was in this state."""
    return 0 if state == ROUTE_FIRST_STATE else int(state)


class Announcer:
    """One writer's end of a pipe to the parent.

    Lines are shorter than PIPE_BUF, so each arrives whole, also where threads share the pipe.
    A parent that is gone turns every line into a BrokenPipeError, which ends the writer.
    """

    def __init__(self, writer: Writer, pipe: FileIO) -> None:
        self.writer = writer
        self._pipe = pipe

    def will_set(self, number: int, state: str) -> None:
        """Say that `set` of an own pair is about to be called."""
        self._say(f"set {number} {state}")

    def will_set_all(self, state: str) -> None:
        """Say that `set_all` of the own sender is about to be called."""
        self._say(f"set_all {state}")

    def will_count(self, count: int) -> None:
        """Say that `compare_and_set` is about to be called, to change the counter to this."""
        self._say(f"count {count}")

    def done(self) -> None:
        """Say that the call has returned and has changed what it was to change."""
        self._say("done")

    def refused(self) -> None:
        """Say that `compare_and_set` has returned False."""
        self._say("refused")

    def complain(self, text: str) -> None:
        """Say that the store has broken a promise already."""
        self._say(f"wrong {text}")

    def _say(self, what: str) -> None:
        os.write(self._pipe.fileno(), f"{self.writer} {what}\n".encode())


@dataclass
class Ledger:
    """What all writers have said.

    Args:
        states: the acknowledged state of every own pair.
        pending: what a writer was about to do when it was last heard of.
        counted: to what the counter was changed, and how often that was acknowledged.
        writes: acknowledged writes of each process.
        complaints: promises that a writer saw broken.
    """

    states: dict[Pair, str] = field(default_factory=dict)
    pending: dict[Writer, list[str]] = field(default_factory=dict)
    counted: Counter[int] = field(default_factory=Counter)
    writes: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Enter one line of a writer's."""
        writer, what = line.split(" ", 1)
        if what == "done":
            self._acknowledge(writer, self.pending.pop(writer))
        elif what == "refused":
            del self.pending[writer]
        elif what.startswith("wrong "):
            self.complaints.append(f"writer {writer} {what.removeprefix('wrong ')}")
        else:
            self.pending[writer] = what.split(" ")

    def possible_states(self) -> dict[Pair, set[str | None]]:
        """Return what each own pair may be in: the acknowledged state, or a pending one.

        None stands for a pair that may be missing. Where every writer came to its end, nothing
        is pending, and each pair has exactly one possible state.
        """
        possible: dict[Pair, set[str | None]] = {
            pair: {state} for pair, state in self.states.items()
        }
        for writer, (operation, *arguments) in self.pending.items():
            if operation == "set":
                number, state = arguments
                possible.setdefault(own_pair(writer, int(number)), {None}).add(state)
            elif operation == "set_all":
                for pair in self._pairs_of(writer):
                    possible[pair].add(arguments[0])
        return possible

    def pending_counts(self) -> int:
        """Return how many changes of the counter may have happened, beyond the acknowledged."""
        return sum(operation == "count" for operation, *_ in self.pending.values())

    def _acknowledge(self, writer: Writer, said: list[str]) -> None:
        self.writes[int(writer.partition(".")[0])] += 1
        match said:
            case ["set", number, state]:
                self.states[own_pair(writer, int(number))] = state
            case ["set_all", state]:
                self.states.update(dict.fromkeys(self._pairs_of(writer), state))
            case ["count", count]:
                self.counted[int(count)] += 1

    def _pairs_of(self, writer: Writer) -> list[Pair]:
        _, own_sender = own_pair(writer, 0)
        return [pair for pair in self.states if pair[1] == own_sender]
