"""Three pictures of a run: one call of each peer, waiting among writers, cost over rows."""

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ._comparison import PeerRow
from ._contention import Crowd
from ._environment import Environment, machine_line, versions_line
from ._peers import OURS, OURS_UNCACHED
from ._results import Results
from ._rows import Row, duration, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

# Of Okabe's and Ito's colours, which everybody can tell apart: one for ours, grey for others.
_OURS: Final = "#0072B2"
_OURS_PALE: Final = "#7FB8D8"
_OTHER: Final = "#A9A9A9"
_LIMIT: Final = "#D55E00"
_LINES: Final = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#D55E00")

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 11.0,
    "axes.titlesize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
}


def draw(results: Results, directory: str) -> None:
    """Draw the pictures and put them into the directory, beside the numbers."""
    # Only here, as it takes half a second, and starts threads that do not belong to a run.
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    prefix = "" if results.effort == "full" else f"{results.effort}-"
    with plt.rc_context(_STYLE):
        for name, figure in (
            ("operations", _operations(results.peers)),
            ("contention", _contention(results.crowds)),
            ("rows", _rows(results.rows)),
        ):
            _footnote(figure, results.environment)
            # Without the date and version that it writes there, the same numbers give the same
            # bytes.
            figure.savefig(
                os.path.join(directory, f"{prefix}{name}.png"), metadata={"Software": None}
            )
            plt.close(figure)


def _figure(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> "tuple[Figure, Any]":
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, **options)
    return figure, axes


def _footnote(figure: "Figure", environment: Environment) -> None:
    text = f"{machine_line(environment)}; {versions_line(environment)}"
    figure.supxlabel(
        "\n".join(textwrap.wrap(text, 130)), fontsize=8, color="#666666", x=0.01, ha="left"
    )


def _title(figure: "Figure", text: str) -> None:
    figure.suptitle(text, fontsize=15, fontweight="bold", x=0.01, ha="left")


# One call of each peer.


def _operations(rows: Sequence[PeerRow]) -> "Figure":
    columns = 2
    lines = -(-len(rows) // columns)
    # The same axis for all, so that a long bar in one panel is a long one in every other.
    figure, axes = _figure(lines, columns, (11, 3 * lines + 1), sharex=True, sharey=True)
    every = [second for row in rows for cell in row.cells for second in cell.seconds]
    limits = min(every) / 3, max(every) * 30
    for axis, row in zip(axes.flat, rows, strict=False):
        _bars(axis, row, *limits)
    for axis in axes.flat[len(rows) :]:
        axis.set_visible(False)
    written = {row.name: row.ours.median for row in rows}
    read, write, synced = (
        duration(written[name])
        for name in ("read, stored pair", "changing write", "changing write, synced")
    )
    _title(
        figure,
        f"A stored state is read in {read} and changed in {write}, or {synced} if synced",
    )
    return figure


def _bars(axis: "Axes", row: PeerRow, low: float, high: float) -> None:
    axis.set_title(row.name, loc="left", fontweight="bold")
    for place, cell in enumerate(row.cells):
        if not cell.seconds:
            axis.text(low * 1.2, place, cell.setting, va="center", color="#777777", fontsize=9)
            continue
        middle = cell.median
        axis.barh(
            place,
            middle - low,
            left=low,
            height=0.7,
            color={OURS.name: _OURS, OURS_UNCACHED.name: _OURS_PALE}.get(cell.peer, _OTHER),
            xerr=[[middle - min(cell.seconds)], [max(cell.seconds) - middle]],
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
        )
        axis.text(max(cell.seconds) * 1.25, place, duration(middle), va="center", fontsize=9)
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_yticks(range(len(row.cells)), [cell.peer for cell in row.cells])
    axis.grid(visible=False, axis="y")
    axis.set_ylim(len(row.cells) - 0.4, -0.6)  # ours at the top
    _seconds(axis.xaxis, ticks=6)
    axis.tick_params(axis="x", labelbottom=True)


def _seconds(axis: Any, subs: tuple[float, ...] = (1.0,), *, ticks: int = 12) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=subs, numticks=ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: duration(value)))
    axis.set_minor_formatter(NullFormatter())


# Waiting among writers.


