"""The contract's promises about sharing: one object for several threads, or forked processes.

See `contract` for how to use these classes.
"""

import threading
from typing import Final

from lamson_sqlite_state import StateStorage
from tests.helpers.children import in_child, in_children
from tests.helpers.contract import ANN, APP, BOB, Factory, closing
from tests.helpers.threads import in_threads

__all__ = ["ProcessSafety", "ThreadSafety"]

_WORKERS: Final = 4
_ROUNDS: Final = 25


class ThreadSafety:
    """A promise: threads may share one object."""

    def test_threads_lose_no_states(self, storage: StateStorage) -> None:
        """What each thread set last is there, though other threads set the sender's other pairs."""
        in_threads(_WORKERS, lambda number: _set_often(storage, number))

        _assert_all_set(storage)

    def test_a_threads_first_get_undoes_no_set(self, storage: StateStorage) -> None:
        """A get that stores START where nothing was does not overwrite another thread's set."""
        meeting = threading.Barrier(2, timeout=30)

        def meet(number: int) -> set[str]:
            seen = set()
            for round_ in range(_ROUNDS):
                meeting.wait()
                if number == 0:
                    storage.set(APP, f"{round_}", "POSTING")
                else:
                    seen.add(storage.get(APP, f"{round_}"))
            return seen

        assert set().union(*in_threads(2, meet)) <= {"START", "POSTING"}
        assert [storage.get(APP, f"{n}") for n in range(_ROUNDS)] == ["POSTING"] * _ROUNDS

    def test_a_thread_sees_whole_states_while_another_clears(self, storage: StateStorage) -> None:
        """Clear may come at any moment: a get then returns the state or START."""

        def work(number: int) -> set[str]:
            seen = set()
            for _ in range(_ROUNDS):
                if number == 0:
                    storage.clear()
                else:
                    storage.set(APP, f"{number}", "POSTING")
                    seen.add(storage.get(APP, f"{number}"))
            return seen

        assert set().union(*in_threads(_WORKERS, work)) <= {"START", "POSTING"}


class ProcessSafety:
    """A promise: forked processes may share one object that was made and used before the fork."""

    def test_processes_lose_no_states(self, storage: StateStorage) -> None:
        """What each process set last is there, though others set the sender's other pairs."""
        storage.set(APP, ANN, "POSTING")
        in_children(_WORKERS, lambda number: _set_often(storage, number))

        _assert_all_set(storage)
        assert storage.get(APP, ANN) == "POSTING"

    def test_what_one_process_set_every_other_sees(self, storage: StateStorage) -> None:
        """Once set has returned in one process, get returns that state in all."""
        for round_ in range(3):
            storage.set(APP, ANN, f"PARENT_{round_}")
            assert in_child(storage.get, APP, ANN) == f"PARENT_{round_}"
            in_child(storage.set, APP, ANN, f"CHILD_{round_}")
            assert storage.get(APP, ANN) == f"CHILD_{round_}"
            assert in_child(storage.get, APP, ANN) == f"CHILD_{round_}"

    def test_what_one_process_cleared_every_other_has_forgotten(
        self, storage: StateStorage
    ) -> None:
        """Once clear has returned in one process, every pair is in START in all."""
        storage.set(APP, ANN, "POSTING")
        in_child(storage.clear)

        assert (storage.get(APP, ANN), in_child(storage.get, APP, ANN)) == ("START", "START")

    def test_a_process_that_made_its_own_storage_shares_the_states(
        self, storage: StateStorage, make_storage: Factory
    ) -> None:
        """It does not matter through which object the states are reached."""
        storage.set(APP, ANN, "POSTING")

        def answer() -> str:
            with closing(make_storage()) as own:
                own.set(APP, BOB, "CONFIRMING")
                return own.get(APP, ANN)

        assert in_child(answer) == "POSTING"
        assert storage.get(APP, BOB) == "CONFIRMING"

    def test_a_processs_first_get_undoes_no_set(self, storage: StateStorage) -> None:
        """A get that stores START where nothing was does not overwrite another process's set."""

        def meet(number: int) -> set[str]:
            seen = set()
            for round_ in range(_ROUNDS):
                if number == 0:
                    storage.set(APP, f"{round_}", "POSTING")
                else:
                    seen.add(storage.get(APP, f"{round_}"))
            return seen

        assert set().union(*in_children(2, meet)) <= {"START", "POSTING"}
        assert [storage.get(APP, f"{n}") for n in range(_ROUNDS)] == ["POSTING"] * _ROUNDS


def _set_often(storage: StateStorage, worker: int) -> None:
    for round_ in range(_ROUNDS):
        storage.set(f"app.{worker}", f"user{round_ % 5}", f"STATE_{worker}_{round_}")


def _assert_all_set(storage: StateStorage) -> None:
    for worker in range(_WORKERS):
        for user in range(5):
            expected = f"STATE_{worker}_{_ROUNDS - 5 + user}"
            assert storage.get(f"app.{worker}", f"user{user}") == expected
