"""The same work done by each peer, side by side: what one call takes."""

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self, TypeAlias

from ._effort import Effort
from ._files import Pair, newcomers, pair_of, random_pairs
from ._measure import Advance, quiet, timed
from ._peers import PEERS, REDIS, Durability, Peer
from ._redis_server import redis_server

__all__ = ["Cell", "PeerRow", "compare_peers", "peer_steps"]

_READS_OF_A_CONVERSATION: Final = 8
_MOST_CALLS: Final = 2_000
_WARM_UP_WRITES: Final = 1_100

Work: TypeAlias = Callable[[Peer, list[Pair], int, int], float]
"""Makes so many calls of a peer, which has these pairs, in the round of that number.

Returns the seconds of one.
"""


@dataclass(frozen=True)
class Cell:
    """What one peer took.

    Args:
        peer: its name.
        setting: how it was set to the durability of the row; or why there is no time.
        seconds: of one call, round by round; empty where it was not measured.
    """

    peer: str
    setting: str
    seconds: Sequence[float] = field(default=(), repr=False)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class PeerRow:
    """One kind of work.

    Args:
        name: what is done.
        durability: what a write has reached when it returns.
        cells: one for each peer.
    """

    name: str
    durability: Durability
    cells: Sequence[Cell]

    @property
    def ours(self) -> Cell:
        return self.cells[0]

    @property
    def quicker(self) -> list[str]:
        """The peers that we lose to, the quickest first."""
        others = sorted((cell for cell in self.cells[2:] if cell.seconds), key=lambda c: c.median)
        return [cell.peer for cell in others if cell.median < self.ours.median]

    def as_json(self) -> dict[str, object]:
        """Return all there is, for other programs and for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Return the row that was written by `as_json`."""
        return cls(**{**found, "cells": [Cell(**cell) for cell in found["cells"]]})


def peer_steps(effort: Effort) -> int:
    """Return how often `compare_peers` will call ``advance``."""
    return effort.peer_rounds * sum(map(len, _CONTESTS.values()))


def compare_peers(
    directory: str, effort: Effort, describe: Callable[[str], None], advance: Advance
) -> list[PeerRow]:
    """Let all peers take turns at each kind of work."""
    rows = []
    for durability, contests in _CONTESTS.items():
        with _opened(os.path.join(directory, durability[:3]), durability, effort) as peers:
            for name, work in contests.items():
                describe(name)
                rows.append(_contest(name, durability, work, peers, effort, advance))
    return rows


@contextmanager
def _opened(
    directory: str, durability: Durability, effort: Effort
) -> Iterator[dict[type[Peer], Peer]]:
    with ExitStack() as stack:
        os.makedirs(directory)
        synced = durability == "synced"
        socket = stack.enter_context(redis_server(directory, synced=synced))
        peers = {}
        for kind in PEERS:
            if kind.settings[durability] is None or (kind is REDIS and socket is None):
                continue
            os.mkdir(own := os.path.join(directory, kind.__name__))
            peers[kind] = stack.enter_context(closing(kind(own, durability, socket)))
            peers[kind].fill(map(pair_of, range(effort.peer_rows)), "POSTING")
            _warm_up(peers[kind], effort)
        yield peers


def _warm_up(peer: Peer, effort: Effort) -> None:
    # While SQLite's log grows to the thousand pages that it keeps from then on, each sync has
    # the file's new length to write too, and takes half as long again.
    deadline = time.monotonic() + effort.warm_up_seconds * 5
    for number in range(_WARM_UP_WRITES):
        if time.monotonic() > deadline:
            break
        peer.set(*pair_of(number % effort.peer_rows), f"WARM_{number}")


def _contest(
    name: str,
    durability: Durability,
    work: Work,
    peers: dict[type[Peer], Peer],
    effort: Effort,
    advance: Advance,
) -> PeerRow:
    stored = random_pairs(0, effort.peer_rows, effort.peer_rows)
    calls = {}
    for kind, peer in peers.items():  # which also warms them up
        wanted = round(effort.peer_seconds / work(peer, stored, 1, 0))
        calls[kind] = max(1, min(_MOST_CALLS, effort.peer_rows, wanted))
        if wanted > 1:
            work(peer, stored, calls[kind], 1)
    seconds: dict[type[Peer], list[float]] = {kind: [] for kind in peers}
    order = random.Random(name)
    for round_number in range(effort.peer_rounds):
        # Whoever comes after a peer that has just left the disk busy, or the processor's caches
        # cold, pays for it; so it is somebody else each time.
        for kind in order.sample(list(peers), len(peers)):
            seconds[kind].append(work(peers[kind], stored, calls[kind], round_number + 2))
        advance()
    return PeerRow(name, durability, [_cell(kind, durability, seconds) for kind in PEERS])


def _cell(kind: type[Peer], durability: Durability, seconds: dict[type[Peer], list[float]]) -> Cell:
    if kind in seconds:
        return Cell(kind.name, kind.settings[durability] or "", seconds[kind])
    if kind.settings[durability] is None:
        return Cell(kind.name, "does not offer it")
    return Cell(kind.name, "no server here")


def _read(peer: Peer, stored: list[Pair], calls: int, _round: int) -> float:
    return _ask(peer.get, stored[:calls])


def _read_unknown(peer: Peer, stored: list[Pair], calls: int, round_number: int) -> float:
    return _ask(peer.get, newcomers(f"miss {round_number}", calls, len(stored)))


def _meet(peer: Peer, stored: list[Pair], calls: int, round_number: int) -> float:
    return _ask(peer.meet, newcomers(f"meet {round_number}", calls, len(stored)))


def _ask(call: Callable[[str, str], str], pairs: list[Pair]) -> float:
    def work() -> None:
        for module, sender in pairs:
            call(module, sender)

    return timed(work, len(pairs))


def _change(peer: Peer, stored: list[Pair], calls: int, round_number: int) -> float:
    return _write(peer, stored[:calls], f"STATE_{round_number}")


def _write_the_same(peer: Peer, stored: list[Pair], calls: int, _round: int) -> float:
    return _write(peer, stored[:calls], "POSTING")


def _write(peer: Peer, pairs: list[Pair], state: str) -> float:
    set_state = peer.set

    def work() -> None:
        for module, sender in pairs:
            set_state(module, sender, state)

    return timed(work, len(pairs))


def _route(peer: Peer, stored: list[Pair], calls: int, round_number: int) -> float:
    # Some senders write all the time, most hardly ever: Zipf's law. Each message is looked up
    # by eight routes, and its handler sets another state.
    get, set_state = peer.get, peer.set
    zipf = [1 / rank for rank in range(1, len(stored) + 1)]
    senders = random.Random(round_number).choices(stored, zipf, k=calls)
    messages = [(*pair, f"STATE_{round_number}_{n}") for n, pair in enumerate(senders)]
    with quiet():
        start = time.perf_counter()
        for module, sender, state in messages:
            for _ in range(_READS_OF_A_CONVERSATION):
                get(module, sender)
            set_state(module, sender, state)
        return (time.perf_counter() - start) / calls


# One after the other on the same files, so the unchanged write comes before all that change.
_CONTESTS: Final[dict[Durability, dict[str, Work]]] = {
    "not synced": {
        "read, stored pair": _read,
        "read, unknown pair": _read_unknown,
        "first contact, START stored": _meet,
        "unchanged write": _write_the_same,
        "changing write": _change,
        "Router: 8 reads, 1 write": _route,
    },
    "synced": {
        "changing write, synced": _change,
        "Router: 8 reads, 1 write, synced": _route,
    },
}
