"""What every state storage for Lamson or Salmon promises, as tests that yours can be run through.

How to test your own storage
============================

A state storage remembers, for each *pair* of a handler module and a sender, the name of the
handler function that gets the sender's next message. Write one class into your tests::

    import pytest
    from contract import Persistence, StateStorageContract
    from contract_sharing import ThreadSafety

    class TestMyStorage(ThreadSafety, Persistence, StateStorageContract):
        @pytest.fixture
        def make_storage(self, tmp_path):
            return lambda: MyStorage(tmp_path / "states")

``make_storage`` is all that you have to give: a fixture that returns a function which makes a
storage. Every call makes another object *over the same states*, which are empty when the test
begins (use ``tmp_path``, or empty your database in the fixture). If your storage has a
``close``, it is called at the end of each test.

`StateStorageContract` is what a Router relies on. The others are promises that a storage may
or may not make; inherit from those that yours does:

============================  ================================================================
`AnyKey`                      modules and senders of any kind, not just names and addresses
`Persistence`                 another object over the same states finds them
`ThreadSafety`                threads share one object
`ProcessSafety`               forked processes share one object, made and used before the fork
`SetAll`, `CompareAndSet`     the two methods that `lamson_sqlite_state` adds
============================  ================================================================

Each test's docstring is the invariant it checks. The tests need nothing but pytest, wait for
nothing but each other, and give each other no states.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import pytest

from lamson_sqlite_state import StateStorage

__all__ = [
    "ANN",
    "APP",
    "BOB",
    "AnyKey",
    "Factory",
    "Persistence",
    "StateStorageContract",
    "closing",
]

Factory: TypeAlias = Callable[[], StateStorage]

APP: Final = "app.handlers.lists"
ANN: Final = "ann@example.com"
BOB: Final = "bob@example.com"


class StateStorageContract:
    """What a Router relies on: ``get``, ``set`` and ``clear``, by one thread."""

    @pytest.fixture
    def make_storage(self) -> Factory:
        raise NotImplementedError("override this fixture: return a function that makes a storage")

    @pytest.fixture
    def storage(self, make_storage: Factory) -> Iterator[StateStorage]:
        storage = make_storage()
        yield storage
        if hasattr(storage, "close"):
            storage.close()

    def test_it_has_the_three_methods(self, storage: StateStorage) -> None:
        """A Router calls get, set and clear, and nothing else."""
        assert isinstance(storage, StateStorage)

    def test_an_unknown_pair_is_in_its_first_state(self, storage: StateStorage) -> None:
        """Nothing was set, so it is START: not None, not '', and no exception."""
        assert storage.get(APP, ANN) == "START"

    def test_asking_changes_nothing(self, storage: StateStorage) -> None:
        """However often a pair is asked for, its state and everyone else's stay."""
        storage.set(APP, BOB, "POSTING")

        assert [storage.get(APP, ANN) for _ in range(3)] == ["START"] * 3
        assert [storage.get(APP, BOB) for _ in range(3)] == ["POSTING"] * 3

    def test_the_last_set_is_remembered(self, storage: StateStorage) -> None:
        """What set was given last is what get returns, now and later."""
        for state in ("CONFIRMING", "POSTING", "POSTING", "ERROR", "CONFIRMING"):
            storage.set(APP, ANN, state)
            assert storage.get(APP, ANN) == state
        assert storage.get(APP, ANN) == "CONFIRMING"

    def test_a_pair_can_return_to_its_first_state(self, storage: StateStorage) -> None:
        """Setting START is a set as any other, of a known and of an unknown pair."""
        storage.set(APP, ANN, "POSTING")
        storage.set(APP, ANN, "START")
        storage.set(APP, BOB, "START")

        assert (storage.get(APP, ANN), storage.get(APP, BOB)) == ("START", "START")

    def test_states_are_kept_as_given(self, storage: StateStorage) -> None:
        """A state is the name of a Python function: any identifier, its case untouched."""
        for state in ("posting", "Posting", "POSTING_2", "_", "None", "BESTÄTIGT", "x" * 1000):
            storage.set(APP, ANN, state)
            assert storage.get(APP, ANN) == state

    def test_senders_are_told_apart(self, storage: StateStorage) -> None:
        """Senders that look alike are different: nothing folded, stripped, parsed or escaped."""
        _assert_told_apart(storage, [(APP, sender) for sender in _LOOKALIKES])

    def test_a_bounces_sender_is_a_key_of_its_own(self, storage: StateStorage) -> None:
        """Bounces come from nobody: their sender is None, which is no text."""
        _assert_told_apart(storage, [(APP, sender) for sender in (None, "None", "", "none")])

    def test_modules_are_told_apart(self, storage: StateStorage) -> None:
        """One sender has a state in each module, and its case matters."""
        _assert_told_apart(storage, [(module, ANN) for module in ("app", "App", "app.a", "ap", "")])

    def test_module_and_sender_stay_two(self, storage: StateStorage) -> None:
        """No two pairs become one by being joined, swapped or quoted."""
        _assert_told_apart(
            storage,
            [
                *[("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("a b", "c"), ("a", "b c")],
                *[("a:b", "c"), ("a", "b:c"), ("a|b", "c"), ("a', 'b", "c"), ("a", "b', 'c")],
                *[('a", "b', "c"), ("a", 'b", "c'), ("a/b", "c"), ("a", "b/c"), ("a\\", "b")],
            ],
        )

    def test_hundreds_of_pairs_are_kept(self, storage: StateStorage) -> None:
        """No pair is pushed out by others."""
        pairs = [(f"app.{number % 3}", f"user{number}@example.com") for number in range(200)]
        for number, pair in enumerate(pairs):
            storage.set(*pair, f"STATE_{number}")

        assert [storage.get(*pair) for pair in pairs] == [f"STATE_{n}" for n in range(200)]

    def test_clear_forgets_everything(self, storage: StateStorage) -> None:
        """After clear every pair is in START."""
        for pair in _SOME_PAIRS:
            storage.set(*pair, "POSTING")
        storage.clear()

        assert [storage.get(*pair) for pair in _SOME_PAIRS] == ["START"] * len(_SOME_PAIRS)

    def test_a_cleared_storage_can_be_used(self, storage: StateStorage) -> None:
        """Clear forgets what was before it, not what comes after; clearing nothing is fine."""
        storage.clear()
        storage.set(APP, ANN, "POSTING")
        storage.clear()
        storage.clear()
        storage.set(APP, BOB, "CONFIRMING")

        assert (storage.get(APP, ANN), storage.get(APP, BOB)) == ("START", "CONFIRMING")


class AnyKey:
    """A promise: keys of any kind, as in MemoryStorage. ShelveStorage cannot, nor can JSON."""

    def test_keys_of_any_kind_are_told_apart(self, storage: StateStorage) -> None:
        """Keys are as different as their reprs, be they modules or senders."""
        _assert_told_apart(storage, [(key, ANN) for key in _KEYS_OF_ANY_KIND])
        _assert_told_apart(storage, [(APP, key) for key in _KEYS_OF_ANY_KIND])

    def test_a_very_long_key_is_kept_whole(self, storage: StateStorage) -> None:
        """Headers are as long as their writers please: nothing is cut off."""
        long = "a" * 100_000
        _assert_told_apart(storage, [(APP, long + "1"), (APP, long + "2"), (long + "1", APP)])


class Persistence:
    """A promise: states outlive the object that they were set through."""

    def test_states_outlive_their_storage(self, make_storage: Factory) -> None:
        """Another storage over the same states finds what one set and closed."""
        with closing(make_storage()) as storage:
            for number, pair in enumerate(_SOME_PAIRS):
                storage.set(*pair, f"STATE_{number}")

        with closing(make_storage()) as storage:
            for number, pair in enumerate(_SOME_PAIRS):
                assert storage.get(*pair) == f"STATE_{number}"

    def test_what_was_cleared_stays_cleared(self, make_storage: Factory) -> None:
        """Nothing comes back to another storage over the same states."""
        with closing(make_storage()) as storage:
            storage.set(APP, ANN, "POSTING")
            storage.clear()

        with closing(make_storage()) as storage:
            assert storage.get(APP, ANN) == "START"


_SOME_PAIRS: Final = [(APP, ANN), (APP, BOB), ("app.admin", ANN), (APP, None), (APP, "ä")]

_LOOKALIKES: Final = [
    *["ann@example.com", "Ann@example.com", "ANN@EXAMPLE.COM", " ann@example.com"],
    *["ann@example.com ", "ann@example.com\t", "ann@example.com\n", "ann+1@example.com"],
    *["<ann@example.com>", "ann@EXAMPLE.com", "ann@example.com.", "", " ", "\0", "ann%", "ann_"],
    *[
        "1",
        "1.0",
        "01",
        "ä",
        "Ä",
        "a\u0308",
        "ß",
        "ss",
        "I",
        "i",
        "\u0131",
        "\\u00e4",
        "'ä'",
        "ann\0",
    ],
]

_KEYS_OF_ANY_KIND: Final = [
    *["1", 1, 1.0, True, 1j, b"1", "None", None, "", b"", (), "()", "'1'", "b'1'", ("1",), (1,)],
    *[0, -0.0, 0.0, False, "ä", b"\xc3\xa4", "\xc3\xa4", ("ä", None), float("nan"), "nan"],
    *["\udce4", "\\udce4", b"\xe4", "a\0b", "a", "a\0", ((1, 2), 3), (1, (2, 3)), (1, 2, 3)],
]


def _assert_told_apart(storage: StateStorage, pairs: list[tuple[object, object]]) -> None:
    for number, pair in enumerate(pairs):
        assert storage.get(*pair) == "START", f"{pair!r} was taken for an earlier one of {pairs!r}"
        storage.set(*pair, f"STATE_{number}")
    for number, pair in enumerate(pairs):
        assert storage.get(*pair) == f"STATE_{number}", f"{pair!r} has another's state"


@contextlib.contextmanager
def closing(storage: StateStorage) -> Iterator[StateStorage]:
    try:
        yield storage
    finally:
        if hasattr(storage, "close"):
            storage.close()
