"""The contract of the two methods that a storage may have beyond what a Router calls.

See `contract` for how to use these classes.
"""

import functools
import threading
from typing import Final, Protocol, runtime_checkable

from lamson_sqlite_state import StateStorage
from tests.helpers.contract import ANN, APP, BOB
from tests.helpers.threads import in_threads

__all__ = ["CompareAndSet", "ExtendedStorage", "SetAll"]

_WORKERS: Final = 4
_ROUNDS: Final = 25


@runtime_checkable
class ExtendedStorage(StateStorage, Protocol):
    """A storage with the two methods that bounce handling and idempotent confirmation want."""

    def set_all(self, sender: object, state: str) -> int:
        """Give all pairs of the sender one state, and return how many there are."""

    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        """Change the state only where it is the expected one, and say whether it was."""


class SetAll:
    """A promise: ``set_all(sender, state)``, as bounce handling wants it."""

    def test_set_all_sets_every_pair_of_the_sender(self, storage: ExtendedStorage) -> None:
        """All modules that know the sender have the state then; the answer is how many."""
        for module in ("app.a", "app.b", "app.c"):
            storage.set(module, ANN, module)
        storage.set("app.b", ANN, "BOUNCING")

        assert storage.set_all(ANN, "BOUNCING") == 3
        assert {storage.get(f"app.{letter}", ANN) for letter in "abc"} == {"BOUNCING"}

    def test_set_all_leaves_other_senders_alone(self, storage: ExtendedStorage) -> None:
        """It is about one sender, and about those pairs that there are."""
        storage.set(APP, BOB, "POSTING")
        storage.set(APP, BOB.upper(), "POSTING")

        assert storage.set_all(ANN, "BOUNCING") == 0
        assert storage.set_all(None, "BOUNCING") == 0
        assert storage.get(APP, ANN) == "START"
        assert {storage.get(APP, BOB), storage.get(APP, BOB.upper())} == {"POSTING"}


class CompareAndSet:
    """A promise: ``compare_and_set(module, sender, expected, state)``."""

    def test_compare_and_set_changes_only_the_expected_state(
        self, storage: ExtendedStorage
    ) -> None:
        """It says whether it did; where it did not, nothing has changed."""
        storage.set(APP, ANN, "CONFIRMING")

        assert not storage.compare_and_set(APP, ANN, "START", "POSTING")
        assert storage.get(APP, ANN) == "CONFIRMING"
        assert storage.compare_and_set(APP, ANN, "CONFIRMING", "POSTING")
        assert storage.get(APP, ANN) == "POSTING"

    def test_an_unknown_pair_counts_as_being_in_its_first_state(
        self, storage: ExtendedStorage
    ) -> None:
        """Where nothing was set, the state is START."""
        assert not storage.compare_and_set(APP, ANN, "CONFIRMING", "POSTING")
        assert storage.compare_and_set(APP, ANN, "START", "POSTING")
        assert storage.get(APP, ANN) == "POSTING"

    def test_of_many_threads_one_leaves_a_state(self, storage: ExtendedStorage) -> None:
        """However many try to leave one state at once, one succeeds."""
        successes = in_threads(_WORKERS, functools.partial(_leave_states, storage, _meeting()))

        assert [sum(column) for column in zip(*successes, strict=True)] == [1] * _ROUNDS
        assert storage.get(APP, ANN) == f"ROUND_{_ROUNDS}"


def _meeting() -> threading.Barrier:
    return threading.Barrier(_WORKERS, timeout=30)


def _leave_states(storage: ExtendedStorage, meeting: threading.Barrier, _number: int) -> list[bool]:
    successes = []
    for round_ in range(_ROUNDS):
        here = f"ROUND_{round_}" if round_ else "START"
        meeting.wait()
        successes.append(storage.compare_and_set(APP, ANN, here, f"ROUND_{round_ + 1}"))
    return successes
