"""Three processes that write to a store without a pause, and a reader beside them.

There are more processes than cores, so the reader is measured in processor time, because how
long it waits for its turn says something about the machine only.
"""

import mmap
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from ._files import Pair, open_store, pair_of
from ._measure import quiet

__all__ = ["halves", "seconds_of_a_read", "writers"]

_WRITERS: Final = 3

_CALLS_PER_LOOK: Final = 1_000
"""Reads between two looks at the clock."""


def halves(rows: int, senders: int) -> tuple[list[Pair], range]:
    """Share a store of so many rows: pairs of so many senders to read, and numbers to write."""
    middle = rows // 2
    pairs = [pair_of(number) for number in range(0, middle, middle // senders)][:senders]
    return pairs, range(middle, rows)


def seconds_of_a_read(
    get: Callable[[str, str], str], pairs: list[Pair], slice_seconds: float
) -> float:
    """Read these pairs for so long, and return the processor time of one read."""
    for module, sender in pairs:  # what is not cached yet
        get(module, sender)
    repeats = max(1, _CALLS_PER_LOOK // len(pairs))
    with quiet():
        end = time.perf_counter() + slice_seconds
        calls, start = 0, time.thread_time()
        while not calls or time.perf_counter() < end:
            for _ in range(repeats):
                for module, sender in pairs:
                    get(module, sender)
            calls += repeats * len(pairs)
        return (time.thread_time() - start) / calls


@contextmanager
def writers(path: str, numbers: range) -> Iterator[Callable[[], "_Working"]]:
    """Fork the writers, and yield what lets them work for the length of a block.

    They rest between two writes. A process that is stopped by a signal might be in the middle
    of one, with the lock of all in its hand.
    """
    # Shared with the children: the first byte says whether to work.
    switch = mmap.mmap(-1, 1)
    gate, opens_gate = os.pipe()
    resting, rests = os.pipe()
    children = []
    for seed in range(_WRITERS):
        child = os.fork()
        if not child:
            os.close(opens_gate)
            os.close(resting)
            _write_on_command(path, numbers, seed, switch, gate, rests)
        children.append(child)
    os.close(gate)
    os.close(rests)
    working = _Working(switch, opens_gate, resting)
    try:
        working.await_rest()
        yield lambda: working
    finally:
        switch[0] = 0
        os.close(opens_gate)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        os.close(resting)
    if any(statuses):
        raise RuntimeError(f"writers ended with {statuses}")


class _Working:
    """The time in which the writers work."""

    def __init__(self, switch: mmap.mmap, opens_gate: int, resting: int) -> None:
        self._switch = switch
        self._opens_gate = opens_gate
        self._resting = resting

    def __enter__(self) -> None:
        self._switch[0] = 1
        os.write(self._opens_gate, b"!" * _WRITERS)

    def __exit__(self, *_exception: object) -> None:
        self._switch[0] = 0
        self.await_rest()

    def await_rest(self) -> None:
        for _ in range(_WRITERS):
            if not os.read(self._resting, 1):
                raise RuntimeError("a writer is gone; it has said why on standard error")


def _write_on_command(
    path: str, numbers: range, seed: int, switch: mmap.mmap, gate: int, rests: int
) -> NoReturn:
    try:
        chosen = random.Random(seed)
        store = open_store(path, "NORMAL")
        count = 0
        store.get(*pair_of(numbers[0]))
        while True:
            os.write(rests, b"!")
            if not os.read(gate, 1):
                break
            while switch[0]:
                count += 1
                store.set(*pair_of(chosen.choice(numbers)), f"STATE_{seed}_{count}")
        store.close()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)
