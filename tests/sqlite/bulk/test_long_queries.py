"""Queries that take long: a signal ends them, whichever thread it arrives in."""

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Any, NoReturn

import pytest

from lamson_sqlite_state.sqlite.bulk.long_query import rows_unless_signalled
from tests.helpers.children import in_child
from tests.helpers.interruptions import interrupted

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
BRIEF = FOR_EVER.replace("FROM n)", "FROM n LIMIT 3000)")
LONG = FOR_EVER.replace("FROM n)", "FROM n LIMIT 300000)")


class Struck(Exception):
    """Stands for KeyboardInterrupt, which pytest keeps for itself."""


def strike(_number: int, _frame: object) -> NoReturn:
    raise Struck


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        yield connection


@pytest.fixture
def handle() -> Iterator[Callable[[Any], object]]:
    """Set the handler of SIGUSR1, for this test."""
    before = signal.getsignal(signal.SIGUSR1)
    yield partial(signal.signal, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def once_it_runs(connection: sqlite3.Connection, deed: Callable[[], object]) -> str:
    """Return an endless query; ``deed`` is done by another thread once the query runs."""
    runs = threading.Event()

    def wait_and_do() -> None:
        runs.wait(30)
        deed()

    threading.Thread(target=wait_and_do, daemon=True).start()
    connection.create_function("runs", 0, runs.set)
    return FOR_EVER.replace("SELECT 1", "SELECT 1 + coalesce(runs(), 0)")


def lowest_free_descriptor() -> int:
    """Tells of descriptors that were left open."""
    descriptor = os.dup(0)
    os.close(descriptor)
    return descriptor


def test_is_answered(connection: sqlite3.Connection) -> None:
    assert rows_unless_signalled(connection, "VALUES (1), (2)") == [(1,), (2,)]


def test_is_answered_in_any_thread(connection: sqlite3.Connection) -> None:
    found: list[object] = []

    def ask() -> None:
        found.extend(rows_unless_signalled(connection, LONG))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [(300_000,)]


def test_error_of_it_is_raised(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        rows_unless_signalled(connection, "SELECT * FROM missing")


def test_signal_to_the_process_ends_it(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    handle(strike)
    query = once_it_runs(connection, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(Struck):
        rows_unless_signalled(connection, query)
    assert connection.execute(LONG).fetchall() == [(300_000,)]


def test_signal_that_another_thread_takes_ends_it(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    """A progress bar's thread, say. The handler runs in this one all the same."""
    handle(strike)
    query = once_it_runs(
        connection, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    )
    with pytest.raises(Struck):
        rows_unless_signalled(connection, query)


def test_begins_again_after_a_handler_that_does_not_raise(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    handled = []
    handle(lambda _number, _frame: handled.append(1))
    query = once_it_runs(connection, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    assert rows_unless_signalled(connection, query.replace("FROM n)", "FROM n LIMIT 3000000)"))
    assert handled == [1]


def test_storm_of_signals_does_not_keep_it_from_its_end(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    is_over = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def storm() -> None:
        while not is_over.wait(0.0002):
            signal.pthread_kill(main, signal.SIGUSR1)

    handle(lambda _number, _frame: None)
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        assert rows_unless_signalled(connection, LONG) == [(300_000,)]
    finally:
        is_over.set()
        thread.join()


def test_handler_may_close_the_connection(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    handle(lambda _number, _frame: connection.close())
    query = once_it_runs(connection, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        rows_unless_signalled(connection, query)


def test_what_a_handler_raises_that_closes_the_connection_arrives(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    def close_and_raise(_number: int, _frame: object) -> None:
        connection.close()
        raise Struck

    handle(close_and_raise)
    query = once_it_runs(connection, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    with pytest.raises(Struck):
        rows_unless_signalled(connection, query)


def test_child_that_a_handler_forks_goes_on_by_itself(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    """The connection is one in memory, so that the child may use it."""
    children = []

    def fork(_number: int, _frame: object) -> None:
        children.append(os.fork())
        raise Struck

    handle(fork)
    query = once_it_runs(connection, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        rows_unless_signalled(connection, query)
    except Struck:
        if children == [0]:
            os._exit(connection.execute("SELECT 3").fetchone()[0])
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 3


def test_whoever_waits_for_signals_learns_of_them_too(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    """asyncio has a descriptor of its own set: it is set again, and has got the signals."""
    handle(strike)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    try:
        query = once_it_runs(connection, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        with pytest.raises(Struck):
            rows_unless_signalled(connection, query)
        assert os.read(reader, 100) == bytes([signal.SIGUSR1])
    finally:
        assert signal.set_wakeup_fd(before) == writer
        os.close(reader)
        os.close(writer)


def test_leaves_nothing_behind_wherever_a_handler_raises(
    connection: sqlite3.Connection, handle: Callable[[Any], object]
) -> None:
    """Neither its descriptors, nor the question that SQLite is to ask meanwhile."""
    handle(strike)

    def scene() -> int:
        lowest = lowest_free_descriptor()
        steps = interrupted(lambda: rows_unless_signalled(connection, "SELECT 1"), sys.maxsize)
        for at in range(1, steps + 1):
            with suppress(Struck):
                interrupted(lambda: rows_unless_signalled(connection, BRIEF), at)
            assert signal.set_wakeup_fd(-1) == -1
            assert lowest_free_descriptor() == lowest, at
            assert connection.execute(BRIEF).fetchall() == [(3_000,)]
        return steps

    assert in_child(scene) > 20
