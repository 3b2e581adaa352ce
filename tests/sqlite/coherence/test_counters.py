"""The counters: what moves them, what leaves them behind, and who may touch them."""

import itertools
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from types import FrameType
from typing import Any, Final

import pytest

import lamson_sqlite_state
from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.sqlite.coherence import counters
from lamson_sqlite_state.sqlite.engine import schema, states_table
from tests.helpers.actors import Actor
from tests.helpers.cache_probes import (
    counter,
    edit,
    have_few_stripes,
    have_no_look_fall_due,
    keeps_reads,
)
from tests.helpers.insides import connection_of, counters_of, file_of

PACKAGE: Final = os.path.dirname(lamson_sqlite_state.__file__)


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        yield store


class TestCounters:
    def test_are_even_between_writes_and_never_the_same_again(self, store: SQLiteStorage) -> None:
        seen = {counter(store, "ann")}
        for number in range(10):
            store.set("m", "ann", f"S{number}")
            assert counter(store, "ann") % 2 == 0
            assert counter(store, "ann") not in seen
            seen.add(counter(store, "ann"))

    def test_are_left_alone_by_what_changes_nothing(self, store: SQLiteStorage) -> None:
        before = counter(store, "ann")
        with SQLiteStorage(store.path, cache_size=0) as other:
            other.set("m", "ann", "A1")
            other.compare_and_set("m", "ann", "A0", "A2")
            other.get("m", "bob")
        assert counter(store, "ann") == before

    def test_move_with_clear_whatever_the_driver_counts(self, store: SQLiteStorage) -> None:
        """Of a DELETE of all rows, old versions of SQLite say that it changed none."""
        store.clear()
        before = counter(store, "ann")
        store.clear()
        assert counter(store, "ann") == before + 2

    def test_left_odd_by_a_crash_move_on_with_what_changes_nothing(
        self, store: SQLiteStorage
    ) -> None:
        """The crashed writer may have committed: what was there before it must not come back."""
        have_no_look_fall_due(store)
        assert store.get("m", "ann") == "A1"
        with SQLiteStorage(store.path, cache_size=0) as other:
            other.get("m", "ann")
            counters_of(other)[counters.stripe_of("ann")] |= 1
            edit(store.path, "CRASHED")
            other.set("m", "ann", "CRASHED")
        assert store.get("m", "ann") == "CRASHED"
        assert counter(store, "ann") % 2 == 0

    @pytest.mark.parametrize("others", [(), ("bob",)], ids=["last", "first"])
    def test_are_worth_nothing_to_a_statement_once_the_lock_was_released(
        self, others: tuple[str, ...], store: SQLiteStorage
    ) -> None:
        """Another process may have made them even, so no more is stored, and nothing runs."""
        lock = file_of(store).write_lock
        before = [counter(store, sender) for sender in others]

        class Stripes(tuple[int, ...]):
            """A handler that runs where the loop goes back after the first."""

            def __iter__(self) -> Iterator[int]:
                yield self[0]
                lock.unlock()
                assert lock.try_lock()
                yield from self[1:]

        def delete() -> object:
            assert lock.try_lock()
            stripes = Stripes(map(counters.stripe_of, ("ann", *others)))
            cursor = connection_of(store).cursor()
            return file_of(store).versions.commit(stripes, lock, cursor, schema.CLEAR)

        assert lock.hold(delete) is None
        assert store.get("m", "ann") == "A1"
        assert [counter(store, sender) for sender in others] == before

    def test_of_a_sender_is_the_same_in_every_process(self) -> None:
        """It must not depend on the interpreter's seed for hashes."""
        assert counters.stripe_of("ann@example.com") == 1 + 0x725BD90E % 4095
        assert counters.stripe_of(b"None") == counters.stripe_of("None")

    def test_of_a_failed_write_stays_odd_until_the_next(self, store: SQLiteStorage) -> None:
        """Its outcome may be unknown."""
        with closing(sqlite3.connect(store.path)) as other:
            other.execute(
                "CREATE TRIGGER no BEFORE UPDATE ON states BEGIN SELECT RAISE(FAIL, 'no'); END"
            )
            with pytest.raises(StorageError, match="no"):
                store.set("m", "ann", "A2")
            assert counter(store, "ann") % 2 == 1
            assert store.get("m", "ann") == "A1"
            assert not keeps_reads(store)
            other.execute("DROP TRIGGER no")
        store.set("m", "ann", "A3")
        assert counter(store, "ann") % 2 == 0
        assert keeps_reads(store)


