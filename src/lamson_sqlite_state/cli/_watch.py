"""``watch``: the store as it is now, and now."""

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

# So many lines of a screen are taken by what stands around the rows of both tables, and so many
# changes are shown where the counts alone would fill it.
_FRAME_LINES: Final = 10
_LEAST_NEWEST: Final = 5
_NEWEST: Final = 10

# Looking at a store of millions takes seconds: no more than a fifth of a processor is for that.
_REST_PER_LOOK: Final = 4.0

# What changes are counted for by the first look, which has no look before it.
_FIRST_SECONDS: Final = 60.0


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
                    live.update(
                        _screen(look, printer.console, printer.console.height), refresh=True
                    )
                    time.sleep(max(interval, look.seconds * _REST_PER_LOOK))
            except KeyboardInterrupt:
                return DONE  # it is how one ends it


class _Look:
    """What was seen last.

    Attributes:
        path: of the store.
        found: what was seen: of excerpts, if it is for a screen.
        seconds: how long that took.
        per_second: how many pairs changed in a second since the look before.
        rates: this of the last looks.
    """

    found: Observation[Any, Any]

    def __init__(self, store: SQLiteStorage, *, is_for_screen: bool) -> None:
        self._store = store
        self._observe: Final = (
            maintenance.observe_excerpts if is_for_screen else maintenance.observe
        )
        self._taken_ms = time.time_ns() // 1_000_000 - round(_FIRST_SECONDS * 1000)
        self.path = store.path
        self.seconds = 0.0
        self.per_second = 0.0
        self.rates: deque[float] = deque(maxlen=_RATES)

    def take(self) -> None:
        """Look once more."""
        start, now_ms = time.monotonic(), time.time_ns() // 1_000_000
        self.found = self._observe(self._store, self._taken_ms, newest=_NEWEST)
        self.seconds = time.monotonic() - start
        self.per_second = self.found.changed * 1000 / max(1, now_ms - self._taken_ms)
        self._taken_ms = now_ms
        self.rates.append(self.per_second)


def _screen(look: _Look, console: Console, height: int) -> Group:
    width = console.width
    now = local_time(time.time_ns() // 1_000_000)
    rate = f"{look.per_second:,.1f} changes a second  "
    rates = list(look.rates)[-max(1, width - len(rate)) :]
    peak = max(rates) or 1.0
    line = "".join(_BARS[round(rate / peak * (len(_BARS) - 1))] for rate in rates)
    states = look.found.states
    # The newest get what the counts leave of the screen, and some lines of a small one.
    room = max(0, height - _FRAME_LINES)
    newest = look.found.newest[: max(room - len(states), min(_LEAST_NEWEST, room // 3))]
    if len(states) + len(newest) > room:
        states = states[: max(0, room - len(newest) - 1)]
    more = len(look.found.states) - len(states)
    return Group(
        Text(f"{now}  {one_line(look.path)}", style="bold", no_wrap=True, overflow="ellipsis"),
        Text(f"{sum(each.pairs for each in look.found.states):,} pairs"),
        Text(rate + line, no_wrap=True),
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
                "changes_per_second": look.per_second,
                "newest": [as_object(row) for row in found.newest],
            }
        )
    elif printer.is_table:
        printer.console.print(_screen(look, printer.console, 10_000))
    else:
        printer.lines(count_lines(found.states))
        printer.lines([("changes_per_second", f"{look.per_second:.3f}")])
        printer.lines(("newest", *row_cells(row)) for row in found.newest)
