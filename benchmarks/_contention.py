"""Processes that write to one file: how long one waits, and whether each gets its turn."""

import itertools
import os
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from ._effort import Effort
from ._files import pair_of
from ._measure import Advance
from ._peers import FILE_LOCK, OURS, OURS_UNCACHED, PEERS, REDIS, Peer
from ._processes import Opener, latencies_of
from ._redis_server import redis_server
from ._rows import Row

if TYPE_CHECKING:
    from array import array

__all__ = ["PROCESSES", "Crowd", "Waiting", "crowd_steps", "crowds", "waiting", "waiting_rows"]

PROCESSES: Final = 8
_PAUSE_SECONDS: Final = 0.002

_P99_LIMIT: Final = 0.25
_SHARE_LIMIT: Final = 0.80

_TAIL_POINTS: Final = 200


@dataclass(frozen=True)
class Waiting:
    """What all processes together saw in one round.

    Args:
        seconds: how long it went on.
        counts: how many writes each process made.
        percentiles_ms: what this share, in percent, of all writes did not exceed.
        tail: latencies in ms, each with the share of writes that took longer.
    """

    seconds: float
    counts: Sequence[int]
    percentiles_ms: dict[str, float]
    tail: Sequence[tuple[float, float]]

    @classmethod
    def of(cls, seconds: float, latencies: Sequence["array[float]"]) -> Self:
        """Sum up the seconds of every single write of each process."""
        ordered = sorted(itertools.chain.from_iterable(latencies))
        last = len(ordered) - 1
        percentiles = {
            name: ordered[round(last * float(name) / 100)] * 1e3 for name in ("50", "99", "100")
        }
        # Evenly spaced on a logarithmic axis: what is rare is what is looked for.
        ranks = sorted({round((last + 1) ** (n / _TAIL_POINTS)) for n in range(_TAIL_POINTS + 1)})
        tail = [(ordered[-rank] * 1e3, rank / len(ordered)) for rank in ranks]
        return cls(seconds, [len(each) for each in latencies], percentiles, tail)

    @property
    def throughput(self) -> float:
        """Writes in a second, of all processes together."""
        return sum(self.counts) / self.seconds

    @property
    def shares(self) -> tuple[float, float]:
        """Writes of the slowest process and of the fastest, as shares of the mean."""
        mean = statistics.mean(self.counts)
        return min(self.counts) / mean, max(self.counts) / mean


@dataclass(frozen=True)
class Crowd:
    """So many processes at one peer.

    Args:
        peer: its name.
        setting: what makes its writes wait for the disk; or why it is not here.
        processes: how many wrote.
        rounds: what was seen; empty where it was not measured.
    """

    peer: str
    setting: str
    processes: int
    rounds: Sequence[Waiting]

    @property
    def throughput(self) -> float:
        """Writes in a second, of all processes together; the median of the rounds."""
        return statistics.median(each.throughput for each in self.rounds)

    @property
    def slowest_share(self) -> float:
        """Writes of the slowest process, as a share of the mean; the median of the rounds."""
        return statistics.median(each.shares[0] for each in self.rounds)

    def percentile(self, name: str) -> float:
        """Return the seconds that this share of the writes did not exceed; "100" is the worst."""
        return statistics.median(each.percentiles_ms[name] for each in self.rounds) / 1e3

    def as_json(self) -> dict[str, object]:
        """Return all there is, for other programs and for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Return the crowd that was written by `as_json`."""
        return cls(**{**found, "rounds": [Waiting(**each) for each in found["rounds"]]})


def waiting(directory: str, effort: Effort, advance: Advance) -> dict[str, list[Waiting]]:
    """Let 8 processes that pause between writes contend: ours, and the obvious way without."""
    found: dict[str, list[Waiting]] = {}
    openers = {}
    for kind in (OURS, FILE_LOCK):
        os.makedirs(own := os.path.join(directory, kind.__name__))
        found[kind.name] = []
        openers[kind.name] = _opener(kind, own, None)
    for _ in range(effort.waiting_rounds):
        for name, opener in openers.items():
            found[name].append(_contend(opener, PROCESSES, effort.waiting_seconds, _PAUSE_SECONDS))
        advance()
    return found


def waiting_rows(found: dict[str, list[Waiting]]) -> list[Row]:
    """Compare what `waiting` has returned with the limits."""
    ours, bare = found.values()

    def p99(rounds: Sequence[Waiting]) -> list[float]:
        return [each.percentiles_ms["99"] / 1e3 for each in rounds]

    def shares(rounds: Sequence[Waiting]) -> list[float]:
        return [each.shares[0] for each in rounds]

    return [
        Row(
            f"p99 of a set, {PROCESSES} writers",
            p99(ours),
            p99(bare),
            "sqlite3 under FileLock",
            limit=_P99_LIMIT,
        ),
        Row(
            f"slowest of {PROCESSES} writers to the mean",
            shares(ours),
            shares(bare),
            "sqlite3 under FileLock",
            unit="share",
            limit=_SHARE_LIMIT,
            is_floor=True,
        ),
    ]


def crowd_steps(effort: Effort) -> int:
    """Return how often `crowds` will call ``advance``."""
    return len(effort.crowds) * effort.crowd_rounds


def crowds(
    directory: str, effort: Effort, describe: Callable[[str], None], advance: Advance
) -> list[Crowd]:
    """Let processes write to each peer without a pause, each write synced."""
    # Every write changes something, so the cache has no part in it.
    kinds = [kind for kind in (*PEERS, FILE_LOCK) if kind is not OURS_UNCACHED]
    found: dict[tuple[int, type[Peer]], list[Waiting]] = {}
    with ExitStack() as stack:
        os.makedirs(directory)
        socket = stack.enter_context(redis_server(directory, synced=True))
        openers = {}
        for kind in kinds:
            if kind.settings["synced"] is not None and (kind is not REDIS or socket):
                os.mkdir(own := os.path.join(directory, kind.__name__))
                openers[kind] = _opener(kind, own, socket)
        for processes in effort.crowds:
            describe(f"{processes} processes")
            for _ in range(effort.crowd_rounds):
                for kind, opener in openers.items():
                    seen = _contend(opener, processes, effort.crowd_seconds, 0.0)
                    found.setdefault((processes, kind), []).append(seen)
                advance()
    return [
        Crowd(kind.name, _setting(kind, socket), processes, found.get((processes, kind), []))
        for processes in effort.crowds
        for kind in kinds
    ]


def _setting(kind: type[Peer], socket: str | None) -> str:
    if kind is REDIS and socket is None:
        return "no server here"
    return kind.settings["synced"] or "not for processes"


def _contend(opener: Opener, processes: int, seconds: float, pause_seconds: float) -> Waiting:
    return Waiting.of(seconds, latencies_of(opener, processes, seconds, pause_seconds))


def _opener(kind: type[Peer], directory: str, socket: str | None) -> Opener:
    peer = kind(directory, "synced", socket)
    peer.set(*pair_of(0), "READY")  # so that it is all made before processes come together
    peer.close()
    return lambda: kind(directory, "synced", socket)
