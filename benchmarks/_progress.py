"""The bar that tells how far a run is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ._measure import Advance

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(
    console: Console, steps: int, width: int = 48
) -> Iterator[tuple[Callable[[str], None], Advance]]:
    """Show the bar, and yield what describes a step and what tells that one is done.

    Args:
        console: where it is shown.
        steps: how many there are.
        width: of the descriptions.
    """
    # Redrawn by hand between rounds: a thread that draws would take part in the measurement,
    # and would be there when processes are forked.
    with Progress(
        TextColumn(f"{{task.description:{width}}}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        auto_refresh=False,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=steps)

        def advance() -> None:
            progress.advance(task)
            progress.refresh()

        def describe(what: str) -> None:
            progress.update(task, description=what)
            progress.refresh()

        yield describe, advance
