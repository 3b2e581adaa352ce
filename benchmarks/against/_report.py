"""What is printed: a table that fits into 80 columns, and in words which rows are slower."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from .._rows import duration
from ._verdict import TOLERANCE, Compared, Estimate

__all__ = ["ratios_table", "sentences"]

_NOISY: Final = 1.15
"""From here on a reader has to be told that a row could not show less."""

_PER_CENT: Final = f"{TOLERANCE - 1:.0%}".replace("%", " %")


def ratios_table(rows: Sequence[Compared], rev: str) -> Table:
    """Return the table of all rows."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("one call", no_wrap=True)
    for name in (_short(rev), "here", "ratio", "95 %", "of itself"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        verdict = "slower" if row.is_slower else "quicker" if row.is_quicker else ""
        table.add_row(
            row.name,
            duration(statistics.median(row.revision)),
            duration(statistics.median(row.here)),
            f"{row.ratio.median:.2f}",
            _interval(row.ratio),
            _interval(row.itself),
            verdict,
            style="bold red" if row.is_slower else "green" if row.is_quicker else None,
        )
    return table


def sentences(rows: Sequence[Compared], refused: Mapping[str, str], rev: str) -> Iterator[Text]:
    """Say which rows are slower, which are quicker, and what could not be told."""
    told = [row for row in rows if row.can_be_told]
    if slower := [_with_factor(row, row.ratio.median) for row in told if row.is_slower]:
        yield Text(f"Slower than {rev}: {'; '.join(slower)}", style="bold red")
    elif told:
        yield Text(f"No row is over {_PER_CENT} slower than {rev}, beyond the noise", style="green")
    if quicker := [_with_factor(row, row.ratio.median) for row in told if row.is_quicker]:
        yield Text(f"Quicker: {'; '.join(quicker)}")
    if noisy := [_with_factor(row, row.least_seen) for row in told if row.least_seen > _NOISY]:
        yield Text(f"Too noisy to show less than this: {'; '.join(noisy)}", style="yellow")
    if len(told) < len(rows):
        yield Text("So few rounds tell nothing: the numbers show only that it runs", style="yellow")
    for name, why in refused.items():
        yield Text(f"Not measured: {name}. {why}", style="yellow")


def _with_factor(row: Compared, factor: float) -> str:
    return f"{row.name} ({factor:.2f} x)"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:.2f}..{estimate.high:.2f}"


def _short(rev: str) -> str:
    return rev if len(rev) <= 7 else f"{rev[:6]}…"
