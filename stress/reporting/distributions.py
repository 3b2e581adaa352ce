"""The chart of how long calls took: with faults, and without."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from soaking.campaign import Round
from soaking.statistics import Histogram, bucket_us

from .drawing import CALM, FAULTS, as_svg, new_figure, time_ticks
from .tally import KINDS, is_calm, latencies

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["distributions"]

# So many buckets of the records are one step of the chart, for the noise.
_MERGED: Final = 2

_COLUMNS: Final = 3

# Where areas begin, on an axis that has no zero: below all that is shown.
_NOTHING: Final = 1e-9


def distributions(rounds: Sequence[Round]) -> str | None:
    """Draw the distribution of each operation, or nothing if there were none."""
    calm = [each for each in rounds if is_calm(each)]
    struck = [each for each in rounds if not is_calm(each)]
    found = [(kind, latencies(calm, kind), latencies(struck, kind)) for kind in KINDS]
    every = [bucket for _, *both in found for histogram in both for bucket in histogram]
    if not every:
        return None
    figure = new_figure(10.0, 4.6)
    axes = figure.subplots(-(-len(KINDS) // _COLUMNS), _COLUMNS, sharex=True, sharey=True)
    for axis, (kind, without, with_faults) in zip(axes.flat, found, strict=False):
        _curves(axis, kind, without, with_faults)
    axes.flat[0].set_yscale("log")
    axes.flat[0].set_ylim(min(_least_share(each) for _, *both in found for each in both) / 3, 150)
    axes.flat[0].set_xscale("log")
    axes.flat[0].set_xlim(bucket_us(min(every) - 2), bucket_us(max(every) + 2))
    axes.flat[0].yaxis.set_major_formatter(lambda value, _place: f"{value:.12g} %")
    for axis in axes[:, 0]:
        axis.set_ylabel("share of the calls")
    for axis in axes.flat[: len(KINDS)]:
        time_ticks(axis)
        axis.tick_params(axis="x", labelbottom=True)
        axis.minorticks_off()
    last = axes.flat[-1]
    last.set_axis_off()
    lines, labels = axes.flat[0].get_legend_handles_labels()
    last.legend(lines, labels, loc="center left", fontsize=9.5)
    return as_svg(
        figure,
        "latencies",
        "For each operation, the share of its calls that took about so long, in rounds without "
        "faults and with. The table below has the same in numbers.",
    )


def _least_share(histogram: Histogram) -> float:
    """Return what share (%) of all calls a single one is, if it is alone in its step."""
    return 100 / max(sum(histogram.values()), 1)


def _curves(axis: "Axes", kind: str, without: Histogram, with_faults: Histogram) -> None:
    axis.set_title(kind)
    for histogram, color, is_filled, label in (
        (without, CALM, True, "without faults"),
        (with_faults, FAULTS, False, "with faults"),
    ):
        steps: Counter[int] = Counter()
        for bucket, count in histogram.items():
            steps[bucket // _MERGED] += count
        if not steps:
            axis.stairs([], [0], color=color, fill=is_filled, label=label)
            continue
        places = range(min(steps), max(steps) + 1)
        edges = [bucket_us(_MERGED * place) for place in (*places, places.stop)]
        total = steps.total()
        axis.stairs(
            [100 * steps[place] / total or float("nan") for place in places],
            edges,
            baseline=_NOTHING if is_filled else None,
            fill=is_filled,
            color=color,
            alpha=0.45 if is_filled else 1.0,
            linewidth=1.3,
            label=label,
        )
