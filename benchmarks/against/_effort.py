"""How much is done."""

from dataclasses import dataclass
from typing import Final

__all__ = ["BENCH", "EFFORTS", "SMOKE", "Effort"]


@dataclass(frozen=True)
class Effort:
    """How much is done for each row.

    Args:
        name: what the option of the workers calls it.
        rounds: each with new processes and new files.
        slices: of each side in a round; an even number, as every second turn is the reverse of
            the one before.
        warm_up_seconds: of the slices that do not count.
        pairs: how many each store has.
        reads: how many different pairs a slice of reads asks for.
        passes: how often a slice reads cached pairs, one of which takes so little.
        writes: of a slice. SQLite copies its log into the database every 1,000 pages, and a
            changing set writes one page: each slice has one such checkpoint.
        synced_writes: of a slice whose writes wait for the disk, for which 1,000 are too many.
            All slices of a round together have one checkpoint.
        openings: of a slice.
        reading_seconds: of a slice beside writers.
        writing_seconds: of a slice of several writers.
    """

    name: str
    rounds: int
    slices: int
    warm_up_seconds: float
    pairs: int
    reads: int
    passes: int
    writes: int
    synced_writes: int
    openings: int
    reading_seconds: float
    writing_seconds: float


SMOKE: Final = Effort(
    name="smoke",
    rounds=1,
    slices=2,
    warm_up_seconds=0.0,
    pairs=2_000,
    reads=100,
    passes=1,
    writes=10,
    synced_writes=10,
    openings=1,
    reading_seconds=0.01,
    writing_seconds=0.01,
)
"""To see that it runs at all. Its numbers mean nothing."""

BENCH: Final = Effort(
    name="quick",
    rounds=12,
    slices=4,
    warm_up_seconds=0.06,
    pairs=10_000,
    reads=2_000,
    passes=20,
    writes=1_000,
    synced_writes=250,
    openings=10,
    reading_seconds=0.05,
    writing_seconds=0.15,
)
"""About three minutes."""

EFFORTS: Final = {effort.name: effort for effort in (SMOKE, BENCH)}
