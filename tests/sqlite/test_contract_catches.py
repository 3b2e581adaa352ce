"""A contract is worth something only if broken storages fail it, each where it should."""

import contextlib
import inspect
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.contract import AnyKey, Factory, Persistence, StateStorageContract
from tests.helpers.contract_extras import CompareAndSet, SetAll
from tests.helpers.contract_sharing import ProcessSafety, ThreadSafety


def failures(contract: type, make_storage: Factory) -> set[str]:
    """Return the names of the tests of a contract class that a storage fails."""
    failed = set()
    for name in dir(contract):
        if name.startswith("test_"):
            test = getattr(contract(), name)
            given = {"make_storage": make_storage, "storage": make_storage()}
            wanted = inspect.signature(test).parameters
            try:
                test(**{argument: given[argument] for argument in wanted})
            except AssertionError:
                failed.add(name)
    return failed


class SoundStorage:
    """A dict under a lock: thread-safe, of this process only, never closed."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.states: dict[Any, str] = {}

    def key(self, module: object, sender: object) -> Any:
        return repr([module, sender]), repr(sender)

    def get(self, module: object, sender: object) -> str:
        with self.lock:
            return self.states.get(self.key(module, sender), "START")

    def set(self, module: object, sender: object, state: str) -> None:
        with self.lock:
            self.states[self.key(module, sender)] = state

    def clear(self) -> None:
        with self.lock:
            self.states.clear()

    def set_all(self, sender: object, state: str) -> int:
        with self.lock:
            keys = [key for key in self.states if key[1] == repr(sender)]
            self.states.update(dict.fromkeys(keys, state))
            return len(keys)

    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        with self.lock:
            if self.get(module, sender) != expected:
                return False
            self.set(module, sender, state)
            return True


@pytest.mark.parametrize(
    "contract", [StateStorageContract, AnyKey, ThreadSafety, SetAll, CompareAndSet]
)
def test_a_sound_storage_fails_nothing(contract: type) -> None:
    assert failures(contract, SoundStorage) == set()


class Lowercasing(SoundStorage):
    def key(self, module: object, sender: object) -> Any:
        return str(super().key(module, sender)).lower()


class Stripping(SoundStorage):
    def key(self, module: object, sender: object) -> Any:
        return super().key(module, sender.strip() if isinstance(sender, str) else sender)


class Joining(SoundStorage):
    def key(self, module: object, sender: object) -> Any:
        return f"{module}:{sender!r}" if sender is None else f"{module}:{sender}"


class Stringifying(SoundStorage):
    def key(self, module: object, sender: object) -> Any:
        return str(module), str(sender)


class HashingAlike(SoundStorage):
    def key(self, module: object, sender: object) -> Any:
        return module, sender  # 1, 1.0 and True are one key of a dict


class Truncating(SoundStorage):
    def key(self, module: object, sender: object) -> Any:
        return repr([module, sender])[:255]


class KnowingNobody(SoundStorage):
    def get(self, module: object, sender: object) -> str:
        return self.states.get(self.key(module, sender), "")


class Forgetting(SoundStorage):
    def set(self, module: object, sender: object, state: str) -> None:
        super().set(module, sender, state)
        while len(self.states) > 100:
            del self.states[next(iter(self.states))]


class ForgettingWhenAsked(SoundStorage):
    def get(self, module: object, sender: object) -> str:
        return self.states.pop(self.key(module, sender), "START")


class RememberingTheFirst(SoundStorage):
    def set(self, module: object, sender: object, state: str) -> None:
        self.states.setdefault(self.key(module, sender), state)


class NeverGoingBack(SoundStorage):
    def set(self, module: object, sender: object, state: str) -> None:
        if state != "START":
            super().set(module, sender, state)


class ClearingOne(SoundStorage):
    def clear(self) -> None:
        if self.states:
            self.states.popitem()


class ClosedByClear(SoundStorage):
    def clear(self) -> None:
        super().clear()
        self.states = Bottomless()


class Bottomless(dict[Any, str]):
    def __setitem__(self, key: object, state: str) -> None:
        pass


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (Lowercasing, {"test_senders_are_told_apart", "test_modules_are_told_apart"}),
        (Stripping, {"test_senders_are_told_apart"}),
        (Joining, {"test_module_and_sender_stay_two", "test_a_bounces_sender_is_a_key_of_its_own"}),
        (Stringifying, {"test_a_bounces_sender_is_a_key_of_its_own"}),
        (KnowingNobody, {"test_an_unknown_pair_is_in_its_first_state"}),
        (Forgetting, {"test_hundreds_of_pairs_are_kept"}),
        (ForgettingWhenAsked, {"test_asking_changes_nothing", "test_the_last_set_is_remembered"}),
        (RememberingTheFirst, {"test_the_last_set_is_remembered", "test_states_are_kept_as_given"}),
        (NeverGoingBack, {"test_a_pair_can_return_to_its_first_state"}),
        (ClearingOne, {"test_clear_forgets_everything"}),
        (ClosedByClear, {"test_a_cleared_storage_can_be_used"}),
    ],
)
def test_the_contract_catches_a_broken_storage(broken: Factory, caught_by: set[str]) -> None:
    assert failures(StateStorageContract, broken) >= caught_by


@pytest.mark.parametrize("broken", [Stringifying, HashingAlike, Truncating])
def test_any_key_catches_keys_that_become_one(broken: Factory) -> None:
    assert failures(AnyKey, broken) != set()


def test_persistence_catches_a_storage_in_memory() -> None:
    assert "test_states_outlive_their_storage" in failures(Persistence, SoundStorage)


def test_process_safety_catches_a_storage_in_memory() -> None:
    assert failures(ProcessSafety, SoundStorage) >= {
        "test_processes_lose_no_states",
        "test_what_one_process_set_every_other_sees",
        "test_what_one_process_cleared_every_other_has_forgotten",
        "test_a_process_that_made_its_own_storage_shares_the_states",
        "test_a_processs_first_get_undoes_no_set",
    }


class Racing(SoundStorage):
    """Lets go between checking and putting, until all others have checked as well.

    The meeting makes the race happen each time instead of one time in a million. Where the
    others do not come, because only one thread is at it, it goes on.
    """

    parties = 4

    def __init__(self) -> None:
        super().__init__()
        self.meeting = threading.Barrier(self.parties)

    def meet(self) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            self.meeting.wait(timeout=5)


class StoringTheFirstStateLate(Racing):
    parties = 2

    def get(self, module: object, sender: object) -> str:
        if self.key(module, sender) in self.states:
            return super().get(module, sender)
        self.meet()
        self.meet()
        super().set(module, sender, "START")
        return "START"

    def set(self, module: object, sender: object, state: str) -> None:
        self.meet()
        super().set(module, sender, state)
        self.meet()


class KeepingOneDictPerSender(Racing):
    def set(self, module: object, sender: object, state: str) -> None:
        known = dict(self.states)
        self.meet()
        self.states = known | {self.key(module, sender): state}
        self.meet()


class CheckingThenPutting(Racing):
    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        if self.get(module, sender) != expected:
            return False
        self.meet()
        self.set(module, sender, state)
        return True


@pytest.mark.parametrize(
    ("test", "broken"),
    [
        (ThreadSafety().test_a_threads_first_get_undoes_no_set, StoringTheFirstStateLate),
        (ThreadSafety().test_threads_lose_no_states, KeepingOneDictPerSender),
        (CompareAndSet().test_of_many_threads_one_leaves_a_state, CheckingThenPutting),
    ],
)
def test_check_then_put_is_caught(test: Callable[..., None], broken: Factory) -> None:
    with pytest.raises(AssertionError):
        test(storage=broken())


class CountingChanges(SoundStorage):
    def set_all(self, sender: object, state: str) -> int:
        before = dict(self.states)
        super().set_all(sender, state)
        return sum(before[key] != self.states[key] for key in before)


class SettingEverybody(SoundStorage):
    def set_all(self, sender: object, state: str) -> int:
        known = super().set_all(sender, state)
        self.states.update(dict.fromkeys(self.states, state))
        return known


@pytest.mark.parametrize("broken", [CountingChanges, SettingEverybody])
def test_a_broken_set_all_is_caught(broken: Factory) -> None:
    assert len(failures(SetAll, broken)) == 1


class Overwriting(SoundStorage):
    def compare_and_set(self, module: object, sender: object, expected: str, state: str) -> bool:
        is_expected = super().compare_and_set(module, sender, expected, state)
        self.set(module, sender, state)
        return is_expected


def test_a_compare_and_set_that_sets_regardless_is_caught() -> None:
    assert "test_compare_and_set_changes_only_the_expected_state" in failures(
        CompareAndSet, Overwriting
    )
