"""The contract, run over our storage, and over the two of Salmon as its sanity check."""

from pathlib import Path

import pytest
from salmon.routing import MemoryStorage, ShelveStorage

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.contract import AnyKey, Factory, Persistence, StateStorageContract
from tests.helpers.contract_extras import CompareAndSet, SetAll
from tests.helpers.contract_sharing import ProcessSafety, ThreadSafety


class TestSQLiteStorage(
    AnyKey, Persistence, ThreadSafety, ProcessSafety, SetAll, CompareAndSet, StateStorageContract
):
    @pytest.fixture
    def make_storage(self, tmp_path: Path) -> Factory:
        return lambda: SQLiteStorage(tmp_path / "run" / "states")


class TestSQLiteStorageWithoutCache(TestSQLiteStorage):
    @pytest.fixture
    def make_storage(self, tmp_path: Path) -> Factory:
        return lambda: SQLiteStorage(tmp_path / "run" / "states", cache_size=0)


class TestSQLiteStorageWithTheSmallestCache(TestSQLiteStorage):
    @pytest.fixture
    def make_storage(self, tmp_path: Path) -> Factory:
        return lambda: SQLiteStorage(tmp_path / "run" / "states", cache_size=1)


class TestSalmonsMemoryStorage(AnyKey, StateStorageContract):
    @pytest.fixture
    def make_storage(self) -> Factory:
        return MemoryStorage  # type: ignore[no-any-return]


class TestSalmonsShelveStorage(Persistence, ThreadSafety, StateStorageContract):
    @pytest.fixture
    def make_storage(self, tmp_path: Path) -> Factory:
        return lambda: ShelveStorage(str(tmp_path / "states"))
