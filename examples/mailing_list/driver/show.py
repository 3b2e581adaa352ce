"""What one sees: a bar while it runs, tables at the end."""

from collections import Counter
from collections.abc import Sequence

from rich.bar import Bar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from .ledger import Ledger
from .verdict import WrongState

SHOWN = 20
BAR_WIDTH = 24


class _Handled(ProgressColumn):
    """How many messages the workers have handled, a number that goes on between the steps."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger

    def render(self, task: Task) -> Text:
        """Return the number, now."""
        return Text(f"{len(self._ledger.handled):,} messages handled", style="cyan")


def progress(console: Console, ledger: Ledger) -> Progress:
    """Return the bar."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Handled(ledger),
        TimeElapsedColumn(),
        console=console,
        expand=True,
    )


def workers_table(ledger: Ledger, pids: dict[int, int], exit_codes: dict[int, int]) -> Table:
    """Return the messages handled per worker, by outcome where there was more than one."""
    by_worker = [ledger.outcomes.get(number, Counter[str]()) for number in pids]
    total = sum(by_worker, Counter[str]())
    outcomes = sorted(total) if len(total) > 1 else []
    most = max((counts.total() for counts in by_worker), default=0)
    table = Table(title="Messages handled per worker", title_justify="left", show_footer=True)
    table.add_column("worker", "all", justify="right", no_wrap=True)
    table.add_column("pid", justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_column(outcome, f"{total[outcome]:,}", justify="right")
    table.add_column("messages", f"{total.total():,}", justify="right", style="bold", no_wrap=True)
    if not outcomes:  # with all of them, there is no room for a bar on a narrow terminal
        table.add_column("share", max_width=BAR_WIDTH)
    table.add_column("ended", no_wrap=True)
    for (number, pid), counts in zip(pids.items(), by_worker, strict=True):
        code = exit_codes.get(number)
        table.add_row(
            str(number),
            str(pid),
            *(f"{counts[outcome]:,}" for outcome in outcomes),
            f"{counts.total():,}",
            *([] if outcomes else [Bar(max(most, 1), 0, counts.total(), color="cyan")]),
            Text("well", "green") if code == 0 else Text(f"with {code}", "bold red"),
        )
    return table


def states_table(counts: dict[str, Counter[str]]) -> Table:
    """Return how many senders are in which state."""
    lists = sorted({name for by_list in counts.values() for name in by_list}, reverse=True)
    table = Table(title="Senders per state", title_justify="left", show_footer=True)
    table.add_column("state", "all")
    for name in lists:
        total = sum(by_list[name] for by_list in counts.values())
        table.add_column(f"on {name}", f"{total:,}", justify="right")
    for state, by_list in sorted(counts.items()):
        table.add_row(state, *(f"{by_list[name]:,}" if by_list[name] else "" for name in lists))
    return table


def wrong_table(wrong: Sequence[WrongState]) -> Table:
    """Return who is in a state in which they must not be."""
    table = Table(title="In the wrong state", title_justify="left", title_style="bold red")
    for heading in ("person", "fate", "list", "must be", "is"):
        table.add_column(heading)
    for one in wrong[:SHOWN]:
        table.add_row(one.address, one.fate, one.list_name, one.must_be, Text(one.found, "red"))
    if len(wrong) > SHOWN:
        table.add_row(f"and {len(wrong) - SHOWN} more", "", "", "", "")
    return table
