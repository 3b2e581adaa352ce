"""One thread's calls on a store: drawn at random as a mail application mixes them, and recorded.

Mostly `get`, then `set`, some to the state that is there already, now and then `set_all` (a
bounce) and `compare_and_set` (a confirmation). A few `clear`, where they are asked for.
"""

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from judges.history import Kind, Recorder, new_value, state_of, value_of
from lamson_sqlite_state import SQLiteStorage

__all__ = ["Caller", "OnError", "Pairs"]

# Of 1,000 operations; the rest are `get`.
_SET: Final = 185
_SET_UNCHANGED: Final = 35
_SET_ALL: Final = 40
_COMPARE_AND_SET: Final = 30

# Of the operations of a thread that has pairs of its own, how many go to these.
_OWN_SHARE: Final = 0.3


OnError: TypeAlias = Callable[[Exception], bool]
"""Judges what a call has raised: True where nothing was written, False where nobody knows. An
error that ends the run it raises again."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of a history, numbered by sender, then by module.

    Args:
        shared: senders whom all threads write to.
        own: further senders, each of which has one thread that writes to it.
        modules: pairs per sender.
    """

    shared: int = 10
    own: int = 0
    modules: int = 4

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return (self.shared + self.own) * self.modules

    def pair(self, key: int) -> tuple[object, object]:
        """Return a pair as (module, sender); some of the own senders are no plain text."""
        number, module_number = divmod(key, self.modules)
        module = f"app.handlers_{module_number}"
        if number < self.shared:
            return module, f"shared.{number}@example.com"
        own = number - self.shared
        match own % 4:
            case 1:
                return module.encode(), f"own.{own}@example.com"
            case 2:
                return module, f"own.{own}@\udcff.example.com"  # as of a header nobody could decode
            case 3:
                return module, ("own", own, None)
        return module, f"own.{own}@example.com"

    def columns(self, key: int) -> tuple[str | bytes, str | bytes]:
        """Return a pair as it is to stand in the file: text, or the literal of anything else."""
        module, sender = self.pair(key)
        return _column(module), _column(sender)

    def first_of(self, owner: int) -> int:
        """Return the first pair of the sender that is a thread's own."""
        return (self.shared + owner) * self.modules


def _column(key: object) -> str | bytes:
    if isinstance(key, str) and key.isascii():
        return key
    return ascii(key).encode()


class Caller:
    """One thread's calls.

    Args:
        store: what is called.
        pairs: on which pairs.
        recorder: where every call is recorded.
        rng: of its choices.
        on_error: is asked about whatever a call raises.
        owner: the number of its own sender, if it has one.
    """

    def __init__(
        self,
        store: SQLiteStorage,
        pairs: Pairs,
        recorder: Recorder,
        rng: random.Random,
        on_error: OnError,
        owner: int | None = None,
    ) -> None:
        self._store = store
        self._pairs = pairs
        self._recorder = recorder
        self._random = rng
        self._on_error = on_error
        self._owner = owner
        self._values = itertools.count(new_value(recorder.process, recorder.thread, 1))
        self._last_seen: dict[int, int] = {}

    def act(self) -> None:
        """Make one call, drawn from the mix."""
        self._on_some_pair(self._drawn())

    def clear(self) -> None:
        """Call `clear`."""
        self._on_some_pair(self._clear)

    def set_own(self) -> None:
        """Give each of the own pairs a new state."""
        assert self._owner is not None
        first = self._pairs.first_of(self._owner)
        for key in range(first, first + self._pairs.modules):
            self._guarded(self._set, key)

    def read(self, keys: Iterable[int]) -> None:
        """Read these pairs once each."""
        for key in keys:
            self._guarded(self._get, key)

    def _on_some_pair(self, method: Callable[[int], None]) -> None:
        if self._owner is not None and self._random.random() < _OWN_SHARE:
            first = self._pairs.first_of(self._owner)
            key = first + self._random.randrange(self._pairs.modules)
        else:
            # The lower numbers are called more often: a pair that all want shows the most.
            key = int(self._pairs.shared * self._pairs.modules * self._random.random() ** 2)
        self._guarded(method, key)

    def _guarded(self, method: Callable[[int], None], key: int) -> None:
        try:
            method(key)
        except Exception as error:  # noqa: BLE001 - the judge of errors raises what ends the run
            if self._on_error(error):
                self._recorder.refused()
            else:
                self._last_seen.pop(key, None)

    def _drawn(self) -> Callable[[int], None]:
        drawn = self._random.randrange(1000)
        for method, share in (
            (self._set, _SET),
            (self._set_unchanged, _SET_UNCHANGED),
            (self._set_all, _SET_ALL),
            (self._compare_and_set, _COMPARE_AND_SET),
        ):
            drawn -= share
            if drawn < 0:
                return method
        return self._get

    def _seen(self, key: int) -> int | None:
        """Return the value that this thread knows of a pair; None: it has just read it."""
        if key not in self._last_seen:
            self._get(key)
            return None
        return self._last_seen[key]

    def _get(self, key: int) -> None:
        pair = self._pairs.pair(key)
        self._recorder.call(Kind.GET, key)
        value = value_of(self._store.get(*pair))
        self._recorder.returned(value)
        self._last_seen[key] = value

    def _set(self, key: int) -> None:
        self._set_to(key, next(self._values))

    def _set_unchanged(self, key: int) -> None:
        # What a Router does after most messages. By now it may be a change after all.
        value = self._seen(key)
        if value is not None:
            self._set_to(key, value)

    def _set_to(self, key: int, value: int) -> None:
        pair, state = self._pairs.pair(key), state_of(value)
        self._recorder.call(Kind.SET, key, value=value)
        self._store.set(*pair, state)
        self._recorder.returned()
        self._last_seen[key] = value

    def _clear(self, _key: int) -> None:
        self._recorder.call(Kind.CLEAR, 0, span=self._pairs.count)
        self._store.clear()
        self._recorder.returned()

    def _set_all(self, key: int) -> None:
        _, sender = self._pairs.pair(key)
        value, modules = next(self._values), self._pairs.modules
        state = state_of(value)
        self._recorder.call(Kind.SET_ALL, key - key % modules, span=modules, value=value)
        self._recorder.returned(self._store.set_all(sender, state))

    def _compare_and_set(self, key: int) -> None:
        expected = self._seen(key)
        if expected is None:
            return
        pair, value = self._pairs.pair(key), next(self._values)
        states = state_of(expected), state_of(value)
        self._recorder.call(Kind.COMPARE_AND_SET, key, value=value, expected=expected)
        is_set = self._store.compare_and_set(*pair, *states)
        self._recorder.returned(is_set)
        self._last_seen[key] = value if is_set else expected
