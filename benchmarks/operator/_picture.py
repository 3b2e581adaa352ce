"""One picture: how long a worker's set takes beside each command."""

import statistics

from .._environment import machine_line
from ._found import Found
from ._page import versions
from ._workers import BLOCKED_MS

__all__ = ["draw"]

# Of Okabe's and Ito's colours, as in the other pictures.
_KEPT = "#0072B2"
_MISSED = "#D55E00"
_OTHER = "#777777"


def draw(found: Found, path: str) -> None:
    """Draw it into a file."""
    # Only here, as it takes half a second, and starts threads that do not belong to a run.
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figures = [figure for figure in found.figures if figure.sets][::-1]
    picture, axis = plt.subplots(figsize=(11, 0.42 * len(figures) + 2), layout="constrained")
    for place, figure in enumerate(figures):
        median, p99 = (
            statistics.median(getattr(each, name) for each in figure.sets)
            for name in ("median_ms", "p99_ms")
        )
        colour = _MISSED if figure.has_blocked else _OTHER if figure.is_control else _KEPT
        axis.plot([median, figure.worst_ms], [place, place], color=colour, linewidth=1.5)
        axis.plot(median, place, "|", color=colour, markersize=12, markeredgewidth=2)
        axis.plot(p99, place, "o", color=colour, markersize=7)
        axis.plot(figure.worst_ms, place, ">", color=colour, markersize=7)
    axis.axvline(BLOCKED_MS, color=_MISSED, linestyle="--", linewidth=1.2)
    axis.text(BLOCKED_MS, len(figures) - 0.4, " limit", color=_MISSED, va="bottom")
    axis.set_yticks(range(len(figures)), [figure.name for figure in figures])
    axis.set_ylim(-0.7, len(figures) + 0.2)
    axis.set_xscale("log")
    axis.set_xlabel("ms of a set (log): | the median, • 99 of 100, ▸ the worst of all rounds")
    axis.xaxis.set_major_formatter(lambda value, _place: f"{value:g}")
    axis.grid(axis="x", color="#E6E6E6")
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    worst = max(figure.worst_ms for figure in figures if not figure.is_control)
    says = f"No set takes longer than {worst:.0f} ms"
    picture.suptitle(
        f"{says} while a command works on {found.rows:,} rows",
        fontsize=14,
        fontweight="bold",
        x=0.01,
        ha="left",
    )
    picture.supxlabel(
        f"{machine_line(found.environment)}; {versions(found)}",
        fontsize=8,
        color="#666666",
        x=0.01,
        ha="left",
    )
    # Without the date and version that it writes there, the same numbers give the same bytes.
    picture.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(picture)
