"""The chart of fairness: how often each worker got to write while nothing else disturbed it."""

from collections import defaultdict
from collections.abc import Sequence

from soaking.campaign import Round
from soaking.conduct import LEAST_SHARE

from .drawing import BAD, CALM, INK, MUTED, as_svg, new_figure
from .tally import is_calm

__all__ = ["fairness"]


def fairness(rounds: Sequence[Round]) -> str | None:
    """Draw each worker's share in each calm round, or nothing if there was none."""
    shares: dict[int, list[float]] = defaultdict(list)
    for each in rounds:
        if is_calm(each) and each.verdict:
            for worker, share in each.verdict["numbers"]["shares"].items():
                shares[int(worker)].append(share)
    if not shares:
        return None
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(10.0, 2.6)
    axis = figure.subplots()
    workers = sorted(shares)
    across = [worker for worker in workers for _ in shares[worker]]
    up = [share for worker in workers for share in shares[worker]]
    axis.axhline(1, color=MUTED, linewidth=0.8)
    axis.axhline(LEAST_SHARE, color=BAD, linewidth=1.2, linestyle=(0, (5, 3)))
    axis.annotate(
        f"limit {LEAST_SHARE}", (1, LEAST_SHARE), (-2, 3), ("axes fraction", "data"),
        textcoords="offset points", ha="right", color=BAD,
    )  # fmt: skip
    axis.plot(across, up, "o", color=CALM, markersize=6, alpha=0.6, markeredgewidth=0)
    if len(up) > len(workers):
        means = [sum(shares[worker]) / len(shares[worker]) for worker in workers]
        axis.plot(workers, means, linestyle="none", marker="_", color=INK, markersize=14)
    axis.set_ylim(0, max(1.6, 1.1 * max(up)))
    axis.set_xlim(workers[0] - 0.7, workers[-1] + 0.7)
    axis.xaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))
    axis.grid(visible=False, axis="x")
    axis.set_xlabel("worker")
    axis.set_ylabel("writes, to their mean")
    return as_svg(
        figure,
        "fairness",
        f"Each worker's writes in calm rounds, as a share of the mean: from {min(up):.2f} to "
        f"{max(up):.2f}, with a limit of {LEAST_SHARE}.",
    )
