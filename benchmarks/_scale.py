"""What grows with the number of rows: the same operations on stores of several sizes.

All sizes take turns in each round, so that growth too is a ratio of what was measured side by
side. The system's page cache is warm: it holds all that was just written. A disk that must
be read from first is another story, and the same one for us and for bare sqlite3.
"""

import dataclasses
import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from . import _operations as operations
from ._beside_writers import get_beside_writers
from ._effort import Effort
from ._files import measured_bytes, new_store
from ._measure import Advance, Comparison, in_rounds
from ._operations import Ground, Operation
from ._rows import Row

__all__ = ["LARGEST", "scale", "scale_steps"]

LARGEST: Final = 10_000_000
"""The size that the limits are for."""

_REFERENCE: Final = 10_000
_READ_GROWTH_LIMIT: Final = 3.5
_WRITE_GROWTH_LIMIT: Final = 4.5
_SIZE_LIMIT: Final = 1.35

_IN_ORDER: Final = 1_000_000
"""The most rows that are also filled in the order of their keys."""

_READS: Final[tuple[Operation, ...]] = (
    operations.get_cached,
    partial(get_beside_writers, senders=100, limit=1.5),
    operations.get_uncached,
)
_WRITES: Final[tuple[Operation, ...]] = (
    operations.set_unchanged,
    partial(operations.set_changing, synchronous="NORMAL"),
    partial(operations.set_changing, synchronous="FULL"),
    operations.set_all,
    operations.first_get,  # the last, as it adds rows
)


def scale_steps(effort: Effort) -> int:
    """Return how often `scale` will call ``advance``."""
    return len(effort.sizes) + effort.size_rounds * (len(_READS) + len(_WRITES))


def scale(
    directory: str, effort: Effort, describe: Callable[[str], None], advance: Advance
) -> list[Row]:
    """Measure on stores of all sizes, and compare each with the limits for the largest."""
    grounds, rows = [], []
    for size in effort.sizes:
        describe(f"filling {size:,} rows")
        grounds.append(operations.two_files(os.path.join(directory, str(size)), size))
        rows += _size_rows(grounds[-1])
        advance()
    for operation in (*_READS, *_WRITES):
        growth_limit = _READ_GROWTH_LIMIT if operation in _READS else _WRITE_GROWTH_LIMIT
        with ExitStack() as stack:
            comparisons = [stack.enter_context(operation(ground, effort)) for ground in grounds]
            describe(f"{comparisons[0].name}, all sizes")
            rows += _measured(comparisons, effort, advance, growth_limit)
    return rows


def _measured(
    comparisons: list[Comparison], effort: Effort, advance: Advance, growth_limit: float
) -> list[Row]:
    batches = [batch for each in comparisons for batch in (each.ours, each.bare)]
    found = in_rounds(batches, effort.size_rounds, advance, effort.warm_up_seconds)
    rows = [
        Row(
            comparison.name,
            found[2 * number],
            found[2 * number + 1],
            comparison.yardstick,
            limit=comparison.limit if size == LARGEST else None,
            rows=size,
        )
        for number, (comparison, size) in enumerate(zip(comparisons, effort.sizes, strict=True))
    ]
    reference, largest = rows[effort.sizes.index(_REFERENCE)], rows[-1]
    if reference is largest:
        return rows
    growth = Row(
        f"{largest.name}: growth",
        largest.ours,
        reference.ours,
        f"itself at {_REFERENCE:,} rows",
        limit=growth_limit if largest.rows == LARGEST else None,
        rows=largest.rows,
    )
    return [*rows, growth]


def _size_rows(ground: Ground) -> list[Row]:
    rows = [_size_row("file size", ground.ours, ground.rows)]
    if ground.rows <= _IN_ORDER:
        in_order = new_store(f"{ground.ours}-in-order", ground.rows, is_in_order=True)
        rows.append(_size_row("file size, filled in order", in_order, ground.rows))
        os.remove(in_order)
    return [
        dataclasses.replace(row, limit=_SIZE_LIMIT if row.rows == LARGEST else None) for row in rows
    ]


def _size_row(name: str, path: str, rows: int) -> Row:
    size, content = measured_bytes(path)
    return Row(name, [size], [content], "keys, states, 8 for `since`", unit="bytes", rows=rows)
