"""Long work shows how far it is, and its files reach the disk steadily."""

import itertools
import os
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.cli import _export
from lamson_sqlite_state.sqlite.copies import backup
from tests.helpers.commands import on_terminal, run_in_process


@pytest.fixture
def many(path: str) -> str:
    """A store of 2,000 pairs."""
    with SQLiteStorage(path, synchronous="NORMAL") as store:
        for number in range(2_000):
            store.set("app.many", f"s{number}", "S")
    return path


class TestFilesThatGrow:
    """A sync of 100 MB at the end would have every synced `set` of a worker wait for it."""

    @pytest.fixture
    def syncs(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How large the file was at each sync."""
        sizes: list[int] = []
        fsync = os.fsync

        def counted(descriptor: int) -> None:
            sizes.append(os.fstat(descriptor).st_size)
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", counted)
        return sizes

    def test_export_is_synced_as_it_grows(
        self,
        many: str,
        tmp_path: Path,
        syncs: list[int],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(_export, "_SYNC_BYTES", 1_000)
        run_in_process(capfd, "--store", many, "export", str(tmp_path / "rows"))
        size = os.path.getsize(tmp_path / "rows")
        steps = [0, *(each for each in syncs if each <= size), size]
        assert max(b - a for a, b in itertools.pairwise(sorted(steps))) < size / 3

    def test_backup_is_synced_as_it_grows(
        self,
        many: str,
        tmp_path: Path,
        syncs: list[int],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(backup, "_STEP_PAGES", 4)
        run_in_process(capfd, "--store", many, "backup", str(tmp_path / "copy"))
        assert len(syncs) > os.path.getsize(tmp_path / "copy") // (4 * 4096)


class TestProgress:
    def test_long_work_shows_how_far_it_is(self, path: str, tmp_path: Path) -> None:
        file = tmp_path / "rows"
        file.write_text(
            "".join(
                f'{{"module": "m", "sender": "person-{number}", "state": "A{number % 7}"}}\n'
                for number in range(150_000)
            )
        )
        with SQLiteStorage(path) as store:
            store.get("m", "ann")
        with on_terminal("--store", path, "import", str(file)) as terminal:
            assert terminal.wait() == 0
        assert "importing" in terminal.text
        assert "150,000 pairs read: 150,000 written, 0 kept." in terminal.text
