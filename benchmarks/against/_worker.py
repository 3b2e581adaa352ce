"""A process of one checkout, which does the slices of one row when it is told to.

It says "ready" and where its package is from, does a slice for each line that it reads and
answers with the seconds of one call, and ends when there are no more lines.
"""

import os
import shutil
import sys
import tempfile
import time

import lamson_sqlite_state

from .._files import open_store, pair_of, scattered
from ._effort import EFFORTS, Effort
from ._rows import ROWS

__all__ = ["main"]


def main(directory: str, effort_name: str, row: str) -> None:
    """Do the slices of that row on a copy of the store in that directory, which is made first."""
    effort = EFFORTS[effort_name]
    with tempfile.TemporaryDirectory(dir=directory) as own:
        path = os.path.join(own, "store")
        shutil.copyfile(_filled(directory, effort), path)
        with ROWS[row](path, effort) as batch:
            # Which warms up: a store looks closer at its files while their directory has just
            # changed, as it has by the very opening.
            deadline = time.monotonic() + effort.warm_up_seconds
            batch()
            while time.monotonic() < deadline:
                batch()
            print("ready", lamson_sqlite_state.__file__, flush=True)
            while sys.stdin.readline():
                print(batch(), flush=True)


def _filled(directory: str, effort: Effort) -> str:
    """Return the path of a closed store, which this checkout's own code has filled."""
    path = os.path.join(directory, "filled")
    if not os.path.exists(path):
        with open_store(path, "NORMAL") as store:
            for number in scattered(effort.pairs):
                store.set(*pair_of(number), "POSTING")
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
