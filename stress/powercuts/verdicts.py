"""A directory that a power cut left, opened with the library and judged."""

import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from lamson_sqlite_state import NotAStateFile, SQLiteStorage

from .histories import START, History, Pair, States, owner_of

__all__ = ["Finding", "Progress", "examine", "loss"]

_PROBE: Pair = ("probe", "0.probe@example.com")
_PROBED = "PROBED"
_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Finding:
    """What was found in a store.

    Args:
        states: without those in START.
        problem: what is wrong with the store, whatever was acknowledged; None if nothing is.
        is_damaged: whether it is that the database is damaged, and is said to be.
    """

    states: States
    problem: str | None
    is_damaged: bool = False


@dataclass
class Progress:
    """What was called and acknowledged up to a moment.

    Attributes:
        called: of each process, how many calls.
        acknowledged: of each process, how many had returned.
        certain: of each process, how many calls must be there after a cut. Less than what was
            acknowledged from a mishap on, until the call after it returns.
        certain_when_called: of each process, for each call, what was acknowledged by all when
            it was made. Where it is there, these are.
        has_foreign_log: whether somebody has given the database's name to another one, and the
            store has not been called since. SQLite replays the log into that one, if the power is
            cut now, and nobody can tell that it does not belong there.
    """

    called: list[int]
    acknowledged: list[int]
    certain: list[int]
    certain_when_called: list[list[list[int]]]
    has_foreign_log: bool = False

    @classmethod
    def of(cls, histories: Sequence[History]) -> "Progress":
        """Return the progress before the first call."""
        nothing = [0] * len(histories)
        return cls(nothing.copy(), nothing.copy(), nothing.copy(), [[] for _ in histories])

    def hear(self, mark: str, histories: Sequence[History]) -> None:
        """Take a mark into account."""
        kind, process, call = mark.split()
        number, nth = int(process), int(call)
        is_mishap = histories[number].calls[nth].is_mishap
        self.has_foreign_log |= histories[number].calls[nth].leaves_a_foreign_log
        if kind == "called":
            self.called[number] = nth + 1
            self.certain_when_called[number].append(self.certain.copy())
            if is_mishap:
                self.certain = [0] * len(histories)
        else:
            self.acknowledged[number] = nth + 1
            if not is_mishap:
                self.certain = self.acknowledged.copy()
                self.has_foreign_log = False


def examine(path: str, histories: Sequence[History]) -> Finding:
    """Open a store as its users would after a cut, and look whether all is well in it.

    It is opened by the library first, so that this is who finds what the cut has left. Then it is
    read past the library, and checked; then through it; then written to.
    """
    states: dict[Pair, str] = {}
    try:
        with _at_most(_SECONDS), SQLiteStorage(path, timeout=5) as store:
            store.compare_and_set(*_PROBE, _PROBED, _PROBED)  # opens it, and changes nothing
            states, problem = _read(path)
            if problem:
                return Finding(states, problem, is_damaged=True)
            return Finding(states, next(_check(store, states, histories), None))
    except (NotAStateFile, sqlite3.DatabaseError) as error:
        return Finding(states, f"{type(error).__name__}: {error}", is_damaged=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what users would get
        return Finding(states, f"{type(error).__name__}: {error}")


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after so long, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"the store does not come back within {seconds} s")

    handler = signal.signal(signal.SIGALRM, interrupt)
    # pytest-timeout's may be running. It waits meanwhile: this is short.
    rest, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, rest)
        signal.signal(signal.SIGALRM, handler)


def _read(path: str) -> tuple[dict[Pair, str], str | None]:
    with closing(sqlite3.connect(path)) as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchall()
        return _states(connection), None if verdict == [("ok",)] else (
            f"the integrity check says {verdict}"
        )


def _states(connection: sqlite3.Connection) -> dict[Pair, str]:
    rows = connection.execute("SELECT module, sender, state FROM states WHERE state <> 'START'")
    return {(module, sender): state for module, sender, state in rows}


def _check(store: SQLiteStorage, states: States, histories: Sequence[History]) -> Iterator[str]:
    absent = set().union(*(history.pairs for history in histories)) - states.keys()
    for pair in (*states, *sorted(absent)[:2]):
        got, there = store.get(*pair), states.get(pair, START)
        if got != there:
            yield f"get{pair} returns {got[:40]!r}, but {there[:40]!r} is there"
    store.set(*_PROBE, _PROBED)
    store.close()
    if store.get(*_PROBE) != _PROBED:
        yield "what was set after the cut is not there after a close"
    with closing(sqlite3.connect(store.path)) as connection:
        if _states(connection) != {**states, _PROBE: _PROBED}:
            yield "a set after the cut has changed something else"


def loss(
    finding: Finding,
    histories: Sequence[History],
    progress: Progress,
    rule: Literal["FULL", "NORMAL"],
) -> str | None:
    """Return what is wrong with what was found after a cut at this moment, or None.

    Args:
        finding: what was found.
        histories: what each process has called.
        progress: how far each had come.
        rule: "FULL": all that was acknowledged must be there. "NORMAL": what is there must
            be what was there after some of the calls.
    """
    if progress.has_foreign_log and (finding.is_damaged or not finding.problem):
        return None
    if finding.problem:
        return finding.problem
    bounds: list[tuple[int, int]] = []
    for process, history in enumerate(histories):
        states = {pair: each for pair, each in finding.states.items() if owner_of(pair) == process}
        least = progress.certain[process] if rule == "FULL" else 0
        found = history.prefixes(states, least, progress.called[process])
        if not found:
            return _complaint(history, states, process, progress, least)
        bounds.append((found[0], found[-1]))
    for process, (least, _) in enumerate(bounds):
        if least:
            needed = progress.certain_when_called[process][least - 1]
            for other, (_, most) in enumerate(bounds):
                if most < needed[other]:
                    return (
                        f"call {least} of process {process} is there, but not call "
                        f"{needed[other]} of process {other}, which had returned before"
                    )
    if {owner_of(pair) for pair in finding.states} - set(range(len(histories))):
        return "there are pairs that nobody has set"
    return None


def _complaint(
    history: History, states: States, process: int, progress: Progress, least: int
) -> str:
    called = progress.called[process]
    earlier = history.prefixes(states, 0, least)
    if earlier:
        return (
            f"process {process} had {progress.acknowledged[process]} calls acknowledged and "
            f"{called} called, but there is what there was after call {earlier[-1]}"
        )
    now = history.snapshots[least]
    differences = [
        f"{pair} is in {states.get(pair, START)[:30]!r}, not {now.get(pair, START)[:30]!r}"
        for pair in sorted(states.keys() | now.keys())
        if states.get(pair, START) != now.get(pair, START)
    ]
    return (
        f"process {process} had {progress.acknowledged[process]} calls acknowledged and {called} "
        f"called, but what there is was never there: after call {least}, "
        f"{len(differences)} pairs differ, of which {'; '.join(differences[:3])}"
    )