@pytest.mark.many_syncs
class TestKilledWriter:
    """One that is killed at any instruction leaves every later read right."""

    OPERATIONS: Final[dict[str, Callable[[SQLiteStorage, str], object]]] = {
        "set": lambda store, state: store.set("m", "ann", state),
        "set_all": lambda store, state: store.set_all("ann", state),
        "clear": lambda store, _state: store.clear(),
    }

    @pytest.mark.timeout(120)
    @pytest.mark.parametrize("kills", [60, pytest.param(300, marks=pytest.mark.long)])
    @pytest.mark.parametrize("what", OPERATIONS)
    def test_leaves_every_read_right(
        self, path: str, what: str, kills: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        have_few_stripes(monkeypatch)
        self.leaves_every_read_right(path, what, kills)

    @pytest.mark.long
    @pytest.mark.timeout(120)
    def test_leaves_every_read_right_in_a_clear_of_all_stripes(self, path: str) -> None:
        self.leaves_every_read_right(path, "clear", 60)

    def leaves_every_read_right(self, path: str, what: str, kills: int) -> None:
        with Actor(path) as other, Actor(path) as reader, SQLiteStorage(path) as store:
            store.set("m", "ann", "BEGIN")
            steps = other.call(run_in_a_child, what, "END", sys.maxsize)
            assert steps > 100
            # One in each of so many parts, others in every run, by the seed of pytest-randomly.
            bounds = [steps * part // kills for part in range(kills + 1)]
            chosen = [random.randrange(*part) for part in itertools.pairwise(bounds)]
            # The commit is near the end of a call: some kills come after it in any case.
            chosen += range(steps - kills // 10, steps)
            outcomes: Counter[str] = Counter()
            with closing(sqlite3.connect(path)) as truth:
                for step in chosen:
                    store.set("m", "ann", f"BEFORE {step}")
                    assert reader.get("m", "ann") == f"BEFORE {step}"
                    other.call(run_in_a_child, what, f"KILLED {step}", step)
                    found = truth.execute("SELECT state FROM states WHERE sender='ann'").fetchone()
                    state = found[0] if found else "START"
                    outcomes[state.split()[0]] += 1
                    assert store.get("m", "ann") == state
                    assert reader.get("m", "ann") == state
                    assert store.get("m", "ann") == state
            assert set(outcomes) == {"BEFORE", "START" if what == "clear" else "KILLED"}
            assert min(outcomes.values()) > kills // 30


def run_in_a_child(store: SQLiteStorage, what: str, state: str, kill_at: int) -> int | None:
    """Fork a child that makes a call and is killed at so many bytecodes of the package's.

    Returns:
        How many there were, or None if it was killed. It takes a few more where it has to wait.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.get("m", "ann")
            steps = 0

            def trace(frame: FrameType, event: str, _argument: Any) -> Any:
                nonlocal steps
                if not frame.f_code.co_filename.startswith(PACKAGE):
                    return None
                frame.f_trace_opcodes = True
                if event == "opcode":
                    if steps == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    steps += 1
                return trace

            # Python 3.12 traces opcodes only if the frame that calls settrace does.
            sys._getframe().f_trace_opcodes = True
            sys.settrace(trace)
            TestKilledWriter.OPERATIONS[what](store, state)
            sys.settrace(None)
            os.write(writing, str(steps).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        report = pipe.read()
    _, status = os.waitpid(child, 0)
    if report:
        assert status == 0
        return int(report)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    return None


class Stripes(Sequence[int]):
    """The stripes of two senders, between which a signal handler runs.

    Args:
        handler: runs once.
        turn: how often the stripes have been gone through before it runs: 0 as the counters are
            made odd, 1 as they are made even.
    """

    def __init__(self, handler: Callable[[], object], turn: int) -> None:
        self._handler = handler
        self._stripes = [counters.stripe_of(sender) for sender in ("ann", "bob")]
        self._turns_left = turn

    def __iter__(self) -> Iterator[int]:
        yield self._stripes[0]
        if self._turns_left == 0:
            self._handler()
        self._turns_left -= 1
        yield self._stripes[1]

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return self._stripes[index]


class TestSignalHandlerBetweenTwoCounters:
    @pytest.fixture(autouse=True)
    def reader(self, store: SQLiteStorage) -> Iterator[SQLiteStorage]:
        with SQLiteStorage(store.path) as reader:
            reader.set("m", "bob", "B1")
            have_no_look_fall_due(reader)
            assert [reader.get("m", sender) for sender in ("ann", "bob")] == ["A1", "B1"]
            yield reader

    @pytest.mark.parametrize("turn", [0, 1])
    @pytest.mark.parametrize("sender", ["ann", "bob"])
    def test_may_write(
        self,
        store: SQLiteStorage,
        reader: SQLiteStorage,
        monkeypatch: pytest.MonkeyPatch,
        sender: str,
        turn: int,
    ) -> None:
        def handler() -> None:
            store.set("m", sender, "HANDLER")
            assert reader.get("m", sender) == "HANDLER"

        monkeypatch.setattr(states_table, "EVERY_STRIPE", Stripes(handler, turn))
        store.clear()
        expected = {"ann": "START", "bob": "START"} | ({sender: "HANDLER"} if turn else {})
        for each in (reader, store):
            assert {name: each.get("m", name) for name in expected} == expected

    @pytest.mark.parametrize("turn", [0, 1])
    def test_may_close_the_store(
        self,
        store: SQLiteStorage,
        reader: SQLiteStorage,
        monkeypatch: pytest.MonkeyPatch,
        first: Actor,
        turn: int,
    ) -> None:
        """Without the lock, no counter may be touched: another process may be writing now."""
        left: list[int] = []

        def handler() -> None:
            store.close()
            first.set("m", "bob", "B2")
            assert reader.get("m", "bob") == "B2"
            left.append(counter(reader, "bob"))

        monkeypatch.setattr(states_table, "EVERY_STRIPE", Stripes(handler, turn))
        store.clear()
        state = "B2" if turn else "START"
        assert store.get("m", "bob") == reader.get("m", "bob") == state
        assert (counter(reader, "bob") == left[0]) is bool(turn)
        assert store.get("m", "ann") == reader.get("m", "ann") == "START"
