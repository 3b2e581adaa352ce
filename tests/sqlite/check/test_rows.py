"""What `check` finds of the rows: keys that no call can have written, and bad states and times."""

import os
import sqlite3
import time
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.keys.columns import column_value
from lamson_sqlite_state.keys.literals import is_literal
from lamson_sqlite_state.keys.rows import OLDEST_MS
from lamson_sqlite_state.maintenance import rows
from lamson_sqlite_state.sqlite.check import _rows, check
from tests.helpers.checking import carry_out, make_store, only, states_of_files
from tests.helpers.strategies import KEYS

pytestmark = pytest.mark.many_syncs

INSERT = "INSERT INTO states (module, sender, state, since) VALUES (?, ?, ?, ?)"
BROKEN = "caf\udce9".encode(errors="surrogateescape")


@pytest.fixture
def path(path: str) -> str:
    """A store, closed, with a row before and one after most others."""
    make_store(path, **{"!": "A1", "zoe": "Z1"})
    return path


def insert(path: str, *row: Any, values: str = "?, ?, ?, ?") -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(INSERT.replace("?, ?, ?, ?", values), row)


@pytest.mark.parametrize(
    ("sender", "what"),
    [
        (7, "its sender is of the kind integer"),
        (1.5, "its sender is of the kind real"),
        (-float("inf"), "its sender is of the kind real"),
        (b"no literal", "its sender is a BLOB, but no literal as it is written"),
        (b"'ann'", "its sender is a BLOB"),  # no call writes a text as a literal
        (b"( 1,)", "its sender is a BLOB"),
        (b"[1]", "its sender is a BLOB"),
        (b"__import__('os').getpid()", "its sender is a BLOB"),
        (b"\xff", "its sender is a BLOB"),
        (b"", "its sender is a BLOB"),
    ],
)
def test_keys_that_no_call_can_have_written_are_found_and_forgotten(
    sender: object, what: str, path: str
) -> None:
    insert(path, "m", sender, "A1", OLDEST_MS)
    finding = only(path)
    assert finding.subject == "rows"
    assert finding.problem.startswith("1 row whose key no call can have written: module 'm'")
    assert what in finding.problem
    carry_out(finding.remedy)
    assert check(path) == []
    assert count(path) == 2


@pytest.mark.parametrize("columns", ["sender", "module", "state"])
def test_texts_that_are_no_utf8_are_found_and_forgotten(columns: str, path: str) -> None:
    values = ["?", "?", "?", "?"]
    place = ("module", "sender", "state").index(columns)
    values[place] = "CAST(? AS TEXT)"
    row: list[object] = ["m", "ann", "A1", OLDEST_MS]
    row[place] = BROKEN
    insert(path, *row, values=", ".join(values))
    finding = only(path)
    assert finding.subject == "rows"
    assert r"b'caf\xe9'" in finding.problem
    assert "no UTF-8" in finding.problem
    carry_out(finding.remedy)
    assert check(path) == []
    assert count(path) == 2


@pytest.mark.parametrize(
    ("state", "defect"), [(b"A1", "whose state is no text"), ("", "whose state is empty")]
)
def test_states_that_are_none_are_found_and_forgotten(
    state: object, defect: str, path: str
) -> None:
    insert(path, "m'\n", 'ann; "o\'brien"', state, OLDEST_MS)
    finding = only(path)
    assert defect in finding.problem
    carry_out(finding.remedy)
    assert check(path) == []
    assert count(path) == 2


def test_times_from_before_lamson_are_found_and_all_made_now(path: str) -> None:
    """A clock stood at 1970 when they were set, so prune would take them for old."""
    for number in range(5):
        insert(path, "m", f"s{number}", "A1", number * 60_000)
    insert(path, "m", "last", "A1", OLDEST_MS - 1)
    insert(path, "m", "first", "A1", OLDEST_MS)
    finding = only(path)
    assert finding.subject == "rows"
    assert "6 rows whose since is from before 2009" in finding.problem
    carry_out(finding.remedy)
    assert check(path) == []
    with SQLiteStorage(path) as store:
        assert {row.sender: row.since for row in rows(store)}["first"] == OLDEST_MS


@pytest.mark.parametrize("since", [-1, 1.5, "yesterday", b"1", 4_102_444_800_000])
def test_times_that_have_not_been_are_found_and_made_now(since: object, path: str) -> None:
    insert(path, "m", "ann", "A1", since)
    finding = only(path)
    assert "1 row whose since is from before 2009" in finding.problem
    assert f"it is {since}" in finding.problem or "it is of the kind" in finding.problem
    carry_out(finding.remedy)
    assert check(path) == []
    assert count(path) == 3
    with SQLiteStorage(path) as store:
        assert store.get("m", "ann") == "A1"


