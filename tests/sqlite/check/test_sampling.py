"""How long a check looks before it blames a process."""

import itertools
import os
import time

import pytest

from lamson_sqlite_state.sqlite.check import _locks, _look
from lamson_sqlite_state.sqlite.process.clock import Clock
from tests.helpers.checking import NEEDS_LINUX

pytestmark = NEEDS_LINUX


def test_a_check_that_was_held_up_looks_on_before_it_blames_a_process(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process seen with a lock before and after the pause has perhaps been held up, too."""
    times = iter((0.0, *(60.0 + step / 100 for step in range(1_000))))
    monkeypatch.setattr(Clock, "monotonic", times.__next__)
    taken: list[int] = []

    def holders(_locks: object) -> set[int]:
        taken.append(1)
        return {os.getpid()} if len(taken) < 5 else set()

    found = _locks._lasting(f"{path}-wal", {"held it": holders}, lambda: None)
    assert found == {"held it": frozenset()}


@pytest.mark.parametrize("nap_seconds", [0.002, 0.005])
def test_hardly_anything_counts_of_a_long_nap(
    nap_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=60)
    monkeypatch.setattr(Clock, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    assert sum(1 for _ in _look.samples(1.0, nap_seconds)) > 1 / (10 * nap_seconds)
