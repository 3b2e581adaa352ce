"""What one sees: a bar while it runs, tables at the end."""

from collections import Counter
from collections.abc import Sequence

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
    outcomes = sorted({outcome for counts in ledger.outcomes.values() for outcome in counts})
    most = max((counts.total() for counts in ledger.outcomes.values()), default=0)
    table = Table(title="Messages handled per worker", title_justify="left", show_footer=True)
    table.add_column("worker", "all", justify="right")
    table.add_column("pid", justify="right")
    if len(outcomes) > 1:
        for outcome in outcomes:
            count = sum(counts[outcome] for counts in ledger.outcomes.values())
            table.add_column(outcome, f"{count:,}", justify="right")
    table.add_column("messages", f"{len(ledger.handled):,}", justify="right", style="bold")
    table.add_column("", no_wrap=True, style="cyan")
    table.add_column("ended")
    for number, pid in pids.items():
        counts = ledger.outcomes.get(number, Counter())
        code = exit_codes.get(number)
        table.add_row(
            str(number),
            str(pid),
            *([f"{counts[outcome]:,}" for outcome in outcomes] if len(outcomes) > 1 else []),
            f"{counts.total():,}",
            "█" * round(BAR_WIDTH * counts.total() / most) if most else "",
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
