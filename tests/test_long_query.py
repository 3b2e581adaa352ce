"""Questions that take long, in a thread of their own: whatever ends them, they end."""

import signal
import sqlite3
from contextlib import closing, suppress
from types import FrameType

import pytest

from lamson_sqlite_state._queries import LongQuery

from .children import in_child

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Struck(Exception):
    """Stands for KeyboardInterrupt, which pytest keeps for itself."""


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


@pytest.mark.parametrize("again_seconds", [0.0, 0.0007])
def test_is_over_before_a_handlers_exception_arrives(again_seconds: float) -> None:
    """At whichever moment, and also where another one follows: the connection may be closed then.

    What a query does in a closed connection ends the process (SIGSEGV).
    """

    def strike(_number: int, _frame: FrameType | None) -> None:
        raise Struck

    def scene() -> None:
        signal.signal(signal.SIGALRM, strike)
        for number in range(60):
            connection = sqlite3.connect(":memory:", check_same_thread=False)
            query = LongQuery(connection, FOR_EVER)
            struck = 0
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + number * 0.0002, again_seconds)
                query.rows()
            except Struck:
                struck += 1
            finally:
                while signal.getitimer(signal.ITIMER_REAL)[0]:
                    with suppress(Struck):
                        signal.setitimer(signal.ITIMER_REAL, 0)
            connection.close()
            assert struck
            if query._thread.ident is not None:
                query._thread.join()

    in_child(scene)
