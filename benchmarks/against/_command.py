"""The whole run of ``make bench ARGS="--against REV"``."""

import os

from rich.console import Console

from .._environment import environment, machine_line
from .._progress import progress_bar
from ._checkouts import ROOT, commit_of, installed, scratch_with
from ._effort import Effort
from ._report import ratios_table, sentences
from ._rows import ROWS
from ._turns import measured

__all__ = ["measure_against"]


def measure_against(rev: str, parent: str | None, effort: Effort, console: Console) -> None:
    """Measure the working tree and a revision of it in turns, and print how they compare.

    Args:
        rev: what Git knows the revision by.
        parent: the directory for files; None is the one for temporary files.
        effort: how much is done.
        console: where it is printed.

    Raises:
        click.ClickException: there is no such revision, or it cannot be installed.
    """
    commit = commit_of(rev)
    steps = 2 + effort.rounds * len(ROWS)
    with scratch_with(commit, parent) as (directory, worktree):
        where = environment(directory)
        with progress_bar(console, steps, width=30) as (describe, advance):
            describe(f"installing {rev}")
            revision = installed(rev, worktree, os.path.join(directory, "environment"))
            advance()
            describe("installing the working tree")
            here = installed("here", ROOT, os.path.join(directory, "environment-here"))
            advance()
            checkouts = (revision, revision, here)
            rows, refused = measured(checkouts, list(ROWS), directory, effort, describe, advance)
    console.print(machine_line(where), highlight=False)
    console.print(f"The working tree (here) beside {rev} ({commit[:12]})", highlight=False)
    console.print(ratios_table(rows, rev))
    for sentence in sentences(rows, refused, rev):
        console.print(sentence)
