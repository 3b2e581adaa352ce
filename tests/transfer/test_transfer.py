"""States in and out of a store, from Python: nothing is lost, nobody is held up, all can be cut."""

import csv
import errno
import io
import itertools
import json
import os
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamson_sqlite_state import SQLiteStorage, transfer
from lamson_sqlite_state.keys.rows import RawRow, Row
from lamson_sqlite_state.maintenance import ExistingStorage, Selection, rows
from lamson_sqlite_state.transfer import (
    BadRow,
    Format,
    _formats,
    _import_rows,
    export_rows,
    import_rows,
    json_lines,
)
from lamson_sqlite_state.transfer._csv import format_utc, read_csv, write_csv
from lamson_sqlite_state.transfer.json_lines import as_object, read_json_lines, write_json_lines
from tests.helpers.actors import Actor
from tests.helpers.bulk import raw_rows
from tests.helpers.children import peak_growth_kib
from tests.helpers.insides import connection_of
from tests.helpers.strategies import KEYS, STATES

ROWS = st.lists(st.builds(Row, KEYS, KEYS, STATES, st.integers(0, 253_402_300_799_999)), max_size=5)

forms = pytest.mark.parametrize("form", ["jsonl", "csv"])


def raw(found: list[Row]) -> list[RawRow]:
    return [row.raw for row in found]


