"""Ctrl-C at each place in a call where the interpreter looks for signals."""

import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.maintenance import Exact, Selection, find, forget, prune, rename_state
from tests.helpers.bulk import stricken
from tests.helpers.cache_probes import have_few_stripes

pytestmark = pytest.mark.many_syncs

CALLS: dict[str, Callable[[SQLiteStorage, str], object]] = {
    "get": lambda store, state: store.get("m", state),
    "set": lambda store, state: store.set("m", "ann", state),
    "set_all": lambda store, state: store.set_all("ann", state),
    "compare_and_set": lambda store, state: store.compare_and_set("m", state, "START", "A1"),
    "clear": lambda store, _state: store.clear(),
    "forget": lambda store, _state: forget(store, "ann"),
    "find": lambda store, _state: find(store, "m", "ann"),
    "rename_state": lambda store, state: rename_state(store, "m", "NOW", state),
    "prune": lambda store, _state: prune(store, Selection(sender=Exact("ann"))),
}


@pytest.mark.parametrize("what", CALLS)
def test_leaves_the_lock_free_and_the_store_in_use(
    path: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it strikes as the lock is let go of. The next call sees what is there."""
    have_few_stripes(monkeypatch)
    leaves_the_lock_free_and_the_store_in_use(path, what)


@pytest.mark.long
def test_in_a_clear_of_all_stripes_leaves_the_lock_free_too(path: str) -> None:
    leaves_the_lock_free_and_the_store_in_use(path, "clear")


def leaves_the_lock_free_and_the_store_in_use(path: str, what: str) -> None:
    call = CALLS[what]
    with SQLiteStorage(path) as store, SQLiteStorage(path, timeout=0) as other:
        store.set("m", "ann", "NOW")
        places = stricken(lambda: call(store, "COUNTED"), sys.maxsize, signal.SIGINT)
        # All of the last, where the lock is let go of, and some of the others in each run.
        last = max(1, places - 25)
        chosen = [*random.sample(range(1, last), min(50, last - 1)), *range(last, places + 10)]
        for place in chosen:
            store.set("m", "ann", "NOW")
            with suppress(KeyboardInterrupt):
                stricken(lambda: call(store, f"S{place}"), place, signal.SIGINT)  # noqa: B023
            assert other.get("m", "ann") == store.get("m", "ann")
            other.set("m", "ann", f"OTHER {place}")
            assert store.get("m", "ann") == f"OTHER {place}"
