"""The names of a store's files are those that are on the disk."""

from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.process.store_paths import StorePaths


def test_companions_are_what_stands_beside_a_store_in_use(path: str) -> None:
    store = SQLiteStorage(path)
    try:
        store.set("posts", "fred@example.com", "POSTING")
        found = {str(file) for file in Path(path).parent.iterdir()}
        assert found == {path, *StorePaths(path).companions}
    finally:
        store.close()


@pytest.mark.parametrize("file", StorePaths("/srv/states.sqlite").all)
def test_each_file_leads_back_to_its_store(file: str) -> None:
    assert StorePaths.owning(file).database == "/srv/states.sqlite"


def test_all_files_have_names_of_their_own() -> None:
    paths = StorePaths("/srv/states.sqlite")
    assert len(set(paths.all)) == len(paths.all) == 11
