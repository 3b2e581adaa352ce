"""Any sequence of calls, through any of two stores on one file, answers as a dict would."""

import itertools
import pickle
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from typing import Any, TypeAlias
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
)
from salmon.routing import MemoryStorage

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.state_files import make_the_next_read_look
from tests.helpers.strategies import KEYS, STATES

Row: TypeAlias = tuple[Any, Any]
WHICH = st.integers(0, 1)


def column_value(key: object) -> str | bytes:
    """Return what is to stand in the file for a key, by the words of the documentation."""
    if isinstance(key, str) and not any("\ud800" <= letter <= "\udfff" for letter in key):
        return key
    return ascii(key).encode()


class TwoStoresAndADict(RuleBasedStateMachine):
    """Two `SQLiteStorage` on one file against Salmon's `MemoryStorage` and a dict of rows.

    `MemoryStorage` says what get answers. The dict adds what it does not know: which rows
    there are, for `set_all`, and since when each is in its state.
    """

    keys: Bundle[Any] = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="states-")
        self.path = f"{self.directory}/states"
        self.cache_sizes = itertools.cycle((65_536, 2, 0))
        self.stores = [self.new_store(), self.new_store()]
        self.memory = MemoryStorage()
        self.rows: dict[tuple[str, str], tuple[Row, str, int]] = {}
        self.now_ms = 0
        self.clock = mock.patch.object(time, "time_ns", self.time_ns)
        self.clock.start()

    def new_store(self) -> SQLiteStorage:
        """One has room for all, the next for two pairs, the next for none, and so on."""
        size = next(self.cache_sizes)
        return SQLiteStorage(self.path, synchronous="NORMAL", cache_size=size)

    def time_ns(self) -> int:
        return self.now_ms * 1_000_000

    def enter(self, module: object, sender: object, state: str) -> None:
        """Note in the dict that a pair is in a state, and since now if it was in another."""
        pair = repr(module), repr(sender)
        if pair not in self.rows or self.rows[pair][1] != state:
            row = column_value(module), column_value(sender)
            self.rows[pair] = row, state, self.now_ms
        self.memory.set(module, sender, state)

    @initialize(target=keys)
    def begin_with_keys_of_real_mail(self) -> MultipleResults[Any]:
        return multiple("app.handlers.lists", "ann@example.com", "Ann@example.com", None)

    @rule(target=keys, key=KEYS)
    def meet(self, key: object) -> object:
        return key

    @rule(which=WHICH, module=keys, sender=keys)
    def get(self, which: int, module: object, sender: object) -> None:
        self.now_ms += 1
        state = self.memory.get(module, sender)

        assert self.stores[which].get(module, sender) == state
        self.enter(module, sender, state)

    @rule(which=WHICH, module=keys, sender=keys, state=STATES)
    def set(self, which: int, module: object, sender: object, state: str) -> None:
        self.now_ms += 1
        self.stores[which].set(module, sender, state)
        self.enter(module, sender, state)

    @rule(which=WHICH, module=keys, sender=keys, expected=STATES, state=STATES)
    def compare_and_set(
        self, which: int, module: object, sender: object, expected: str, state: str
    ) -> None:
        self.now_ms += 1
        is_expected = self.memory.get(module, sender) == expected

        changed = self.stores[which].compare_and_set(module, sender, expected, state)

        assert changed is is_expected
        if is_expected and expected != state:
            self.enter(module, sender, state)

    @precondition(lambda self: self.rows)
    @rule(which=WHICH, data=st.data(), state=STATES)
    def compare_and_set_what_is_there(self, which: int, data: st.DataObject, state: str) -> None:
        (module, sender), there, _ = self.rows[data.draw(st.sampled_from(sorted(self.rows)))]
        if isinstance(module, str) and isinstance(sender, str):
            self.compare_and_set(which, module, sender, there, state)

    @rule(which=WHICH, sender=keys, state=STATES)
    def set_all(self, which: int, sender: object, state: str) -> None:
        self.now_ms += 1
        pairs = [pair for pair in self.rows if pair[1] == repr(sender)]

        assert self.stores[which].set_all(sender, state) == len(pairs)
        for pair in pairs:
            row, there, _ = self.rows[pair]
            if there != state:
                self.rows[pair] = row, state, self.now_ms
            self.memory.states[f"[{pair[0]}, {pair[1]}]"] = state

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), state=STATES)
    def edit_with_another_tool(self, data: st.DataObject, state: str) -> None:
        """Ten milliseconds later, that is."""
        self.now_ms += 1
        pair = data.draw(st.sampled_from(sorted(self.rows)))
        (module, sender), _, _ = self.rows[pair]
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(
                "UPDATE states SET state = ?, since = ? WHERE module = ? AND sender = ?",
                (state, self.now_ms, module, sender),
            )
            connection.commit()
        for store in self.stores:
            make_the_next_read_look(store)
        self.rows[pair] = (module, sender), state, self.now_ms
        self.memory.states[f"[{pair[0]}, {pair[1]}]"] = state

    @rule(which=WHICH)
    def clear(self, which: int) -> None:
        self.stores[which].clear()
        self.rows.clear()
        self.memory.clear()

    @rule(which=WHICH)
    def close(self, which: int) -> None:
        self.stores[which].close()

    @rule(which=WHICH)
    def restart(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = self.new_store()

    @rule(which=WHICH)
    def lose_the_store_unclosed(self, which: int) -> None:
        self.stores[which] = self.new_store()

    @rule(which=WHICH)
    def hand_over_by_pickle(self, which: int) -> None:
        self.stores[which] = pickle.loads(pickle.dumps(self.stores[which]))

    @precondition(lambda self: self.rows)
    @rule()
    def read_the_file_as_any_tool_would(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = connection.execute("SELECT module, sender, state, since FROM states")
            table = {(module, sender): (state, since) for module, sender, state, since in found}
        assert table == {row: (state, since) for row, state, since in self.rows.values()}

    def teardown(self) -> None:
        try:
            if self.rows:
                self.read_the_file_as_any_tool_would()
            for store in self.stores:
                store.close()
            if self.rows:
                self.read_the_file_as_any_tool_would()
        finally:
            self.clock.stop()
            shutil.rmtree(self.directory)


TestTwoStoresAndADict = TwoStoresAndADict.TestCase
# Each example makes files, so none is too slow.
TestTwoStoresAndADict.settings = settings(stateful_step_count=40, deadline=None)
