"""A shelf taken over: which of its entries count, what is refused, and what is not harmed."""

import io
import os
import pickle
import resource
import shelve
import tempfile
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.maintenance import rows
from lamson_sqlite_state.shelf import _newest
from lamson_sqlite_state.sqlite.check import _processes
from lamson_sqlite_state.sqlite.process import filesystem
from lamson_sqlite_state.transfer import NotAShelf, OnConflict, import_rows, import_shelve
from tests.helpers.checking import NEEDS_LINUX
from tests.helpers.children import in_child
from tests.helpers.shelf_files import write_dumb


def locks_on(identity: filesystem.Identity) -> set[_processes.HeldLock]:
    """Return the locks on a file.

    /proc/locks is read piece by piece: where other processes lock and unlock meanwhile, a lock may
    be listed twice, or not at all. So the table is read three times.
    """
    return {lock for _ in range(3) for lock in _processes.held_locks() if lock.is_on(identity)}


class TestImportShelve:
    @pytest.mark.parametrize("on_conflict", ["keep", "replace"])
    @pytest.mark.parametrize("forms", [("[{}]", "[b{}]"), ("[b{}]", "[{}]")])
    def test_of_both_forms_of_a_key_salmons_counts(
        self, path: str, tmp_path: Path, forms: tuple[str, str], on_conflict: OnConflict
    ) -> None:
        """It has written to the shelf after Lamson. Wherever in the file they stand."""
        count = 1_200
        write_dumb(
            str(tmp_path / "shelf"),
            {
                form.format(f"'m', 's{number:04}'").encode(): pickle.dumps(
                    "NEW" if "b" in form else "OLD"
                )
                for form in forms
                for number in range(count)
            },
        )
        with SQLiteStorage(path) as store:
            would = import_shelve(
                store, tmp_path / "shelf", on_conflict=on_conflict, is_dry_run=True
            )
            done = import_shelve(store, tmp_path / "shelf", on_conflict=on_conflict)
            assert would == done
            assert (done.rows, done.written, done.kept) == (2 * count, count, count)
            assert {row.state for row in rows(store)} == {"NEW"}

    def test_of_one_form_written_twice_the_last_counts(self, path: str, tmp_path: Path) -> None:
        with shelve.open(str(tmp_path / "shelf")) as states:
            states["['m', 'ann']"] = "OLD"
            states['["m", "ann"]'] = "NEW"
        with SQLiteStorage(path) as store:
            assert import_shelve(store, tmp_path / "shelf").written == 1
            assert [row.state for row in rows(store)] == ["NEW"]

    def test_of_a_key_written_by_two_processes_the_last_line_counts(
        self, path: str, tmp_path: Path
    ) -> None:
        """Each process keeps an index of its own in memory, and appends lines to the file."""
        count = 30_000
        values = [pickle.dumps("OLD")] * count + [pickle.dumps("NEW")] * count
        (tmp_path / "shelf.dat").write_bytes(b"".join(values))
        size = len(values[0])
        with open(tmp_path / "shelf.dir", "w") as index:
            index.writelines(
                f""""['m', 's{at % count}']", ({size * at}, {size})\n""" for at in range(2 * count)
            )
            index.write("damaged\n")
        with SQLiteStorage(path) as store:
            done = import_shelve(store, tmp_path / "shelf")
            assert (done.rows, done.written, done.kept) == (2 * count, count, count)
            assert done.refused_count == 1
            assert {row.state for row in rows(store)} == {"NEW"}

    @pytest.mark.parametrize("value", [(0, 9), (10_000_000, 9), (0, 2_000_000)])
    def test_of_a_key_whose_last_line_is_unreadable_no_older_state_counts(
        self, path: str, tmp_path: Path, value: tuple[int, int]
    ) -> None:
        """dbm.dumb goes by the last line too, so the application had no state of the pair."""
        old = pickle.dumps("OLD")
        (tmp_path / "shelf.dat").write_bytes(b"no pickle" + old)
        with open(tmp_path / "shelf.dir", "w") as index:
            index.write(f""""['m', 'ann']", (9, {len(old)})\n""")
            index.write(f""""['m', 'bob']", {value}\n""")
            index.write(f""""['m', 'bob']", (9, {len(old)})\n""")
            index.write(f""""['m', 'ann']", {value}\n""")
        with SQLiteStorage(path) as store:
            would = import_shelve(store, tmp_path / "shelf", is_dry_run=True)
            done = import_shelve(store, tmp_path / "shelf")
            assert would == done
            assert (done.rows, done.written, done.refused_count) == (2, 1, 2)
            assert [refused.pair for refused in done.refused] == [("m", "bob"), ("m", "ann")]
            assert [(row.sender, row.state) for row in rows(store)] == [("bob", "OLD")]

    @pytest.mark.parametrize("forms", [("[{}]", "[b{}]"), ("[b{}]", "[{}]")])
    def test_of_a_pair_whose_salmon_entry_is_unreadable_lamsons_state_does_not_count(
        self, path: str, tmp_path: Path, forms: tuple[str, str]
    ) -> None:
        values = {"[{}]": pickle.dumps("OLD"), "[b{}]": b"no pickle"}
        write_dumb(
            str(tmp_path / "shelf"),
            {form.format("'m', 'ann'").encode(): values[form] for form in forms},
        )
        with SQLiteStorage(path) as store:
            done = import_shelve(store, tmp_path / "shelf")
            assert (done.rows, done.written, done.refused_count) == (1, 0, 1)
            assert list(rows(store)) == []

    def test_progress_counts_what_is_read_and_what_is_written(
        self, path: str, tmp_path: Path
    ) -> None:
        told: list[tuple[int, int | None]] = []
        with shelve.open(str(tmp_path / "shelf")) as states:
            for number in range(1_500):
                states[f"['m', 's{number}']"] = "A1"
            states["no pair"] = "A1"
        with SQLiteStorage(path) as store:
            import_shelve(store, tmp_path / "shelf", progress=lambda *so_far: told.append(so_far))
        assert told == sorted(told)
        assert told[0] == (0, 3_002)
        assert told[-1] == (3_002, 3_002)
        assert (1_000, 3_002) in told

    def test_pair_that_has_the_state_keeps_its_time(self, path: str, tmp_path: Path) -> None:
        with shelve.open(str(tmp_path / "shelf")) as states:
            states["['m', 'ann']"] = "A1"
        with SQLiteStorage(path) as store:
            line = b'{"module": "m", "sender": "ann", "state": "A1", "since": 5}\n'
            import_rows(store, io.BytesIO(line))
            done = import_shelve(store, tmp_path / "shelf", on_conflict="replace")
            assert done.written == 0
            assert [row.since for row in rows(store)] == [5]

    def test_what_is_refused_is_counted_and_the_first_thousand_kept(
        self, path: str, tmp_path: Path
    ) -> None:
        with shelve.open(str(tmp_path / "shelf")) as states:
            for number in range(1_200):
                states[f"['m', 's{number}']"] = "A1" if number % 2 else number
            states["['m', 'evil']"] = os.getcwd
        with SQLiteStorage(path) as store:
            done = import_shelve(store, tmp_path / "shelf")
        assert (done.rows, done.written, done.refused_count) == (600, 600, 601)
        assert len(done.refused) == 601
        assert any("evil" in refused.key for refused in done.refused)

    @NEEDS_LINUX
    def test_store_that_is_open_here_keeps_its_locks(self, path: str) -> None:
        """Where the shelf's own path leads, or a mistyped one: closing it would drop them."""
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            identity = filesystem.identity(path)
            assert identity is not None
            held = locks_on(identity)
            with pytest.raises(NotAShelf, match="this process has it open"):
                import_shelve(store, path)
            write_dumb(path, {b"['m', 'bob']": pickle.dumps("B1")})
            assert import_shelve(store, path).written == 1
            assert held == locks_on(identity) != set()

    def test_no_room_for_what_is_read_is_an_error_in_one_line(
        self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where SQLite has its temporary files. Nothing is imported then."""
        monkeypatch.setattr(_newest, "_MAKE", _newest._MAKE.replace("-16384", "-100"))
        keys = (f"['m', '{number % 7}{number:099}']".encode() for number in range(20_000))
        write_dumb(str(tmp_path / "shelf"), dict.fromkeys(keys, pickle.dumps("A1")))

        def scene() -> None:
            with SQLiteStorage(path) as store:
                store.set("m", "ann", "A1")
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
                with pytest.raises(StorageError, match=r"a temporary file .* some space") as error:
                    import_shelve(store, tmp_path / "shelf")
                assert error.value.path == tempfile.gettempdir()
                assert [row.sender for row in rows(store, order="since")] == ["ann"]

        in_child(scene)

    def test_no_shelf_is_an_error(self, path: str, tmp_path: Path) -> None:
        with SQLiteStorage(path) as store, pytest.raises(NotAShelf):
            import_shelve(store, tmp_path / "none")
