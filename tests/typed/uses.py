"""Every public name as typed code uses it: `make lint` has mypy --strict and pyright read this.

Nothing here is run. An ``assert_type`` fails where a type gets worse, as by becoming Any. A ``type:
ignore`` marks a misuse, and fails where the checkers do not find the misuse any more.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

import io
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

from lamson_sqlite_state import (
    ROUTE_FIRST_STATE,
    LockTimeout,
    NetworkFilesystem,
    NotAStateFile,
    SchemaTooNew,
    SQLiteStorage,
    StateStorage,
    StorageError,
    UnsafeFork,
    maintenance,
    transfer,
)
from lamson_sqlite_state.cli import main
from lamson_sqlite_state.maintenance import (
    EVERY_ROW,
    Backup,
    CountExcerpt,
    Exact,
    Excerpt,
    ExistingStorage,
    Finding,
    NoStore,
    Observation,
    Restored,
    Row,
    RowExcerpt,
    Selection,
    StateCount,
    Summary,
)
from lamson_sqlite_state.transfer import BadRow, Imported, NotAShelf, Refused


class MemoryStorage:
    """As Salmon's and Lamson's is, which name the module ``key``."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def get(self, key: object, sender: object) -> str:
        return self.states.get(repr([key, sender]), ROUTE_FIRST_STATE)

    def set(self, key: object, sender: object, state: str) -> None:
        self.states[repr([key, sender])] = state

    def clear(self) -> None:
        self.states.clear()


class NumberStorage(MemoryStorage):
    """No storage, because a state is a text."""

    def get(self, key: object, sender: object) -> int:  # type: ignore[override]
        return 0


class Counted(SQLiteStorage):
    """A subclass with a method of its own."""

    sets = 0

    def set(self, module: object, sender: object, state: str) -> None:
        self.sets += 1
        super().set(module, sender, state)


def storages() -> None:
    stores: list[StateStorage] = [SQLiteStorage("states"), MemoryStorage(), Counted("states")]
    for store in stores:
        assert_type(store.get("module", None), str)
        store.set("module", b"sender", "STATE")
        store.clear()
    stores.append(NumberStorage())  # type: ignore[arg-type]


def constructing() -> None:
    SQLiteStorage(Path("states"), timeout=1, synchronous="NORMAL", file_mode=0o660, cache_size=0)
    SQLiteStorage(None)  # type: ignore[arg-type]
    SQLiteStorage("states", 1.0)  # type: ignore[call-arg]
    SQLiteStorage("states", synchronous="OFF")  # type: ignore[arg-type]
    SQLiteStorage("states", timeout="1")  # type: ignore[arg-type]
    SQLiteStorage("states", file_mode="600")  # type: ignore[arg-type]
    SQLiteStorage("states", cache_size=None)  # type: ignore[arg-type]


def calls() -> None:
    with SQLiteStorage("states") as store:
        assert_type(store, SQLiteStorage)
        assert_type(store.get(("a", 1), sender="ann"), str)
        assert_type(store.set_all("ann", "STATE"), int)
        assert_type(store.compare_and_set("module", "ann", "OLD", "NEW"), bool)
        assert_type(store.path, str)
        assert_type(store.timeout, float)
        store.set("module", "ann", b"STATE")  # type: ignore[arg-type]
        store.set_all("ann", 1)  # type: ignore[arg-type]
        store.compare_and_set("module", "ann", None, "NEW")  # type: ignore[arg-type]
        store.path = "other"  # type: ignore[misc]
        store.close()
    with Counted("states") as counted:
        assert_type(counted, Counted)
    with ExistingStorage("states", timeout=0.5) as existing:
        assert_type(existing, ExistingStorage)


def errors(store: SQLiteStorage) -> None:
    timeouts: list[TimeoutError] = []
    try:
        store.clear()
    except LockTimeout as error:
        timeouts.append(error)
        assert_type(error.path, str)
    except (NotAStateFile, SchemaTooNew) as error:
        assert_type(error.path, str)
    except (NetworkFilesystem, UnsafeFork, NoStore, NotAShelf, BadRow) as error:
        assert_type(error.path, str)
    except StorageError as error:
        assert_type(error.path, str)


def progress(done: int, of: int | None) -> None: ...


def looking(store: SQLiteStorage) -> None:
    selection = Selection(module=Exact(None), sender="*@example.com", state="ERROR")
    Selection(sender=None)  # type: ignore[arg-type]
    found = maintenance.rows(store, selection, order="since", limit=3, progress=progress)
    assert_type(found, Iterator[Row])
    for row in found:
        module, sender, state, since = row
        assert_type(state, str)
        assert_type(since, int)
        assert_type(row.sender, object)
        assert_type((module, sender), tuple[object, object])
    maintenance.rows(store, order="time")  # type: ignore[arg-type]
    for excerpt in maintenance.excerpts(store, EVERY_ROW, is_reversed=True):
        assert_type(excerpt, RowExcerpt)
        assert_type(excerpt.sender, Excerpt)
        assert_type(excerpt.sender.begin, str)
    assert_type(maintenance.find(store, "module", "ann"), Row | None)
    assert_type(maintenance.count_states(store, selection), tuple[StateCount, ...])
    assert_type(maintenance.count_states(store)[0].pairs, int)
    assert_type(maintenance.count_excerpts(store), tuple[CountExcerpt, ...])
    summary = maintenance.summary(store, progress)
    assert_type(summary, Summary[StateCount])
    assert_type(summary.states[0].state, str)
    assert_type(summary.oldest_ms, int | None)
    assert_type(summary.files.bytes, dict[str, int])
    assert_type(summary.limits.timeout_seconds, float)
    assert_type(maintenance.summary_excerpts(store), Summary[CountExcerpt])
    seen = maintenance.observe(store, 0)
    assert_type(seen, Observation[StateCount, Row])
    assert_type(seen.newest, tuple[Row, ...])
    assert_type(
        maintenance.observe_excerpts(store, 0, newest=1), Observation[CountExcerpt, RowExcerpt]
    )


def mending(store: SQLiteStorage) -> None:
    assert_type(maintenance.forget(store, "ann", Exact("module")), int)
    assert_type(maintenance.rename_state(store, "module", "OLD", "NEW", progress=progress), int)
    assert_type(maintenance.prune(store, EVERY_ROW, before_2009=True), int)
    maintenance.prune(store)  # type: ignore[call-arg]
    maintenance.prune(MemoryStorage(), EVERY_ROW)  # type: ignore[arg-type]
    backup = maintenance.backup(store, Path("copy"), overwrite=True)
    assert_type(backup, Backup)
    assert_type(backup.pairs, int)
    restored = maintenance.restore(store, "copy", progress=progress)
    assert_type(restored, Restored)
    assert_type(restored.removed, int)
    findings = maintenance.check("states")
    assert_type(findings, list[Finding])
    assert_type(findings[0].remedy, str)


def moving(store: SQLiteStorage) -> None:
    assert_type(transfer.export_rows(store, io.BytesIO(), "csv", selection=EVERY_ROW), int)
    transfer.export_rows(store, io.StringIO())  # type: ignore[arg-type]
    transfer.export_rows(store, io.BytesIO(), "xml")  # type: ignore[arg-type]
    assert_type(transfer.import_rows(store, io.BytesIO(), on_conflict="replace"), Imported)
    assert_type(transfer.import_copy(store, Path("copy")), Imported)
    imported = transfer.import_shelve(store, "shelf", is_dry_run=True, progress=progress)
    assert_type(imported.refused, tuple[Refused, ...])
    assert_type(imported.kept, int)


def command() -> None:
    assert_type(main(["summary"]), int)
