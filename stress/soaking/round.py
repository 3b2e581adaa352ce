"""One round: workers are forked from a process that uses the store itself, faults strike, it ends.

What everybody did and saw is in the round's directory then, for `soaking.judgement` to read.
"""

import heapq
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Final

from faults import Fault
from lamson_sqlite_state import SQLiteStorage
from workers.crew import Crew
from workers.setting import Board, Setting
from workers.stage import Stage
from workers.worker import Worker

from . import checks
from .audit import audited, open_descriptors
from .interruption import heed

__all__ = ["Tick", "run_round"]

Tick = Callable[[Board], None]
"""Called again and again while a round goes on, to show how far it is."""

_TICK_SECONDS: Final = 0.01
_PARENT_THREADS: Final = 2

# A worker ends when its time is up and its last call has returned or given up: a first `get`
# may wait twice for the timeout.
_GRACE_SECONDS: Final = 15.0

# Of the thread that empties the store in the beginning and reads it in the end.
_KEEPER: Final = 90


def run_round(
    setting: Setting,
    workers: int,
    faults: Sequence[Fault],
    tick: Tick = lambda _board: None,
) -> None:
    """Run a round to its end, and leave its records in its directory.

    Args:
        setting: of the round. The directory is there, and empty.
        workers: how many processes are forked.
        faults: that strike meanwhile.
        tick: called often.
    """
    board = Board(setting.directory / "board")
    crew = Crew(setting.directory)
    store = setting.new_store()
    watch = _Watch(setting.path)

    def work(number: int) -> None:
        worker = Worker(setting, board, store, number)
        drivers = worker.drivers()
        with ExitStack() as stack:
            for fault in faults:
                stack.enter_context(fault.inside(worker))
            worker.run(drivers)
        if worker.random.random() < 0.5:
            store.close()  # the others leave that to the kernel
            if not any(fault.keeps_descriptors for fault in faults):
                _demand_nothing_open(setting.path)

    def meanwhile() -> None:
        crew.poll()
        watch.look()
        tick(board)

    stage = Stage(setting, board, crew, work)
    keeper = stage.driver(store, 0, _KEEPER)
    keeper.caller.clear()  # from here on every pair is known to be stored nowhere
    parent = _Parent()
    if all(fault.with_parent for fault in faults):
        parent.start(stage, store)
    else:
        store.close()
    started_ns = time.monotonic_ns()
    problems: list[str] = []
    extended = 0.0
    try:
        for _ in range(workers):
            stage.add_worker()
        extended = board.extend(started_ns / 1e9)
        problems += _strike(stage, faults, meanwhile)
    finally:
        board.end()
        patience = _GRACE_SECONDS + 2 * setting.timeout
        crew.wait(patience, meanwhile)
        crew.reap_orphans(patience)
        problems += parent.end(patience)
        store.close()  # also where a Ctrl-C ends all of it, and a disk is to be unmounted
    ended_ns = time.monotonic_ns()
    findings = audited(setting, store, keeper.caller, crew, faults)
    findings[checks.BESIDE] = problems
    keeper.close()
    stage.log.close()
    record = {
        "started_ns": started_ns,
        "ended_ns": ended_ns,
        "until_ns": int((setting.until + extended) * 1e9),
        "setting": asdict(setting),
        "workers": workers,
        "faults": [fault.name for fault in faults],
        "largest": watch.largest,
        "findings": findings,
        "members": [asdict(member) for member in crew.members],
    }
    (setting.directory / "round.json").write_text(json.dumps(record, default=str))


@dataclass
class _Watch:
    """What the files grew to while a round went on."""

    path: str
    largest: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        for ending in ("", "-wal"):
            try:
                size = os.stat(self.path + ending).st_size
            except FileNotFoundError:
                continue
            self.largest[ending] = max(size, self.largest.get(ending, 0))


class _Parent:
    """The threads of the forking process that use the store meanwhile."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._problems: list[str] = []

    def start(self, stage: Stage, store: SQLiteStorage) -> None:
        for number in range(_PARENT_THREADS):
            thread = threading.Thread(target=self._run, args=(stage, store, number), daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self, patience_seconds: float) -> list[str]:
        """Wait until they have ended, and return what is wrong with that."""
        until = time.monotonic() + patience_seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        stuck = sum(thread.is_alive() for thread in self._threads)
        return self._problems + [f"{stuck} threads of the parent did not end"] * bool(stuck)

    def _run(self, stage: Stage, store: SQLiteStorage, number: int) -> None:
        try:
            driver = stage.driver(store, 0, number)
            driver.run()
            driver.close()
        except BaseException as error:  # noqa: BLE001 - the main thread tells of it
            self._problems.append(f"a thread of the parent raised {error!r}")


def _demand_nothing_open(path: str) -> None:
    left = list(open_descriptors(path))
    if left:
        raise RuntimeError(f"the store was closed, but these are open: {', '.join(left)}")


def _strike(stage: Stage, faults: Sequence[Fault], meanwhile: Callable[[], None]) -> list[str]:
    """Let all faults strike, each at its times, until the round is over."""
    problems: list[str] = []
    queue: list[tuple[float, int, Iterator[float]]] = [
        (time.monotonic(), number, fault.strikes(stage)) for number, fault in enumerate(faults)
    ]
    strikes = [generator for _, _, generator in queue]
    try:
        while not stage.is_over:
            heed()
            meanwhile()
            if queue and queue[0][0] <= time.monotonic():
                _, number, generator = heapq.heappop(queue)
                pause = _next(generator, problems)
                if pause is not None:
                    heapq.heappush(queue, (time.monotonic() + pause, number, generator))
            else:
                time.sleep(_TICK_SECONDS)
    finally:
        for generator in strikes:
            _close(generator, problems)
    return problems


def _next(generator: Iterator[float], problems: list[str]) -> float | None:
    try:
        return next(generator, None)
    except Exception as error:  # noqa: BLE001 - a fault that fails is a finding
        problems.append(f"a fault could not strike: {error!r}")
        return None


def _close(generator: Iterator[float], problems: list[str]) -> None:
    try:
        generator.close()  # type: ignore[attr-defined] # they are all generators
    except Exception as error:  # noqa: BLE001 - as above
        problems.append(f"a fault could not be put right: {error!r}")
