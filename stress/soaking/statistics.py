"""A round in numbers, for the report: how much, how fast, how often a fault struck."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from judges.history import Kind

from .conduct import shares
from .evidence import Evidence, calls_of

__all__ = ["Histogram", "bucket_us", "merged", "numbers_of", "percentile_us"]

Histogram: TypeAlias = dict[int, int]
"""How many calls took how long, in buckets of a logarithmic scale."""

_BUCKETS_PER_DECADE: Final = 20

_BIN_NS: Final = 100_000_000

_MOST_STRIKES: Final = 400


def bucket_us(bucket: int) -> float:
    """Return the time (µs) in the middle of a bucket."""
    return float(10 ** ((bucket + 0.5) / _BUCKETS_PER_DECADE))


def percentile_us(histogram: Mapping[int, int], share: float) -> float | None:
    """Return the time (µs) that a share of the calls did not exceed; None if there were none."""
    left = share * sum(histogram.values())
    for bucket, count in sorted(histogram.items()):
        left -= count
        if left <= 0:
            return bucket_us(bucket)
    return None


def numbers_of(evidence: Evidence) -> dict[str, Any]:
    """Return what the report shows of a round, as JSON has it. Times are in ns, from its start."""
    start_ns = evidence.record["started_ns"]
    seconds = (evidence.record["ended_ns"] - start_ns) / 1e9
    calls = calls_of(evidence.history)
    kinds = Counter(op.kind.name.lower() for op in calls)
    latencies: dict[str, Histogram] = defaultdict(Counter)
    timeline: Counter[int] = Counter()
    writes: Counter[int] = Counter()
    for op in calls:
        bin_ = max(0, (op.called_ns - start_ns) // _BIN_NS)
        timeline[bin_] += 1
        writes[bin_] += op.kind != Kind.GET
        if op.returned_ns is not None:
            us = max(op.returned_ns - op.called_ns, 1) / 1e3
            latencies[op.kind.name.lower()][math.floor(math.log10(us) * _BUCKETS_PER_DECADE)] += 1
    strikes = Counter((event["fault"], event["what"]) for event in evidence.events)
    return {
        "seconds": seconds,
        "calls": dict(kinds),
        "unknown": sum(op.returned_ns is None for op in calls),
        "errors": dict(Counter(f"{e['types'][0]}" for e in evidence.errors)),
        "timeline": _filled(timeline),
        "writes": _filled(writes),
        "bin_seconds": _BIN_NS / 1e9,
        "latencies": {kind: dict(found) for kind, found in latencies.items()},
        "shares": shares(evidence),
        "processes": len(evidence.record["members"]),
        "strikes": [[fault, what, count] for (fault, what), count in strikes.items()],
        "strike_seconds": [
            (event["begin_ns"] - start_ns) / 1e9 for event in evidence.events[:_MOST_STRIKES]
        ],
        "largest": evidence.record["largest"],
    }


def _filled(bins: Mapping[int, int]) -> list[int]:
    return [bins.get(number, 0) for number in range(max(bins, default=-1) + 1)]


def merged(histograms: Iterable[Mapping[Any, int]]) -> Histogram:
    """Return all in one. The buckets may be text, as JSON makes them."""
    total: Counter[int] = Counter()
    for histogram in histograms:
        for bucket, count in histogram.items():
            total[int(bucket)] += count
    return total
