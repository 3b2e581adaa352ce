"""Which rows are meant, and in which order they come."""

import random
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.errors import NotAStateFile
from lamson_sqlite_state.maintenance import (
    Exact,
    ExistingStorage,
    Order,
    Row,
    Selection,
    count_states,
    find,
    forget,
    rows,
)
from lamson_sqlite_state.sqlite.bulk import scan
from tests.helpers.actors import Actor
from tests.helpers.bulk import OLD_MS, fill, senders, two_at_a_time

KEYS = [
    "ann@a.org",
    "bob@b.org",
    "Bob@b.org",
    "a*b",
    "a?b",
    "a[b]",
    "None",
    None,
    b"bob",
    1,
    "1",
    "",
]


@pytest.fixture
def store(path: str) -> Iterator[SQLiteStorage]:
    """Each key is a sender, and a module of the sender ann@a.org."""
    with SQLiteStorage(path) as store:
        for number, key in enumerate(KEYS):
            store.set("app", key, f"S{number % 3}")
            store.set(key, "ann@a.org", "A")
        yield store


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    two_at_a_time(monkeypatch)


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", KEYS),
            ("bob@b.org", ["bob@b.org"]),
            ("*@b.org", ["bob@b.org", "Bob@b.org"]),
            ("[bB]ob*", ["bob@b.org", "Bob@b.org"]),
            ("*bob*", ["bob@b.org", b"bob"]),
            ("b'*", [b"bob"]),
            ("b?b*", ["bob@b.org", b"bob"]),
            ("None", ["None"]),
            ("Non*", ["None", None]),
            ("1", ["1"]),
            ("?", ["1", 1]),
            ("a*b", ["a*b", "a?b"]),
            ("a[*]b", ["a*b"]),
            (Exact("a*b"), ["a*b"]),
            (Exact("a[b]"), ["a[b]"]),
            (Exact(None), [None]),
            (Exact(b"bob"), [b"bob"]),
            (Exact(1), [1]),
            (Exact(True), []),
            (Exact(""), [""]),
            ("", [""]),
            ("nobody", []),
            ("%@b.org", []),
            ("*\udcff*", []),
            ("\udcff", []),
        ],
    )
    def test_matches_these_keys(
        self, store: SQLiteStorage, pattern: str | Exact, expected: list[object]
    ) -> None:
        found = list(rows(store, Selection(module=Exact("app"), sender=pattern)))
        assert sorted(repr(row.sender) for row in found) == sorted(map(repr, expected))
        found = list(rows(store, Selection(module=pattern, sender="ann@a.org", state="A")))
        assert sorted(repr(row.module) for row in found) == sorted(map(repr, expected))

    def test_matches_what_no_charset_could_decode_as_python_escapes_it(
        self, store: SQLiteStorage
    ) -> None:
        store.set("app", "x\udcffy", "S")
        for pattern in ("*\udcff*", "*x\udcffy*", Exact("x\udcffy"), "x\udcffy"):
            assert [row.sender for row in rows(store, Selection(sender=pattern))] == ["x\udcffy"]

    def test_matches_no_key_with_a_nul_but_all_of_them_match_all(
        self, store: SQLiteStorage
    ) -> None:
        """SQLite's patterns end there: who forgets the one is not to lose the other."""
        store.set("app", "cat\0@evil", "S")
        store.set("app", ("\0", "cat"), "S")  # in whose literal it is none
        for pattern in ("ca?", "cat*", "*evil", "c[a]t", "*\0*", "ann@a.org\0*"):
            assert list(rows(store, Selection(sender=pattern))) == []
        assert [row.sender for row in rows(store, Selection(sender="*cat')"))] == [("\0", "cat")]
        for exactly in (Exact("cat\0@evil"), "cat\0@evil"):
            found = list(rows(store, Selection(sender=exactly, module="*")))
            assert [row.sender for row in found] == ["cat\0@evil"]

    def test_all_conditions_must_hold(self, store: SQLiteStorage) -> None:
        selection = Selection(module="app", sender="*b*", state="S1")
        assert {row.sender for row in rows(store, selection)} == {"bob@b.org", "a?b"}

    def test_times_are_from_one_moment_to_another(self, path: str) -> None:
        fill(path, [(f"{at}", "m", "S", at) for at in range(98, 103)])
        with ExistingStorage(path) as store:
            found = rows(store, Selection(entered_after_ms=99, entered_before_ms=102))
            assert [row.since for row in found] == [100, 101, 99]

    @pytest.mark.parametrize(
        ("selection", "error"),
        [
            (Selection(sender=Exact([])), TypeError),
            (Selection(module=Exact(object())), TypeError),
            (Selection(state="\udcff"), ValueError),
            (Selection(state=1), TypeError),  # type: ignore[arg-type]
        ],
    )
    def test_what_nobody_could_mean_is_an_error(
        self, store: SQLiteStorage, selection: Selection, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            list(rows(store, selection))
        with pytest.raises(error):
            count_states(store, selection)


COLUMNS: dict[Order, tuple[int, ...]] = {
    "sender": (0, 1),
    "module": (1, 0),
    "state": (2, 3, 0, 1),
    "since": (3, 0, 1),
}


class TestOrder:
    @pytest.fixture
    def crowd(self, path: str) -> Iterator[SQLiteStorage]:
        keys = [key for key in KEYS if type(key) is str] + [b"None", b"b'bob'", b"1"]
        chance = random.Random(7)
        raw = [
            (sender, module, chance.choice("AB"), OLD_MS + chance.randrange(4))
            for sender in keys
            for module in keys
        ]
        fill(path, raw)
        with ExistingStorage(path) as store:
            yield store

    @pytest.mark.parametrize("is_reversed", [False, True])
    @pytest.mark.parametrize("order", COLUMNS)
    def test_is_total_and_complete_with_any_limit(
        self, crowd: SQLiteStorage, order: Order, is_reversed: bool
    ) -> None:
        def place(row: Row) -> list[tuple[bool, object]]:
            return [(type(row.raw[n]) is bytes, row.raw[n]) for n in COLUMNS[order]]

        every = list(rows(crowd))
        assert len(every) == len({row.raw[:2] for row in every}) == 144
        expected = sorted(every, key=place, reverse=is_reversed)
        for limit in (None, 0, 1, 5, 100, 143, 144, 1000):
            found = list(rows(crowd, order=order, is_reversed=is_reversed, limit=limit))
            assert found == expected[:limit]

    @pytest.mark.parametrize("order", COLUMNS)
    def test_comes_with_a_limit_of_less_than_nothing_never(
        self, crowd: SQLiteStorage, order: Order
    ) -> None:
        with pytest.raises(ValueError, match="limit"):
            rows(crowd, order=order, limit=-1)

    def test_tells_how_many_rows_it_has_looked_at(self, path: str) -> None:
        fill(path, senders(9))
        for order in COLUMNS:
            told: list[tuple[int, int | None]] = []

            def note(*done: int | None, told: list[Any] = told) -> None:
                told.append(done)

            with ExistingStorage(path) as store:
                list(rows(store, Selection(state="A"), order=order, progress=note))
            assert told == [(4, None), (8, None), (9, None)]

    def test_may_be_left_off_anywhere(self, crowd: SQLiteStorage) -> None:
        for order in COLUMNS:
            found = rows(crowd, order=order)
            next(found)
            del found
        crowd.set("m", "ann", "A1")


def test_a_pair_that_stays_is_read_once_while_others_come_and_go(path: str, first: Actor) -> None:
    fill(path, senders(40))
    with ExistingStorage(path) as store:
        found = []
        for number, row in enumerate(rows(store)):
            found.append(row.sender)
            first.set("app", f"{number * 7 % 40:06}a@example.com", "NEW")
            first.call(forget, f"{number * 3 % 40:06}a@example.com")
    assert len(found) == len({*found})
    assert [sender for sender in found if "a@" not in str(sender)] == [s[0] for s in senders(40)]


def test_one_pair_is_found_and_none_is_stored(store: SQLiteStorage) -> None:
    for key in KEYS:
        row = find(store, "app", key)
        assert row is not None
        assert repr(row[:2]) == repr(("app", key))
    assert find(store, "app", "nobody") is None
    assert find(store, "nowhere", None) is None
    assert len(list(rows(store, Selection(sender="nobody")))) == 0
    with pytest.raises(TypeError):
        find(store, "app", object())


@pytest.mark.parametrize("edit", ["state = x'00'", "since = 'x'", "sender = x'00'", "module = 1"])
def test_a_row_that_no_store_has_written_is_an_error_with_a_remedy(path: str, edit: str) -> None:
    fill(path, senders(3))
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.execute(f"UPDATE states SET {edit} WHERE sender LIKE '000001%'")
    with ExistingStorage(path) as store:
        with pytest.raises(NotAStateFile, match="lamson-state check"):
            list(rows(store))
        if "sender" not in edit:
            with pytest.raises(NotAStateFile, match="lamson-state check"):
                count_states(store)


@pytest.mark.parametrize("few", [10_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_memory_is_bounded_whatever_the_number_of_rows(
    path: str, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    peaks = []
    for count in (few, 3 * few):
        fill(path, senders(count))
        with ExistingStorage(path) as store:
            tracemalloc.start()
            try:
                assert sum(1 for _ in rows(store)) == count
                assert sum(1 for _ in rows(store, order="since", is_reversed=True)) == count
                assert scan.count(store._handle) == count
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert max(peaks) < 12_000_000
    assert peaks[1] < peaks[0] * 1.3
