"""The slices of all sides in turns: what slows the machine for a while slows each alike."""

import os
import random
import statistics
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Final, Self

import click

from .._measure import Advance
from ._checkouts import ROOT, Checkout
from ._effort import Effort
from ._verdict import Compared

__all__ = ["Refused", "Side", "measured"]

_ENDING_SECONDS: Final = 60.0


class Refused(Exception):
    """A checkout cannot do a row, and this is why: it may be older than what the row calls."""


class Side:
    """A worker for one row, in a process of its own with its checkout's interpreter.

    Args:
        checkout: whose code it runs.
        directory: for its files; those of the other workers are elsewhere.
        effort: how much it does.
        row: what it does.
        round_number: of which all workers hash strings alike, so that their dicts do not differ.
    """

    def __init__(
        self, checkout: Checkout, directory: str, effort: Effort, row: str, round_number: int
    ) -> None:
        self._checkout = checkout
        self._errors = os.path.join(directory, "errors")
        environment = {**os.environ, "PYTHONHASHSEED": str(round_number)}
        environment.pop("PYTHONPATH", None)  # else both might get the same code
        with open(self._errors, "wb") as errors:
            # The module is always the working tree's, as the other revision may have none.
            self._process = subprocess.Popen(
                [
                    *(checkout.python, "-m", "benchmarks.against._worker"),
                    *(directory, effort.name, row),
                ],
                cwd=ROOT,
                env=environment,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Have it end. It does so by itself, as it may have forked others that it has to end."""
        stdin, stdout = self._pipes
        stdin.close()
        try:
            status = self._process.wait(_ENDING_SECONDS)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            stdout.close()
        if status and kind is None:
            raise self._refusal()

    def await_ready(self) -> None:
        """Wait until it has warmed up.

        Raises:
            Refused: the checkout cannot do this row.
            click.ClickException: the package is from elsewhere.
        """
        package = os.path.realpath(self._answer().removeprefix("ready "))
        if not package.startswith(os.path.realpath(self._checkout.path) + os.sep):
            raise click.ClickException(f"{self._checkout.name} runs the code of {package}")

    def slice(self) -> float:
        """Have it do a slice, and return the seconds of one call."""
        try:
            self._pipes[0].write(b"\n")
        except BrokenPipeError:
            raise self._refusal() from None
        return float(self._answer())

    @property
    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _answer(self) -> str:
        answer = self._pipes[1].readline().decode()
        if not answer:
            raise self._refusal()
        return answer.strip()

    def _refusal(self) -> Refused:
        with open(self._errors, encoding="utf-8", errors="replace") as file:
            lines = file.read().strip().splitlines() or ["no reason given"]
        return Refused(f"{self._checkout.name}: {lines[-1]}")


def measured(
    checkouts: Sequence[Checkout],
    rows: Sequence[str],
    directory: str,
    effort: Effort,
    describe: Callable[[str], None],
    advance: Advance,
) -> tuple[list[Compared], dict[str, str]]:
    """Measure each row in every round.

    All rows have a part of every minute of the run, so that a busy minute is no row's alone.

    Args:
        checkouts: of the revision, of the revision again, and of the working tree.
        rows: their names.
        directory: for files.
        effort: how much is done.
        describe: is told the row that is about to be measured.
        advance: is called after each row of each round.

    Returns:
        What was found, and why the other rows could not be measured.
    """
    order = random.Random(0)
    found: dict[str, list[list[float]]] = {row: [] for row in rows}
    refused: dict[str, str] = {}
    for number, _checkout in enumerate(checkouts):
        os.mkdir(_own(directory, number))
    for round_number in range(effort.rounds):
        for row in rows:
            if row not in refused:
                describe(row)
                try:
                    found[row].append(
                        _in_turns(checkouts, directory, effort, row, round_number, order)
                    )
                except Refused as why:
                    refused[row] = str(why)
            advance()
    return [
        Compared(row, *map(list, zip(*found[row], strict=True)))
        for row in rows
        if row not in refused
    ], refused


def _own(directory: str, number: int) -> str:
    return os.path.join(directory, f"side-{number}")


def _in_turns(
    checkouts: Sequence[Checkout],
    directory: str,
    effort: Effort,
    row: str,
    round_number: int,
    order: random.Random,
) -> list[float]:
    """Return what one call took at each side in this round."""
    with ExitStack() as stack:
        sides = [
            stack.enter_context(Side(checkout, _own(directory, number), effort, row, round_number))
            for number, checkout in enumerate(checkouts)
        ]
        for side in sides:
            side.await_ready()
        seconds: dict[Side, list[float]] = {side: [] for side in sides}
        for _ in range(effort.slices // 2):
            turn = order.sample(sides, len(sides))
            for side in (*turn, *reversed(turn)):  # a steady drift hits all alike
                seconds[side].append(side.slice())
    return [statistics.fmean(seconds[side]) for side in sides]