def test_clocks_that_differ_by_seconds_are_none(path: str) -> None:
    insert(path, "m", "ann", "A1", (time.time_ns() // 1_000_000) + 20_000)
    insert(path, "m", "bob", "A1", OLDEST_MS)
    assert check(path) == []


def test_many_rows_are_counted_and_three_are_shown(path: str) -> None:
    for number in range(12):
        insert(path, f"m{number:02}", number, "A1", OLDEST_MS)
    finding = only(path)
    assert finding.problem.startswith("12 rows whose key")
    assert finding.problem.count("module ") == 3
    assert finding.remedy.startswith("forget them for the first 3 of them: ")
    carry_out(finding.remedy)
    assert only(path).problem.startswith("9 rows")


@pytest.mark.parametrize("values", ["?, CAST(? AS TEXT), ?, ?", "?, ?, ?, ?"])
def test_a_long_key_is_named_by_its_ends_and_found_again(values: str, path: str) -> None:
    """No shell takes a word of 128 KiB."""
    keys = [b"(" + b"x" * middle + BROKEN for middle in (200_000, 200_001)]
    for key in keys:
        insert(path, "m", key, "A1", OLDEST_MS, values=values)
    finding = only(path)
    assert finding.problem.startswith("2 rows whose key")
    assert f"and {len(keys[0]) - 60:,} bytes more" in finding.problem
    assert len(finding.problem) + len(finding.remedy) < 2_000
    carry_out(finding.remedy)
    assert check(path) == []
    assert count(path) == 2


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_every_row_is_looked_at_once_whatever_the_pages_end_with(
    page: int, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page may end with a key of any kind, and the next begins after it."""
    monkeypatch.setattr(_rows, "_PAGE_ROWS", page)
    for sender in (-3, 2**62, 0.1, "", "\0", "a\0b", "é", "\U0001f600", b"\0", b"\xff\xfe"):
        for module in (0, "m", b"None"):
            insert(path, module, sender, "A1", OLDEST_MS)
    insert(path, BROKEN, BROKEN, "A1", OLDEST_MS, values="CAST(? AS TEXT), CAST(? AS TEXT), ?, ?")
    told: list[tuple[int, int | None]] = []
    found = check(
        path, progress=lambda what, *counts: told.append(counts) if what == "rows" else None
    )
    # Five senders are bad, with three modules each; one module is bad, with ten senders; and both
    # are in the last row.
    problem = found[0].problem
    rows = int(problem.split()[0])
    assert len(found) == 1
    assert rows == 5 * 3 + 5 + 5 + 2
    assert told[-1] == (33, 33)


def test_what_calls_write_is_never_found(path: str) -> None:
    keys: tuple[object, ...] = (
        *("", "ann", "é", "\0", "a\0b", "caf\udce9", "'", '"\\', "\U0001f600"),
        *(None, True, 7, -7, 2**70, 0.1, -0.0, 1e300, float("inf"), -float("inf"), float("nan")),
        *(1j, -1j, 1 + 2j, complex(-0.0, 1), complex("-0-infj"), complex("nan+nanj")),
        *(b"", b"ann", b"\xff", b"'\\", (), (1,), ("a", (b"b", None)), (float("inf"), 1 + 2j)),
        *((complex(-0.0, -0.0), -1), ("caf\udce9", "é"), ((),), (-0.0,)),
    )
    with SQLiteStorage(path) as store:
        for key in keys:
            store.set(key, key, "A1")
            store.set("m", key, "Wörter")
    assert check(path) == []


@given(KEYS)
def test_what_a_key_becomes_is_a_literal_if_it_is_no_text(key: object) -> None:
    column = column_value(key)
    assert isinstance(column, str) or is_literal(column)


@pytest.mark.parametrize(
    "column",
    [
        *(b"1 ", b"+1", b"0x10", b"1_0", b"1.50", b"infinity", b"(1+2j", b"1+2j", b"{}", b'"a"'),
        *(b"1,", b"(" * 3000 + b")" * 3000, b"'\\d'", b"\0", b"f'a'", b"...", b"a.b", b"9" * 5000),
    ],
)
def test_what_is_no_literal_as_it_is_written_is_told(column: bytes) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert not is_literal(column)
    assert warned == []


def test_checking_writes_nothing_though_rows_are_wrong(path: str) -> None:
    insert(path, "m", 7, "A1", -5)
    before = states_of_files(path)
    assert len(check(path)) == 2
    assert states_of_files(path) == before


def test_a_remedy_takes_turns_with_the_workers_where_there_is_a_lock(path: str) -> None:
    insert(path, "m", 7, "A1", OLDEST_MS)
    assert f"flock {path}.lock sqlite3 {path} " in only(path).remedy
    os.unlink(f"{path}.lock")
    assert ": sqlite3 " in only(path).remedy


def test_rows_of_a_copy_are_looked_at_too(path: str) -> None:
    insert(path, "m", 7, "A1", OLDEST_MS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    before = Path(path).read_bytes()
    assert only(path).subject == "rows"
    assert Path(path).read_bytes() == before


def count(path: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM states").fetchone()
    return int(rows)
