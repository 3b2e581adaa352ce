"""Questions that take long, in a thread of their own: whatever ends them, they end."""

import os
import signal
import sqlite3
import sys
from contextlib import closing, suppress
from functools import partial
from types import FrameType

import pytest

from lamson_sqlite_state import _queries
from lamson_sqlite_state._queries import LongQuery

from .bulk import stricken
from .children import in_child

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Struck(Exception):
    """Stands for KeyboardInterrupt, which pytest keeps for itself."""


class GaveUp(Exception):
    """Is raised by who looks after a query."""


def test_is_answered() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        assert LongQuery(connection, "VALUES (1), (2)").rows() == [(1,), (2,)]


def test_error_of_it_is_raised_here() -> None:
    with (
        closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection,
        pytest.raises(sqlite3.OperationalError, match="no such table"),
    ):
        LongQuery(connection, "SELECT * FROM missing").rows()


def test_exception_from_who_looks_after_it_ends_it() -> None:
    def give_up() -> None:
        raise Struck

    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        with pytest.raises(Struck):
            LongQuery(connection, FOR_EVER).rows(give_up)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_one_that_was_stopped_before_it_began_never_begins() -> None:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        query = LongQuery(connection, FOR_EVER)
        query.stop()
        assert query.rows() == []


def endless() -> LongQuery:
    return LongQuery(sqlite3.connect(":memory:", check_same_thread=False), FOR_EVER)


def asked_for_two_ticks(query: LongQuery) -> None:
    ticks = iter(range(2))

    def tick() -> None:
        if next(ticks, None) is None:
            raise GaveUp

    with suppress(GaveUp):
        query.rows(tick)


@pytest.mark.parametrize("deed", ["raise", "stop"])
def test_is_over_whatever_a_handler_does_at_any_place(
    deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each one at which the interpreter looks for signals: it raises, or asks to stop, too.

    What a query does in a closed connection ends the process (SIGSEGV).
    """
    monkeypatch.setattr(_queries, "_TICK_SECONDS", 0.002)
    query = endless()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if deed == "raise":
            raise Struck
        query.stop()

    def scene() -> int:
        nonlocal query
        signal.signal(signal.SIGUSR1, handle)
        places = stricken(partial(asked_for_two_ticks, query), sys.maxsize, signal.SIGUSR1)
        for place in range(1, places + 1):
            query = endless()
            with suppress(Struck, sqlite3.OperationalError):  # or it says that it was interrupted
                stricken(partial(asked_for_two_ticks, query), place, signal.SIGUSR1)
            assert not query._is_running
            query._connection.close()
        return places

    with closing(query._connection):
        assert in_child(scene) > 10


def test_child_that_is_forked_meanwhile_does_not_wait_for_it() -> None:
    """The thread is not in it, and whoever has forked is in the middle of the question."""

    def scene() -> None:
        query = endless()
        child = -1

        def fork() -> None:
            nonlocal child
            if child >= 0:
                raise GaveUp
            child = os.fork()

        try:
            query.rows(fork)
        except GaveUp:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        except sqlite3.ProgrammingError as error:
            os._exit(3 if child == 0 and "fork" in str(error) else 1)

    in_child(scene)


@pytest.mark.parametrize("again_seconds", [0.05, 0.003])
def test_is_over_before_the_exceptions_of_a_storm_arrive(again_seconds: float) -> None:
    def strike(_number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is LongQuery.rows.__code__:
                raise Struck
            frame = frame.f_back  # else it would strike this test

    def scene() -> None:
        signal.signal(signal.SIGALRM, strike)
        for number in range(60):
            query = endless()
            signal.setitimer(signal.ITIMER_REAL, 0.0001 + number * 0.0002, again_seconds)
            with pytest.raises(Struck):
                query.rows()
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert not query._is_running
            query._connection.close()

    in_child(scene)