def _contention(crowds: Sequence[Crowd]) -> "Figure":
    figure, axes = _figure(1, 2, (14, 6.5), width_ratios=[3, 2])
    tails, throughputs = axes.flat
    most = max(crowd.processes for crowd in crowds)
    peers = list(dict.fromkeys(crowd.peer for crowd in crowds if crowd.rounds))
    others = [peer for peer in peers if peer != OURS.name]
    colours = {OURS.name: _OURS, **dict(zip(others, _LINES * 2, strict=False))}
    crowded = {crowd.peer: crowd for crowd in crowds if crowd.rounds and crowd.processes == most}
    for peer, crowd in crowded.items():
        _tail(tails, crowd, colours[peer])
        _throughput(throughputs, [c for c in crowds if c.peer == peer], colours[peer])
    tails.set_xscale("log")
    tails.set_yscale("log")
    _seconds(tails.xaxis)
    tails.set_xlabel("a write takes longer than this (log)")
    tails.set_ylabel("share of all writes (log)")
    tails.set_title(f"{most} processes, every round", loc="left", fontweight="bold")
    figure.legend(
        *tails.get_legend_handles_labels(),
        frameon=False,
        loc="outside right upper",
        title="peer: writes of the slowest\nprocess to the mean",
    )
    throughputs.set_xscale("log", base=2)
    throughputs.set_yscale("log")
    counts = sorted({crowd.processes for crowd in crowds})
    throughputs.set_xticks(counts, map(str, counts))
    throughputs.set_xlabel("processes that write")
    throughputs.set_ylabel("writes per second, all processes (log)")
    _plain_ticks(throughputs.yaxis)
    throughputs.set_title("Throughput, median and min..max", loc="left", fontweight="bold")
    ours = crowded[OURS.name]
    p99, worst = (duration(ours.percentile(name)) for name in ("99", "100"))
    share = ours.slowest_share
    _title(
        figure,
        f"{most} processes write without pause, each write synced. With ours 1 write in 100 takes\n"
        f"more than {p99}, the worst {worst}; the slowest process makes {share:.2f} of the mean",
    )
    return figure


def _tail(axis: "Axes", crowd: Crowd, colour: str) -> None:
    is_ours = crowd.peer == OURS.name
    share = crowd.slowest_share
    for number, each in enumerate(crowd.rounds):
        axis.plot(
            [latency / 1e3 for latency, _share in each.tail],
            [share for _latency, share in each.tail],
            color=colour,
            linewidth=3 if is_ours else 1.5,
            zorder=3 if is_ours else 2,
            label=None if number else f"{crowd.peer}: {share:.2g}",
        )


def _throughput(axis: "Axes", crowds: Sequence[Crowd], colour: str) -> None:
    is_ours = crowds[0].peer == OURS.name
    medians = [crowd.throughput for crowd in crowds]
    every = [[each.throughput for each in crowd.rounds] for crowd in crowds]
    axis.errorbar(
        [crowd.processes for crowd in crowds],
        medians,
        yerr=[
            [middle - min(each) for middle, each in zip(medians, every, strict=True)],
            [max(each) - middle for middle, each in zip(medians, every, strict=True)],
        ],
        color=colour,
        marker="o",
        capsize=3,
        linewidth=3 if is_ours else 1.5,
        zorder=3 if is_ours else 2,
    )


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    formatter = FuncFormatter(lambda value, _position: f"{value:,.0f}")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(FuncFormatter(lambda _value, _position: ""))


# Cost over rows.


def _rows(rows: Sequence[Row]) -> "Figure":
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if row.rows is not None and row.unit == "x" and not row.name.endswith(": growth"):
            by_name.setdefault(row.name, []).append(row)
    columns = 3
    lines = -(-len(by_name) // columns)
    figure, axes = _figure(lines, columns, (13, 3.8 * lines + 1))
    for axis, (name, found) in zip(axes.flat, by_name.items(), strict=False):
        _curve(axis, name, found)
    for axis in axes.flat[len(by_name) :]:
        axis.set_visible(False)
    grown = {
        row.name.removesuffix(": growth"): row.median
        for row in rows
        if row.name.endswith(": growth")
    }
    largest = max(row.rows for row in rows if row.rows is not None)
    _title(
        figure,
        f"From 10,000 to {largest:,} rows, an uncached get takes "
        f"{plain(grown['get, not cached'])} times as long, and a changing set "
        f"{plain(grown['set, changing, NORMAL'])} times\nBoth axes logarithmic; "
        "bands from the quickest round to the slowest",
    )
    return figure


def _curve(axis: "Axes", name: str, rows: Sequence[Row]) -> None:
    import statistics

    sizes = [row.rows or 0 for row in rows]
    for label, colour, found in (
        (rows[0].yardstick, "#777777", [row.bare for row in rows]),
        ("ours", _OURS, [row.ours for row in rows]),
    ):
        axis.fill_between(
            sizes,
            [min(each) for each in found],
            [max(each) for each in found],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
        axis.plot(
            sizes,
            [statistics.median(each) for each in found],
            color=colour,
            marker="o",
            linewidth=2.5 if colour == _OURS else 1.5,
            label=label,
        )
    for row in rows:
        if row.limit is not None:
            most = statistics.median(row.bare) * row.limit
            axis.plot(
                [row.rows or 0],
                [most],
                color=_LIMIT,
                marker="_",
                markersize=16,
                markeredgewidth=3,
                linestyle="none",
                label=f"limit {row.limit_text}",
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.set_ylim(low / 1.3, high * 2.5)  # room for the legend
    _seconds(axis.yaxis, (1.0, 2.0, 5.0))
    axis.set_title(textwrap.fill(name, 34), loc="left", fontweight="bold")
    axis.set_xlabel("rows (log)")
    axis.legend(frameon=False, loc="upper left", fontsize=9)
