"""What all charts have in common: their style, and how a figure becomes a part of the page."""

import io
import re
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BAD",
    "BAND",
    "CALM",
    "FAULTS",
    "INK",
    "MUTED",
    "READS",
    "WRITES",
    "as_svg",
    "new_figure",
    "time_ticks",
]

# Drawn in these colours, which are names only: the page says what they look like, by day, by night
# and on paper.
INK: Final = "#010101"
MUTED: Final = "#020202"
_LINE: Final = "#030303"
BAND: Final = "#040404"
READS: Final = "#050505"
WRITES: Final = "#060606"
CALM: Final = "#070707"
FAULTS: Final = "#080808"
BAD: Final = "#090909"

_VARIABLES: "Final[Mapping[str, str]]" = MappingProxyType(
    {
        INK: "var(--ink)",
        MUTED: "var(--muted)",
        _LINE: "var(--line)",
        BAND: "var(--band)",
        READS: "var(--reads)",
        WRITES: "var(--writes)",
        CALM: "var(--calm)",
        FAULTS: "var(--faults)",
        BAD: "var(--bad)",
    }
)

_STYLE: Final[dict[Any, Any]] = {
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    # Text stays text: to be searched, read aloud, and set in the page's font.
    "svg.fonttype": "none",
    "path.simplify_threshold": 0.5,
}


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches; to be drawn and turned into SVG at once."""
    # Only here, as it takes half a second, and nothing of it belongs into a process that forks.
    import matplotlib
    from matplotlib.figure import Figure

    # Not undone: nothing else is drawn in this process.
    matplotlib.rcParams.update(_STYLE)
    return Figure((width, height), layout="constrained")


def as_svg(figure: "Figure", name: str, label: str) -> str:
    """Return a figure as an `svg` element that may stand in a page beside others.

    Args:
        figure: to be drawn.
        name: of the chart, unlike all others of the page.
        label: what is to be seen, for those who do not see it.
    """
    import matplotlib

    # Else the same numbers would give other names each time.
    with matplotlib.rc_context({"svg.hashsalt": name}), io.StringIO() as file:
        figure.savefig(file, format="svg")
        text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL
    )
    text = re.sub(r' xmlns(?::xlink)?="[^"]*"| version="1.1"', "", text)
    referred = set(re.findall(r"url\(#(\w+)\)|xlink:href=\"#(\w+)\"", text))
    names = {each for both in referred for each in both}
    text = re.sub(
        r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' * (found[1] in names), text
    )
    text = re.sub(r"url\(#(\w+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'xlink:href="#(\w+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"font: ((?:\d+ )?[\d.]+px)[^;\"]*", r"font: \1 var(--font)", text)
    text = re.sub(r"#0[1-9]0[1-9]0[1-9]", lambda found: _VARIABLES[found[0]], text)
    text = re.sub(r"\n\s*", "\n", text)
    size = re.compile(r'<svg width="[^"]*" height="[^"]*"')
    return size.sub(f'<svg role="img" aria-label="{escape(label)}"', text, count=1)


def time_ticks(axis: "Axes") -> None:
    """Have a logarithmic horizontal axis of times (µs) say what they are."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = axis.get_xlim()
    words = {1: "1 µs", 100: "100 µs", 10**4: "10 ms", 10**6: "1 s", 10**8: "100 s"}
    shown = {value: text for value, text in words.items() if low <= value <= high}
    axis.xaxis.set_major_locator(FixedLocator(list(shown)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels(shown.values())