class TestForms:
    @given(ROWS)
    def test_json_lines_lose_nothing(self, found: list[Row]) -> None:
        text = "".join(write_json_lines(found))
        assert text.count("\n") == len(found)
        file = io.BytesIO(text.encode())
        assert [row for some in read_json_lines(file, "rows") for row in some] == raw(found)

    @given(ROWS)
    def test_json_line_is_the_object(self, found: list[Row]) -> None:
        lines = "".join(write_json_lines(found)).split("\n")
        assert [json.loads(line) for line in lines if line] == [as_object(row) for row in found]

    @given(ROWS)
    def test_csv_loses_nothing_either(self, found: list[Row]) -> None:
        file = io.BytesIO("".join(write_csv(found)).encode())
        assert [row for some in read_csv(file, "rows") for row in some] == raw(found)

    @given(ROWS)
    def test_no_cell_is_a_formula_but_a_number(self, found: list[Row]) -> None:
        table = csv.reader(io.StringIO("".join(write_csv(found)), newline=""))
        for cell in itertools.chain.from_iterable(table):
            assert cell[:1] not in ("=", "+", "@", "\t", "\r")
            assert cell[:1] != "-" or float(cell) <= 0

    def test_csv_has_cells_as_long_as_any_sender(self) -> None:
        """The csv module has a limit, for all that use it in a process."""
        csv.field_size_limit(131_072)
        found = [Row("m", sender * 300_000, "S", 5) for sender in ("a", "é", '"', "\udcff")]
        file = io.BytesIO("".join(write_csv(found)).encode())
        read = itertools.chain.from_iterable(read_csv(file, "f"))
        assert next(read) == raw(found)[0]
        assert list(read_csv(io.BytesIO(b"sender,module,state\r\n"), "another")) == []
        assert list(read) == raw(found)[1:]
        csv.field_size_limit(10**9)  # somebody else's
        list(read_csv(io.BytesIO(b"sender,module,state\r\n"), "f"))
        assert csv.field_size_limit() == 10**9

    def test_csv_with_a_mark_and_other_columns_is_read(self) -> None:
        file = io.BytesIO(
            "\ufeffstate,note,sender,module\r\nA1,hello,ann,m\r\n\r\nA2,,bob,m\r\n".encode()
        )
        (found,) = read_csv(file, "rows")
        assert [row[:3] for row in found] == [("ann", "m", "A1"), ("bob", "m", "A2")]

    @pytest.mark.parametrize("blank", [",,,,", ",", " ,\t,", '"","",,,', ",,,,,,,", '"\r\n",,'])
    def test_csv_row_of_empty_cells_is_no_row(self, blank: str) -> None:
        """As a spreadsheet leaves it, before and after the rows and between them."""
        found = [Row("m", "ann", "A1", 1), Row("", "", "", 0)]
        head, *lines = "".join(write_csv(found)).splitlines()
        text = "\r\n".join([head, blank, lines[0], blank, blank, lines[1], blank, ""])
        read = read_csv(io.BytesIO(text.encode()), "rows")
        assert [row for some in read for row in some] == raw(found)

    def test_csv_row_with_one_empty_cell_is_a_row(self) -> None:
        file = io.BytesIO(b"module,sender,state\r\n,ann,A1\r\nm,,A2\r\nm,bob,\r\n")
        (found,) = read_csv(file, "rows")
        assert [row[:3] for row in found] == [("ann", "", "A1"), ("", "m", "A2"), ("bob", "m", "")]

    def test_time_is_in_utc(self) -> None:
        assert format_utc(0) == "1970-01-01T00:00:00.000Z"
        assert format_utc(1_795_537_403_497) == "2026-11-24T16:23:23.497Z"
        assert format_utc(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"
        assert format_utc(-1) == "-1"

    @pytest.mark.parametrize("size", [1, 7, 64])
    def test_blocks_may_end_anywhere(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_lines, "_BLOCK_BYTES", size)
        found = [Row("m", f"s{number}", "caf\xe9", number) for number in range(20)]
        file = io.BytesIO("".join(write_json_lines(found)).encode().rstrip(b"\n"))
        assert [row for some in read_json_lines(file, "rows") for row in some] == raw(found)


class TestPipe:
    def test_is_read_as_far_as_it_goes(self) -> None:
        """To wait for a whole block is to hear no Ctrl-C meanwhile."""

        class Pipe(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise AssertionError(f"waits for {size} bytes")

        found = [Row("m", "ann", "A1", 1)]
        pipe = Pipe("".join(write_json_lines(found)).encode())
        assert [row for some in read_json_lines(pipe, "rows") for row in some] == raw(found)


class TestExport:
    @forms
    def test_each_row_is_there_once_while_others_come_and_go(
        self, form: Format, path: str, first: Actor
    ) -> None:
        """Pairs that are there all the time; the file makes another process write in between."""
        with SQLiteStorage(path, synchronous="NORMAL") as store:
            for number in range(600):
                store.set("m", f"s{number:04}", "A1")
            lines = self.Interleaved(first)
            export_rows(store, lines, form)
        found = [line for line in lines.getvalue().splitlines() if b"A1" in line]
        assert len(found) == 600

    class Interleaved(io.BytesIO):
        def __init__(self, other: Actor) -> None:
            super().__init__()
            self._other = other

        def write(self, text: object) -> int:
            self._other.call(SQLiteStorage.set, "m", f"s{self.tell():04}x", "B1")
            return super().write(text)  # type: ignore[arg-type]

    def test_slow_reader_of_it_keeps_no_transaction_open(self, path: str) -> None:
        with SQLiteStorage(path, synchronous="NORMAL") as store, SQLiteStorage(path) as other:
            for number in range(3000):
                other.set("m", f"s{number}", "A1")

            class Slow(io.BytesIO):
                def write(self, text: object) -> int:
                    assert not connection_of(store).in_transaction
                    # A log that somebody reads cannot be cut off.
                    answer = connection_of(other).execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    assert answer.fetchone()[0] == 0
                    return super().write(text)  # type: ignore[arg-type]

            assert export_rows(store, Slow(), "jsonl") == 3000

    def test_selection_is_exported(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            store.set("m", "bob", "B1")
            file = io.BytesIO()
            assert export_rows(store, file, selection=Selection(state="B1")) == 1
        assert json.loads(file.getvalue())["sender"] == "bob"

    def test_progress_tells_how_much_of_how_much(self, path: str) -> None:
        told: list[tuple[int, int | None]] = []
        with SQLiteStorage(path, synchronous="NORMAL") as store:
            for number in range(100):
                store.get("m", f"s{number}")
            export_rows(store, io.BytesIO(), progress=lambda done, of: told.append((done, of)))
        assert told[-1] == (100, 100)


class TestImport:
    def test_time_of_a_row_is_kept_and_a_missing_one_is_now(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.get("m", "ann")
            (now,) = rows(store)
            file = io.BytesIO(
                b'{"module": "m", "sender": "bob", "state": "B1", "since": 7}\n'
                b'{"module": "m", "sender": "cid", "state": "C1"}'
            )
            done = import_rows(store, file)
            assert (done.rows, done.written, done.kept) == (2, 2, 0)
            found = {row.sender: row.since for row in rows(store)}
        assert found["bob"] == 7
        assert found["cid"] >= now.since

    @pytest.mark.parametrize(("choice", "state"), [("keep", "A1"), ("replace", "A2")])
    def test_of_two_rows_of_a_pair_the_first_is_kept_or_the_last_replaces(
        self, choice: transfer.OnConflict, state: str, path: str
    ) -> None:
        line = '{{"module": "m", "sender": "ann", "state": "A{}", "since": {}}}\n'
        file = io.BytesIO("".join(line.format(n, n) for n in (1, 2)).encode())
        with SQLiteStorage(path) as store:
            import_rows(store, file, on_conflict=choice)
            assert store.get("m", "ann") == state

    def test_workers_see_what_was_imported_at_once(self, path: str, first: Actor) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
            assert first.call(SQLiteStorage.get, "m", "ann") == "A1"
            file = io.BytesIO(b'{"module": "m", "sender": "ann", "state": "A2"}\n')
            import_rows(store, file, on_conflict="replace")
            assert first.call(SQLiteStorage.get, "m", "ann") == "A2"

    def test_rows_before_a_bad_one_are_there_and_none_behind_it(self, path: str) -> None:
        line = '{{"module": "m", "sender": "s{}", "state": "A"}}\n'
        good = [line.format(number) for number in range(3000)]
        file = io.BytesIO("".join([*good[:2500], "bad\n", *good[2500:]]).encode())
        with SQLiteStorage(path) as store:
            with pytest.raises(BadRow, match=r"^rows: line 2501: it is no JSON"):
                import_rows(store, file, name="rows")
            assert sum(1 for _ in rows(store)) == 2500

    @forms
    def test_rows_before_an_error_of_the_file_are_there(self, path: str, form: Format) -> None:
        class Failing(io.BytesIO):
            def read1(self, size: int | None = -1) -> bytes:
                read = super().read1(size)
                if not read:
                    raise OSError(errno.EIO, "a disk that fails")
                return read

        found = [Row("m", f"s{number:04}", "S", 5) for number in range(1_500)]
        file = Failing("".join(_formats.WRITERS[form](found)).encode())
        with SQLiteStorage(path) as store:
            with pytest.raises(OSError, match="a disk that fails"):
                import_rows(store, file, form)
            assert list(rows(store)) == found

    @forms
    def test_second_run_does_the_rest_after_a_ctrl_c(
        self, form: Format, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_import_rows, "_SORTED_ROWS", 10_000)
        found = [Row("m", f"s{number:05}", "A", number) for number in range(25_000)]
        write = write_json_lines if form == "jsonl" else write_csv
        text = "".join(write(found)).encode()

        def interrupt(done: int, _of: int | None) -> None:
            raise KeyboardInterrupt

        with SQLiteStorage(path, synchronous="NORMAL") as store:
            with pytest.raises(KeyboardInterrupt):
                import_rows(store, io.BytesIO(text), form, progress=interrupt)
            assert 0 < sum(1 for _ in rows(store)) < len(found)
            with SQLiteStorage(path, timeout=0) as other:
                other.set("m", "s00000", "B")
            done = import_rows(store, io.BytesIO(text), form)
            assert done.rows == len(found)
            assert 0 < done.kept < len(found)
            assert sum(1 for row in rows(store) if row.state == "A") == len(found) - 1

    def test_csv_is_read_from_a_file_that_stays_open(self, path: str) -> None:
        file = io.BytesIO("".join(write_csv([Row("m", "ann", "A1", 1)])).encode())
        with SQLiteStorage(path) as store:
            import_rows(store, file, "csv")
        assert not file.closed

    def test_missing_store_is_told_before_anything_is_read(self, path: str) -> None:
        class Unread(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise AssertionError(size)

            read1 = read

        with ExistingStorage(path) as store, pytest.raises(transfer.BadRow.__base__):  # type: ignore[arg-type]
            import_rows(store, Unread())
        assert not os.path.exists(path)


def round_trip(path: str, form: Format, count: int) -> None:
    """Import, export and import so many rows."""
    with SQLiteStorage(path, synchronous="NORMAL") as store:
        lines = (
            f'{{"module": "m", "sender": "person-{number}@example.com", "state": "A"}}\n'.encode()
            for number in range(count)
        )
        import_rows(store, _Stream(lines))
        with open(f"{path}.out", "wb") as file:
            assert export_rows(store, file, form) == count
        with open(f"{path}.out", "rb") as file:
            assert import_rows(store, file, form).rows == count


class _Stream(io.RawIOBase, IO[bytes]):
    """Reads what an iterator yields."""

    def __init__(self, parts: object) -> None:
        self._parts = parts

    def read(self, _size: int = -1) -> bytes:
        return next(self._parts, b"")  # type: ignore[call-overload,no-any-return]


@forms
@pytest.mark.parametrize(
    ("count", "sorted_rows", "mib"),
    [
        (60_000, 3_000, 14),
        pytest.param(150_000, _import_rows._SORTED_ROWS, 40, marks=pytest.mark.long),
    ],
)
def test_memory_does_not_grow_with_the_number_of_rows(
    form: Format,
    count: int,
    sorted_rows: int,
    mib: int,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_import_rows, "_SORTED_ROWS", sorted_rows)
    assert peak_growth_kib(round_trip, path, form, count) < mib * 1024
    assert len(raw_rows(path)) == count
