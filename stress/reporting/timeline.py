"""The chart of a run over time: calls, strikes and errors, round by round."""

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from soaking.campaign import Round

from .drawing import BAD, BAND, FAULTS, INK, MUTED, READS, WRITES, as_svg, new_figure
from .tally import errors_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["timeline"]

_WIDTH_INCHES: Final = 10.0
_POINTS: Final = 640.0  # of that, for the axis itself

# Columns that the run is divided into: more than one sees would only make the page large.
_COLUMNS: Final = 480
_LEAST_SECONDS: Final = 0.1

# What is slower than this is shown as nothing.
_LEAST_RATE: Final = 10.0

_LABEL_POINTS: Final = 9.5
_LETTER_POINTS: Final = 5.0
_NUMBER_POINTS: Final = 26.0
_LABEL_LENGTH: Final = 24


def timeline(rounds: Sequence[Round]) -> str | None:
    """Draw all judged rounds, or nothing if there are none."""
    judged = [each for each in rounds if each.verdict]
    if not judged:
        return None
    end = max(_end(each) for each in judged)
    figure = new_figure(_WIDTH_INCHES, 4.6)
    calls, strikes, errors = figure.subplots(3, 1, sharex=True, height_ratios=[6, 0.5, 1.3])
    _bands((calls, strikes, errors), judged)
    _labels(calls, judged, end)
    most = _calls(calls, judged, end)
    _strikes(strikes, judged, end)
    _errors(errors, judged)
    errors.set_xlim(0, end)
    errors.set_xlabel("seconds since the run began")
    failed = [each.number for each in rounds if each.problems]
    return as_svg(
        figure,
        "timeline",
        f"Calls per second over {end:.0f} seconds and {len(judged)} judged rounds, "
        f"at most {most:,.0f}; below it when faults struck, and the errors that calls raised. "
        + (f"Failed rounds: {', '.join(map(str, failed))}." if failed else "No round failed."),
    )


def _seconds(this: Round) -> float:
    return float(this.verdict["numbers"]["seconds"]) if this.verdict else 0.0


def _end(this: Round) -> float:
    return this.began_seconds + _seconds(this)


def _bands(axes: "Iterable[Axes]", rounds: Sequence[Round]) -> None:
    for axis in axes:
        axis.grid(visible=False, axis="x")
        for each in rounds:
            color, alpha = (BAD, 0.22) if each.problems else (BAND, 1.0)
            if each.problems or each.number % 2:
                axis.axvspan(
                    each.began_seconds, _end(each), color=color, alpha=alpha, linewidth=0, zorder=0
                )


def _labels(axis: "Axes", rounds: Sequence[Round], end: float) -> None:
    """Write above each round what struck in it; where that does not fit, some rounds' numbers."""
    widths = [_seconds(each) / end * _POINTS for each in rounds]
    is_wide = median(widths) >= _LABEL_POINTS
    names = ["✕ " * bool(each.problems) + _name(each) for each in rounds]
    is_upright = any(
        _LETTER_POINTS * len(name) > width for name, width in zip(names, widths, strict=True)
    )
    step = 1 if is_wide else math.ceil(_NUMBER_POINTS / median(widths) / 5) * 5
    for each, name in zip(rounds, names, strict=True):
        middle = (each.began_seconds + _end(each)) / 2
        if each.problems and not is_wide:  # its band may be too narrow to be seen
            axis.text(
                middle, 0.98, "✕", transform=axis.get_xaxis_transform(), ha="center", va="top",
                color=BAD, fontweight="bold",
            )  # fmt: skip
        if is_wide or each.number % step == 0 or each.number == 1:
            axis.text(
                middle,
                1.02,
                name if is_wide else f"{each.number}",
                transform=axis.get_xaxis_transform(),
                rotation=90 if is_wide and is_upright else 0,
                ha="center",
                va="bottom",
                fontsize=7.5,
                color=BAD if each.problems else INK,
            )


def _name(this: Round) -> str:
    name = " + ".join(this.faults)
    if len(name) <= _LABEL_LENGTH:
        return name
    return f"{this.faults[0]} + {len(this.faults) - 1} more"


def _calls(axis: "Axes", rounds: Sequence[Round], end: float) -> float:
    width = _LEAST_SECONDS * math.ceil(end / _LEAST_SECONDS / _COLUMNS)
    edges = [width * column for column in range(math.ceil(end / width) + 2)]
    total, writes = [0.0] * (len(edges) - 1), [0.0] * (len(edges) - 1)
    for each in rounds:
        numbers = each.verdict["numbers"] if each.verdict else {}
        _spread(numbers["timeline"], numbers["bin_seconds"], each.began_seconds, width, total)
        _spread(numbers["writes"], numbers["bin_seconds"], each.began_seconds, width, writes)
    # The scale is logarithmic: where reads come from memory they are a hundred times as many.
    most = max(*total, 10 * _LEAST_RATE)
    for rates, color, label in ((total, READS, "all calls"), (writes, WRITES, "writes")):
        axis.stairs(
            rates,
            edges,
            baseline=_LEAST_RATE / 10,
            fill=True,
            color=color,
            linewidth=0,
            label=label,
        )
    axis.set_yscale("log")
    axis.set_ylim(_LEAST_RATE, 5 * most)  # room for the legend
    axis.set_ylabel("calls per second")
    axis.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axis.minorticks_off()
    axis.legend(loc="upper right", ncols=2, borderaxespad=0.2)
    return max(total)


def _spread(
    bins: Sequence[int], bin_seconds: float, began: float, width: float, into: list[float]
) -> None:
    """Add a round's bins to the run's columns, as rates; a bin may lie in several columns."""
    for number, count in enumerate(bins):
        begin = began + number * bin_seconds
        column = int(begin / width)
        while count and column < len(into) and column * width < begin + bin_seconds:
            shared = min((column + 1) * width, begin + bin_seconds) - max(column * width, begin)
            into[column] += count * shared / bin_seconds / width
            column += 1


def _strikes(axis: "Axes", rounds: Iterable[Round], end: float) -> None:
    # One line for all, and no more of its strokes than can be told apart.
    columns = {
        round((each.began_seconds + second) / end * _POINTS)
        for each in rounds
        for second in (each.verdict["numbers"]["strike_seconds"] if each.verdict else ())
    }
    nothing = float("nan")
    across = [x for column in sorted(columns) for x in (column / _POINTS * end,) * 2 + (nothing,)]
    axis.plot(across, [0.0, 1.0, nothing] * len(columns), color=FAULTS, linewidth=0.9)
    axis.set_ylim(-0.1, 1.1)
    axis.set_yticks([])
    axis.grid(visible=False)
    axis.spines["left"].set_visible(False)
    axis.set_ylabel("faults", rotation=0, ha="right", va="center")


def _errors(axis: "Axes", rounds: Iterable[Round]) -> None:
    edges, values = [0.0], [0.0]
    for each in rounds:
        edges += [max(each.began_seconds, edges[-1]), max(_end(each), edges[-1])]
        values += [errors_of(each).total() / max(_seconds(each), 1e-9), 0.0]
    axis.stairs(values[:-1], edges, fill=True, color=MUTED)
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(0, max(10.0, 2 * max(values)))
    axis.yaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axis.set_yticks([0, 1, *(10.0**power for power in (2, 4) if 10.0**power <= 2 * max(values))])
    axis.minorticks_off()
    axis.set_ylabel("errors/s", rotation=0, ha="right", va="center")
