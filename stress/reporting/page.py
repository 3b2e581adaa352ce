"""The report."""

from pathlib import Path

from soaking.campaign import Campaign


def write_report(
    path: Path, campaign: Campaign, *, command: str, sabotage: str | None, interrupted: bool
) -> None:
    """Write it."""
