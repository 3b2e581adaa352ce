"""What is paid once: the import, and the first call."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.engine import schema

from ._effort import Effort
from ._files import kept_open, pair_of
from ._measure import Batch, Comparison, quiet
from ._operations import Ground

__all__ = ["importing", "opening"]

_OPENINGS: Final = 20


@contextmanager
def opening(ground: Ground, _effort: Effort, *, is_kept_open: bool) -> Iterator[Comparison]:
    """A new store and its first `get`. Closing is no part of it."""
    module, sender = pair_of(ground.rows // 2)

    def ours() -> Callable[[], None]:
        store = SQLiteStorage(ground.ours)
        store.get(module, sender)
        return store.close

    def bare() -> Callable[[], None]:
        connection = sqlite3.connect(ground.bare)
        connection.execute(schema.SELECT_STATE, (sender, module)).fetchone()[0]
        return connection.close

    def batch_of(opened: Callable[[], Callable[[], None]]) -> Batch:
        def batch() -> float:
            seconds = 0.0
            with quiet():
                for _ in range(_OPENINGS):
                    start = time.perf_counter()
                    close = opened()
                    seconds += time.perf_counter() - start
                    close()
            return seconds / _OPENINGS

        return batch

    comparison = Comparison(
        "open and get, others have it open" if is_kept_open else "open and get, nobody else has",
        batch_of(ours),
        batch_of(bare),
        "connect and SELECT",
        limit=3.0 if is_kept_open else None,
    )
    if is_kept_open:
        with kept_open(ground.ours, ground.bare):
            yield comparison
    else:
        yield comparison


@contextmanager
def importing(ground: Ground, _effort: Effort) -> Iterator[Comparison]:
    """What the package adds to the import of what it is made of."""
    # Compiling the sources is paid for once, at installation or in the warm-up here, also
    # where this process was told to keep no bytecode.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": ground.directory}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    # Both from one interpreter each round: two interpreters differ by more than the limit.
    code = (
        "import time; start = time.perf_counter(); import sqlite3, filelock; "
        "below = time.perf_counter(); import lamson_sqlite_state; "
        "print(below - start, time.perf_counter() - start)"
    )
    waiting: dict[str, float] = {}

    def half(what: str) -> Batch:
        def batch() -> float:
            if what not in waiting:
                process = subprocess.run(
                    [sys.executable, "-c", code],
                    check=True,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
                waiting["below"], waiting["all"] = map(float, process.stdout.split())
            return waiting.pop(what)

        return batch

    yield Comparison(
        "import, beyond sqlite3 and filelock",
        half("all"),
        half("below"),
        "import of those",
        unit="ms",
        limit=5.0,
    )
