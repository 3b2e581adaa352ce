"""How much is done: a smoke test, the quick set of ``make bench``, or everything."""

from dataclasses import dataclass
from typing import Final

__all__ = ["BENCH", "FULL", "SMOKE", "Effort"]


@dataclass(frozen=True)
class Effort:
    """How much is done.

    Args:
        name: what it is called in the results.
        warm_up_seconds: of the rounds that do not count.
        rounds: of each ratio.
        reads: how many a round has.
        writes: how many a round has. The log is checkpointed every 1000 pages, and a changing
            set writes one page: of so many each round has one checkpoint, in each way.
        slice_seconds: how long a reader beside writers reads at a time.
        waiting_seconds: how long processes that pause between their writes contend in a round.
        waiting_rounds: how often.
        peer_rows: how many pairs each peer has.
        peer_rounds: of each operation that peers are compared in.
        peer_seconds: about how long one peer is at one operation in one round.
        crowds: how many processes contend without a pause.
        crowd_seconds: how long.
        crowd_rounds: how often.
        sizes: rows of the stores whose costs are compared.
        size_rounds: how often.
    """

    name: str
    warm_up_seconds: float
    rounds: int
    reads: int
    writes: int
    slice_seconds: float
    waiting_seconds: float
    waiting_rounds: int
    peer_rows: int
    peer_rounds: int
    peer_seconds: float
    crowds: tuple[int, ...]
    crowd_seconds: float
    crowd_rounds: int
    sizes: tuple[int, ...]
    size_rounds: int


SMOKE: Final = Effort(
    name="smoke",
    warm_up_seconds=0.0,
    rounds=2,
    reads=100,
    writes=10,
    slice_seconds=0.01,
    waiting_seconds=0.1,
    waiting_rounds=1,
    peer_rows=100,
    peer_rounds=1,
    peer_seconds=0.001,
    crowds=(2,),
    crowd_seconds=0.1,
    crowd_rounds=1,
    sizes=(10_000, 20_000),
    size_rounds=1,
)
"""A few seconds, to see that it runs at all. Its numbers mean nothing."""

BENCH: Final = Effort(
    name="quick",
    warm_up_seconds=0.2,
    rounds=15,
    reads=2_000,
    writes=1_000,
    slice_seconds=0.1,
    waiting_seconds=3.0,
    waiting_rounds=1,
    peer_rows=10_000,
    peer_rounds=5,
    peer_seconds=0.03,
    crowds=(8,),
    crowd_seconds=1.5,
    crowd_rounds=1,
    sizes=(1_000, 10_000, 100_000),
    size_rounds=5,
)
"""About two minutes."""

FULL: Final = Effort(
    name="full",
    warm_up_seconds=0.2,
    rounds=40,
    reads=2_000,
    writes=1_000,
    slice_seconds=0.2,
    waiting_seconds=4.0,
    waiting_rounds=5,
    peer_rows=10_000,
    peer_rounds=15,
    peer_seconds=0.05,
    crowds=(1, 2, 4, 8),
    crowd_seconds=3.0,
    crowd_rounds=3,
    sizes=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    size_rounds=15,
)
"""Everything: about a quarter of an hour, and 3 GB of disk."""
