"""The pages that people read, written from the last full run: nobody copies a number by hand."""

import os
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Final

from ._comparison import PeerRow
from ._contention import Crowd
from ._environment import machine_line, versions_line
from ._peers import FILE_LOCK, PEERS
from ._results import RESULTS, Results
from ._rows import Row, duration, plain, spread

__all__ = ["README", "RESULTS_PAGE", "in_readme", "readme_block", "results_page", "rewrite_pages"]

README: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "README.md")
RESULTS_PAGE: Final = os.path.join(RESULTS, "README.md")

_BLOCK: Final = re.compile(
    r"(?<=<!-- benchmarks: written by make bench-full -->\n).*(?=<!-- benchmarks: end -->)",
    re.DOTALL,
)


def rewrite_pages(results: Results) -> None:
    """Write what the results say into the README and onto their own page."""
    with open(README) as file:
        page = file.read()
    with open(README, "w") as file:
        file.write(_BLOCK.sub(lambda _match: readme_block(results), page))
    with open(RESULTS_PAGE, "w") as file:
        file.write(results_page(results))


def in_readme() -> str:
    """Return what the README says now."""
    with open(README) as file:
        found = _BLOCK.search(file.read())
    if found is None:
        raise LookupError("the README has no place for the benchmarks")
    return found[0]


def readme_block(results: Results | None) -> str:
    """Return what belongs into the README; None where there has been no full run."""
    if results is None:
        return "Nothing yet: `make bench-full` has not been run.\n"
    limited = [row for row in results.rows if row.limit is not None]
    return "\n".join(
        [
            *_where(results),
            *_limits_table(row for row in limited if row.rows is None),
            "",
            _among_ten_million([row for row in limited if row.rows is not None]),
            "",
            "The same work done by what people use today, one call, median and min..max:",
            "",
            *_peers_table(results.peers),
            "",
            *_losses(results.peers),
            "",
            "![One call of each storage](benchmarks/results/operations.png)",
            "",
            "[The whole run](benchmarks/results/README.md), with durability settings, 1 to 8",
            "processes, and 10^3 to 10^7 rows.",
            "",
        ]
    )


def results_page(results: Results) -> str:
    """Return the page that stands beside the results."""
    return "\n".join(
        [
            "# The last full run",
            "",
            "Written by `make bench-full` from [full.json](full.json), which has every round.",
            "What the rows mean is [one directory up](../README.md).",
            "",
            *_where(results),
            "## Limits and everything else that was compared",
            "",
            *_limits_table(results.rows),
            "",
            "## What people use today",
            "",
            *_peers_table(results.peers),
            "",
            *_losses(results.peers),
            "",
            "![One call of each storage](operations.png)",
            "",
            "How each was set to the durability of its rows:",
            "",
            "| | not synced: survives a crash of the process | synced: survives a power cut |",
            "|---|---|---|",
            *(_line([kind.name, *_settings(kind.settings)]) for kind in (*PEERS, FILE_LOCK)),
            "",
            "## Processes that write at the same time",
            "",
            "Each write is synced, and nobody pauses.",
            "",
            *_crowds_table(results.crowds),
            "",
            "![Waiting among 8 writers](contention.png)",
            "",
            "## From a thousand rows to ten million",
            "",
            "![Cost of one call over the number of rows](rows.png)",
            "",
        ]
    )


def _settings(settings: object) -> list[str]:
    assert isinstance(settings, dict)
    return [settings[durability] or "-" for durability in ("not synced", "synced")]


def _where(results: Results) -> list[str]:
    return [
        f"On {machine_line(results.environment)}; {versions_line(results.environment)}.",
        "",
    ]


def _among_ten_million(rows: Sequence[Row]) -> str:
    missed = [f"{row.label} ({row.median:.2f}{row.suffix})" for row in rows if row.is_missed]
    says = f"missed: {', '.join(missed)}" if missed else "none is missed"
    return f"Of {len(rows)} more limits, among ten million rows, {says}."


def _limits_table(rows: Iterable[Row]) -> list[str]:
    return [
        "| operation | ours | compared with | ratio (min..max) | limit | to the physical limit |",
        "|---|---|---|---|---|---|",
        *map(_limit_line, rows),
    ]


def _limit_line(row: Row) -> str:
    ours, bare = row.costs()
    ratio = f"{row.median:.2f}{row.suffix} ({min(row.values):.2f}..{max(row.values):.2f})"
    physical = "" if row.above_physical is None else f"{plain(row.above_physical)} x"
    return _line(
        [
            row.label,
            ours,
            f"{row.yardstick}: {bare}",
            f"**{ratio}**" if row.is_missed else ratio,
            f"{row.limit_text} **missed**" if row.is_missed else row.limit_text,
            f"{physical} {row.physical_name}" if physical else "",
        ]
    )


def _peers_table(rows: Sequence[PeerRow]) -> list[str]:
    return [
        _line(["", *(row.name for row in rows)]),
        "|---|" + "---:|" * len(rows),
        *(
            _line([cells[0].peer, *(_peer_cell(cell.seconds) for cell in cells)])
            for cells in zip(*(row.cells for row in rows), strict=True)
        ),
    ]


def _peer_cell(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return f"{duration(statistics.median(seconds))}<br><sub>{spread(seconds)}</sub>"


def _losses(rows: Sequence[PeerRow]) -> list[str]:
    return [
        "Who is quicker than this package:",
        "",
        *(f"- {row.name}: {', '.join(row.quicker) or 'nobody'}" for row in rows),
    ]


def _crowds_table(crowds: Sequence[Crowd]) -> list[str]:
    return [
        "| | processes | writes/s | p50 | p99 | worst | slowest process to the mean |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *map(_crowd_line, crowds),
    ]


def _crowd_line(crowd: Crowd) -> str:
    if not crowd.rounds:
        return _line([crowd.peer, str(crowd.processes), crowd.setting, "", "", "", ""])
    throughputs = [each.throughput for each in crowd.rounds]
    spread = f"{plain(min(throughputs))}..{plain(max(throughputs))}"
    return _line(
        [
            crowd.peer,
            str(crowd.processes),
            f"{plain(crowd.throughput)} ({spread})",
            *(duration(crowd.percentile(name)) for name in ("50", "99", "100")),
            f"{crowd.slowest_share:.2f}",
        ]
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
