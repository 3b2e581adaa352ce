"""What other tools do to the file, who know nothing of its counters."""

import os
from collections.abc import Iterator

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.coherence import cache
from tests.helpers.actors import Actor
from tests.helpers.cache_probes import (
    edit,
    have_no_look_fall_due,
    keeps_reads,
    wait_until_a_look_is_due,
)
from tests.helpers.state_files import make_backup, make_the_next_read_look, rows


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        yield store


class TestAfterTenMilliseconds:
    def test_an_edit_by_another_tool_is_read(self, store: SQLiteStorage) -> None:
        for number in range(20):
            store.get("m", "ann")
            edit(store.path, f"E{number}")
            wait_until_a_look_is_due()
            assert store.get("m", "ann") == f"E{number}"

    def test_an_edit_by_another_tool_is_overwritten(self, store: SQLiteStorage) -> None:
        """What the cache takes for unchanged is written if the file has something else."""
        edit(store.path, "EDITED")
        wait_until_a_look_is_due()
        store.set("m", "ann", "A1")
        assert rows(store.path)["m", "ann"] == "A1"

    def test_an_edit_is_not_hidden_by_the_writes_of_other_processes(
        self, store: SQLiteStorage, first: Actor
    ) -> None:
        """They change what tells of it, and the counters that tell of them are not its own."""
        for number in range(20):
            store.get("m", "ann")
            first.set("m", "bob", f"B{number}")
            edit(store.path, f"E{number}")
            first.set("m", "bob", f"C{number}")
            store.set("m", "cid", f"C{number}")
            wait_until_a_look_is_due()
            assert store.get("m", "ann") == f"E{number}"

    def test_an_edit_is_read_though_the_first_look_was_interrupted(
        self, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By Ctrl-C, just as it was about to forget what it had kept."""
        store.get("m", "ann")

        def interrupt(*_arguments: object) -> None:
            raise KeyboardInterrupt

        edit(store.path, "EDITED")
        make_the_next_read_look(store)
        monkeypatch.setattr(cache.Cache, "empty", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.get("m", "ann")
        monkeypatch.undo()
        wait_until_a_look_is_due()
        assert store.get("m", "ann") == "EDITED"

    def test_a_cache_that_was_left_without_counters_has_them_again(
        self, store: SQLiteStorage
    ) -> None:
        """An exception struck between opening the counters and going by them."""
        have_no_look_fall_due(store)
        store._cache.empty(None)
        assert not keeps_reads(store)
        make_the_next_read_look(store)
        assert keeps_reads(store)

    def test_a_replaced_database_is_read(self, store: SQLiteStorage) -> None:
        backup = make_backup(store.path, ann="BACKUP")
        assert store.get("m", "ann") == "A1"
        os.rename(backup, store.path)
        wait_until_a_look_is_due()
        assert store.get("m", "ann") == "BACKUP"

    def test_a_deleted_database_is_gone(self, store: SQLiteStorage) -> None:
        assert store.get("m", "ann") == "A1"
        os.unlink(store.path)
        wait_until_a_look_is_due()
        assert store.get("m", "ann") == "START"
