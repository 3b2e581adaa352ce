"""``watch``: the command that shows the state counts and the newest changes, again and again."""

import time
from collections import deque
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .. import maintenance
from ..maintenance import Observation
from ..sqlite.storage import SQLiteStorage
from ..transfer.json_lines import as_object
from ._arguments import Seconds
from ._printing import Printer, count_lines, counts_as_objects, one_line, row_cells
from ._session import Session, with_session
from ._status import DONE
from ._tables import counts_table, local_time, rows_table

_BARS: Final = "▁▂▃▄▅▆▇█"
_RATES: Final = 60

# The lines of a screen around the rows of both tables; and how many changes are shown: at least
# so many where the counts alone would fill the screen, and at most so many.
_FRAME_LINES: Final = 10
_LEAST_NEWEST: Final = 5
_NEWEST: Final = 10

# To look at a store of millions takes seconds. With rests of so many times the duration of a look,
# it takes a fifth of a processor at most.
_REST_PER_LOOK: Final = 4.0

# The first look counts the changes of so long, as there is no look before it.
_FIRST_MS: Final = 60_000


@click.command("watch", short_help="A live screen of states and changes.")
@click.option("--once", is_flag=True, help="Print it once.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=Seconds(min=0.1, max=86_400),
    default=1.0,
    show_default=True,
    help="How often to look; less often where looking takes long.",
)
@with_session
def watch(session: Session, printer: Printer, *, once: bool, interval: float) -> int:
    """Watch how many senders are in which state, how many change, and who was the last.

    Ctrl-C ends it. With --once, changes are those of the last minute.
    """
    if not once and (not printer.is_table or printer.console.is_dumb_terminal):
        raise click.UsageError("a live screen needs a terminal: give --once")
    with session.store() as store:
        look = _Look(store, is_for_screen=printer.is_table)
        if once:
            look.take()
            _print(look, printer)
            return DONE
        with Live(console=printer.console, screen=True, auto_refresh=False) as live:
            try:
                while True:
                    look.take()
                    height = printer.console.height
                    live.update(_screen(look, printer.console, height), refresh=True)
                    time.sleep(max(interval, look.seconds * _REST_PER_LOOK))
            except KeyboardInterrupt:  # the way to end it
                return DONE


class _Look:
    """What was seen of a store by the last look.

    Attributes:
        path: the store's.
        found: what was seen: excerpts, if they are for a screen.
        seconds: how long the look took.
        rates: how many pairs changed in a second before each of the last looks, the newest last.
    """

    found: Observation[Any, Any]

    def __init__(self, store: SQLiteStorage, *, is_for_screen: bool) -> None:
        self._store = store
        self._observe: Final = (
            maintenance.observe_excerpts if is_for_screen else maintenance.observe
        )
        self._taken_ms = time.time_ns() // 1_000_000 - _FIRST_MS
        self.path = store.path
        self.seconds = 0.0
        self.rates: deque[float] = deque(maxlen=_RATES)

    def take(self) -> None:
        """Look once more."""
        start, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        self.found = self._observe(self._store, self._taken_ms, newest=_NEWEST)
        self.seconds = time.monotonic() - start
        self.rates.append(self.found.changed * 1000 / max(1, now_ms - self._taken_ms))
        self._taken_ms = now_ms


def _screen(look: _Look, console: Console, height: int) -> Group:
    now = local_time(time.time_ns() // 1_000_000)
    rate = f"{look.rates[-1]:,.1f} changes a second  "
    rates = list(look.rates)[-max(1, console.width - len(rate)) :]
    peak = max(rates) or 1.0
    bars = "".join(_BARS[round(rate / peak * (len(_BARS) - 1))] for rate in rates)
    all_states = look.found.states
    # The newest changes get the lines that the counts leave, but some lines of a small screen.
    room = max(0, height - _FRAME_LINES)
    newest = look.found.newest[: max(room - len(all_states), min(_LEAST_NEWEST, room // 3))]
    states = all_states
    if len(states) + len(newest) > room:
        states = states[: max(0, room - len(newest) - 1)]
    more = len(all_states) - len(states)
    return Group(
        Text(f"{now}  {one_line(look.path)}", style="bold", no_wrap=True, overflow="ellipsis"),
        Text(f"{sum(each.pairs for each in all_states):,} pairs"),
        Text(rate + bars, no_wrap=True),
        counts_table(states, console),
        *([Text(f"and {more:,} more, as summary shows", style="dim")] if more else ()),
        rows_table(newest, console),
    )


def _print(look: _Look, printer: Printer) -> None:
    found = look.found
    if printer.is_json:
        printer.json(
            {
                "states": counts_as_objects(found.states),
                "changes_per_second": look.rates[-1],
                "newest": [as_object(row) for row in found.newest],
            }
        )
    elif printer.is_table:
        printer.console.print(_screen(look, printer.console, 10_000))
    else:
        printer.lines(count_lines(found.states))
        printer.lines([("changes_per_second", f"{look.rates[-1]:.3f}")])
        printer.lines(("newest", *row_cells(row)) for row in found.newest)
