"""A reader whose pairs are cached, while three processes write others without pause."""

from collections.abc import Iterator
from contextlib import contextmanager

from ._effort import Effort
from ._files import open_store
from ._measure import Comparison
from ._operations import Ground
from ._writers import halves, seconds_of_a_read, writers

__all__ = ["get_beside_writers"]


@contextmanager
def get_beside_writers(
    ground: Ground, effort: Effort, *, senders: int, limit: float | None = None
) -> Iterator[Comparison]:
    """Reads of so many senders with the writers at work, beside the same while they rest."""
    pairs, others = halves(ground.rows, senders)
    with writers(ground.ours, others) as writing, open_store(ground.ours, "NORMAL") as store:

        def read() -> float:
            return seconds_of_a_read(store.get, pairs, effort.slice_seconds)

        def read_beside() -> float:
            with writing():
                return read()

        yield Comparison(
            f"get, cached, {senders:,} senders beside 3 writers",
            read_beside,
            read,
            "writers at rest",
            limit=limit,
        )
