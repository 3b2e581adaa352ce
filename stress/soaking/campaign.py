"""A soak from beginning to end: rounds one after the other, each judged while the next one runs."""

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from faults import FAULTS, Fault
from workers.caller import Pairs
from workers.setting import Board, Setting

from . import checks
from .interruption import heed
from .round import run_round

__all__ = ["Campaign", "Round", "Show"]

_JUDGE: Final = Path(__file__).parent.parent / "judge.py"
_JUDGE_SECONDS: Final = 600.0

_SHARED_SENDERS: Final = 10
_OWN_SENDERS: Final = 512
_CLEAR_SHARE: Final = 0.001

_LEAST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 6.0

# Of a hunt, which ends with the first round that shows what it is after.
_HUNT_SECONDS: Final = 3.0

# Starting, ending and looking at everything, which belongs to a round as well.
_ROUND_OVERHEAD_SECONDS: Final = 0.45


@dataclass
class Round:
    """One round and what became of it.

    Args:
        number: from 1 on.
        faults: that strike in it.
        directory: of its records; gone if nothing is wrong.
        began_seconds: since the soak began.
        calls_so_far: how many there were, about, while it has no verdict.
        verdict: what the judge wrote; None before it has.
        problem: why there is no verdict.
    """

    number: int
    faults: list[str]
    directory: Path
    began_seconds: float
    calls_so_far: int = 0
    verdict: dict[str, Any] | None = None
    problem: str | None = None

    @property
    def is_judged(self) -> bool:
        """Whether it is known to be right or wrong; where it could not be run, it is wrong."""
        return bool(self.verdict or self.problem)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What is wrong: which check found it, and what."""
        found = [(checks.JUDGED, self.problem)] if self.problem else []
        judged = self.verdict["checks"] if self.verdict else ()
        return found + [(check["name"], p) for check in judged for p in check["problems"]]


Show = Callable[["Campaign", Round], None]
"""Called often while a round goes on."""


@dataclass
class Campaign:
    """A soak.

    Args:
        directory: of the store and of all records.
        seconds: how long it is to take, about.
        seed: of all choices.
        faults: their names. The first round is calm, if that is among them.
        workers: how many processes are forked in a round, at least.
        threads: in each of them.
        synchronous: of the stores.
        is_hunt: whether to end as soon as something is wrong.
        rounds: those that have been begun.
        skipped: faults that cannot be had here, and why.
    """

    directory: Path
    seconds: float
    seed: int
    faults: Sequence[str]
    workers: int = 8
    threads: int = 2
    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    is_hunt: bool = False
    rounds: list[Round] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    _judges: list[tuple[Round, "subprocess.Popen[bytes]"]] = field(default_factory=list)

    def run(self, show: Show = lambda _campaign, _round: None) -> None:
        """Run rounds until the time is up, each fault once at least, and judge them all.

        A Ctrl-C ends the round that is under way, and raises when all before it are judged. One
        that strikes while the last judges work ends them, too: their rounds have no verdict then.

        Raises:
            KeyboardInterrupt: see there.
        """
        start = time.monotonic()
        here = [name for name in self.faults if self._can_be_had(name)]
        rng = random.Random(f"{self.seed}/rounds")
        round_seconds = self._round_seconds(len(here))
        try:
            for names in _combinations(here, rng):
                heed()
                elapsed = time.monotonic() - start
                if self.is_hunt and self._is_caught():
                    break
                if len(self.rounds) >= len(here) and elapsed + round_seconds > self.seconds:
                    break
                self._run_round(names, elapsed, round_seconds, show)
        finally:
            try:
                while self._judges:
                    self._see_to_judges(is_waiting=True)
            finally:
                self._end_judges()

    def _is_caught(self) -> bool:
        while self._judges:
            self._see_to_judges(is_waiting=True)
        return any(each.problems for each in self.rounds)

    def _can_be_had(self, name: str) -> bool:
        reason = FAULTS[name].missing()
        if reason is not None:
            self.skipped[name] = reason
        return reason is None

    def _round_seconds(self, count: int) -> float:
        share = self.seconds / max(count, 1) - _ROUND_OVERHEAD_SECONDS
        most = _HUNT_SECONDS if self.is_hunt else _MOST_SECONDS
        return min(most, max(_LEAST_SECONDS, share))

    def _run_round(self, names: Sequence[str], elapsed: float, seconds: float, show: Show) -> None:
        number = len(self.rounds) + 1
        directory = self.directory / f"round-{number}"
        directory.mkdir()
        this = Round(number, list(names), directory, elapsed)
        self.rounds.append(this)
        faults = [FAULTS[name] for name in names]

        def tick(board: Board) -> None:
            this.calls_so_far = board.total()
            self._see_to_judges(is_waiting=False)
            show(self, this)

        try:
            with ExitStack() as stack:
                place = self.directory / "run"
                for fault in faults:
                    place = stack.enter_context(fault.place(place))
                workers = max([self.workers, *(fault.workers or 0 for fault in faults)])
                setting = self._setting(directory, place, faults, seconds, number)
                run_round(setting, workers, faults, tick)
        except Exception as error:  # noqa: BLE001 - it belongs into the report
            this.problem = f"{type(error).__name__}: {error}"
            return
        while self._judges:  # one at a time: the load is to have the processors
            self._see_to_judges(is_waiting=True)
        judge = subprocess.Popen(
            [sys.executable, _JUDGE, directory],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,  # a Ctrl-C at the terminal is not for it
        )
        self._judges.append((this, judge))

    def _setting(
        self, directory: Path, place: Path, faults: Sequence[Fault], seconds: float, number: int
    ) -> Setting:
        return Setting(
            directory=directory,
            path=str(place / "states"),
            seed=f"{self.seed}/{number}",
            pairs=Pairs(_SHARED_SENDERS, _OWN_SENDERS),
            threads=self.threads,
            timeout=min(fault.timeout for fault in faults),
            synchronous=self.synchronous,
            until=time.monotonic() + seconds,
            clear_until=time.monotonic() + seconds / 2,
            clear_share=_CLEAR_SHARE if all(fault.with_clear for fault in faults) else 0.0,
        )

    def _see_to_judges(self, *, is_waiting: bool) -> None:
        for this, judge in tuple(self._judges):
            if is_waiting or judge.poll() is not None:
                _, errors = judge.communicate(timeout=_JUDGE_SECONDS)
                self._judges.remove((this, judge))
                _enter_verdict(this, errors.decode(errors="replace"))

    def _end_judges(self) -> None:
        for _, judge in self._judges:
            judge.kill()
            judge.wait()
        self._judges.clear()


def _combinations(names: Sequence[str], rng: random.Random) -> Iterator[list[str]]:
    """Yield each fault by itself first, then again and again with others that go with it."""
    if not names:
        return
    yield from ([name] for name in names)
    mixable = [name for name in names if not FAULTS[name].is_alone]
    while True:
        for name in rng.sample(names, len(names)):
            others = [other for other in mixable if other != name]
            most = 0 if FAULTS[name].is_alone else min(2, len(others))
            yield [name, *rng.sample(others, rng.randint(0, most))]


def _enter_verdict(this: Round, errors: str) -> None:
    path = this.directory / "verdict.json"
    try:
        this.verdict = json.loads(path.read_text())
    except (OSError, ValueError):
        this.problem = f"the judge gave no verdict: {errors}"
    if not this.problems:
        shutil.rmtree(this.directory)
