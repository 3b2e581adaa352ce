"""What is printed when a run is over."""

from collections.abc import Sequence

from rich.table import Table

from ._comparison import Cell, PeerRow
from ._contention import Crowd, Waiting
from ._results import Results
from ._rows import Row, duration, plain, spread

__all__ = ["crowds_table", "only_in_full", "peers_table", "ratios_table", "waiting_table"]


def ratios_table(rows: Sequence[Row], earlier: Sequence[Row] = ()) -> Table:
    """Return each operation with its limit, and those that an earlier run alone has measured."""
    table = Table(title="Cost of one call")
    names = ("operation", "ours", "yardstick", "", "ratio", "min..max", "limit", "", "above")
    for name in names:
        is_text = name in ("operation", "yardstick", "")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
    for row in rows:
        verdict = "" if row.limit is None else "[green]kept[/green]"
        table.add_row(
            *_cells(row),
            "[bold red]missed[/bold red]" if row.is_missed else verdict,
            _above(row),
            style="red" if row.is_missed else None,
        )
    if earlier:
        table.add_section()
        for row in earlier:
            verdict = "missed" if row.is_missed else "kept"
            style = "red dim" if row.is_missed else "dim"
            table.add_row(*_cells(row), f"{verdict} then", _above(row), style=style)
    table.caption = "above: how many times the physical limit; see benchmarks/README.md"
    return table


def only_in_full(results: Results, full: Results | None) -> list[Row]:
    """Return the rows with limits that this run has left out, from the last full run."""
    if full is None or results.effort == "full":
        return []
    here = {row.label for row in results.rows}
    return [row for row in full.rows if row.limit is not None and row.label not in here]


def _cells(row: Row) -> tuple[str, ...]:
    ours, bare = row.costs()
    return (
        row.label,
        ours,
        row.yardstick,
        bare,
        f"{row.median:.2f}{row.suffix}",
        f"{min(row.values):.2f}..{max(row.values):.2f}",
        row.limit_text,
    )


def _above(row: Row) -> str:
    return "" if row.above_physical is None else f"{plain(row.above_physical)} x"


def peers_table(rows: Sequence[PeerRow]) -> Table:
    """Return what one call of each peer took; a column for each kind of work."""
    table = Table(title="What people use today, on the same work (median, min..max)")
    table.add_column("", no_wrap=True)
    for row in rows:
        table.add_column(row.name, justify="right")
    for cells in zip(*(row.cells for row in rows), strict=True):
        table.add_row(cells[0].peer, *map(_peer_cell, cells))
    return table


def _peer_cell(cell: Cell) -> str:
    if not cell.seconds:
        return f"- ({cell.setting})"
    return f"{duration(cell.median)}\n{spread(cell.seconds)}"


def waiting_table(waiting: dict[str, list[Waiting]]) -> Table:
    """Return every round of the processes that pause between their writes."""
    return _contention_table(
        "8 processes writing, each write synced, 2 ms between writes",
        [(name, "", each) for name, rounds in waiting.items() for each in rounds],
    )


def crowds_table(crowds: Sequence[Crowd]) -> Table:
    """Return every round of the processes that write without a pause."""
    return _contention_table(
        "Processes writing, each write synced, without pause",
        [(crowd.peer, str(crowd.processes), each) for crowd in crowds for each in crowd.rounds],
    )


def _contention_table(title: str, found: Sequence[tuple[str, str, Waiting]]) -> Table:
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for name in ("processes", "writes/s", "p50", "p99", "worst", "share of the mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, processes, each in found:
        slowest, fastest = each.shares
        table.add_row(
            name,
            processes or str(len(each.counts)),
            plain(each.throughput),
            *(duration(value / 1e3) for value in each.percentiles_ms.values()),
            f"{slowest:.2f}..{fastest:.2f}",
        )
    return table
