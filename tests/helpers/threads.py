"""Run a function in several threads at once, and have the test fail when one of them does."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

T = TypeVar("T")


def in_threads(count: int, function: Callable[[int], T]) -> list[T]:
    """Return what ``function(0)`` to ``function(count - 1)`` return, each in a thread of its own.

    None of them starts before all threads are there. The first one's exception is raised
    again once all have ended.
    """
    start = threading.Barrier(count, timeout=30)

    def run_when_all_are_there(number: int) -> T:
        start.wait()
        return function(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run_when_all_are_there, range(count)))
