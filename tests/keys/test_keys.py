"""Keys exactly as given, and what stands for them in the file."""

import enum
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.strategies import KEYS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(tmp_path / "states") as store:
        yield store


def rows(store: SQLiteStorage) -> list[Any]:
    """Return (module, its type, sender, its type, state) of each row, as any SQLite tool would."""
    with closing(sqlite3.connect(store.path)) as connection:
        return connection.execute(
            "SELECT CAST(module AS BLOB), typeof(module), CAST(sender AS BLOB), typeof(sender),"
            " state FROM states"
        ).fetchall()


class Plain(str):
    """A str of another type, as parsers like to make them, that shows as the str it is."""


class Shouting(str):
    def __str__(self) -> str:
        return self.upper()


class Conforming(str):
    """A str that would rather be a number where sqlite3 asks it, as it asks no plain str."""

    def __conform__(self, _protocol: object) -> int:
        return 7


class Address(enum.StrEnum):
    ANN = "ann@example.com"


class Number(enum.IntEnum):
    ONE = 1


class TupleOfItsOwn(tuple[object, ...]):
    pass


ANN: Final = "ann@example.com"

LOOKALIKES: Final = {
    "case": [ANN, "Ann@example.com", "ANN@EXAMPLE.COM"],
    "spaces": [ANN, f"{ANN} ", f" {ANN}", f"{ANN}\n", f"{ANN}\t", f"{ANN}\xa0", "", " ", "  "],
    "NUL": ["a", "a\0", "a\0b", "a\0c", "\0", "\0a", "", b"a\0", b"a\0b"],
    "unicode form": [unicodedata.normalize(form, "Åsa é") for form in ("NFC", "NFD")],
    "unicode folding": ["ß", "ss", "SS", "ẞ", "K", "\u212a", "k"],
    "lone surrogates": ["\udce4", "\udce5", "\\udce4", "'\\udce4'", b"\xe4", "\ud83d\ude00", "😀"],
    "numbers": ["1", 1, 1.0, True, 1 + 0j, b"1", "1.0", "True", "(1+0j)"],
    "zeros": [0, 0.0, -0.0, False, 0j, -0j, "0", "-0.0"],
    "not numbers": [float("nan"), float("inf"), -float("inf"), "nan", "inf"],
    "nothing": [None, "None", "", b"", (), "()", "b''", "''", b"None", (None,)],
    "literals": ["b'a'", b"a", "a", "'a'", b"'a'", b"b'a'", "('a',)", ("a",), ("'a'",), (b"a",)],
    "nesting": [(1, 2, 3), ((1, 2), 3), (1, (2, 3)), ((1, 2, 3),), (1, 2, 3, ())],
    "length": ["a" * 100_000, "a" * 100_001, "a" * 99_999 + "b", b"a" * 100_000],
}


@pytest.mark.parametrize("keys", LOOKALIKES.values(), ids=LOOKALIKES)
def test_keys_that_look_alike_have_states_of_their_own(
    store: SQLiteStorage, keys: list[object]
) -> None:
    for number, key in enumerate(keys):
        store.set("app", key, f"SENDER_{number}")
        store.set(key, "app", f"MODULE_{number}")
    store.close()

    assert [store.get("app", key) for key in keys] == [f"SENDER_{n}" for n in range(len(keys))]
    assert [store.get(key, "app") for key in keys] == [f"MODULE_{n}" for n in range(len(keys))]
    assert len(rows(store)) == 2 * len(keys)


Pair: TypeAlias = tuple[object, object]


def pairs_from(pool: list[object]) -> st.SearchStrategy[tuple[Pair, Pair]]:
    key = st.sampled_from(pool)
    return st.tuples(st.tuples(key, key), st.tuples(key, key))


# From a pool of a few keys, so that the pairs often have one key in common, or both.
@given(pairs=st.lists(KEYS, min_size=1, max_size=3).flatmap(pairs_from))
def test_two_pairs_are_one_exactly_when_their_repr_is_one(
    store_for_examples: SQLiteStorage, pairs: tuple[Pair, Pair]
) -> None:
    store, (first, second) = store_for_examples, pairs
    store.clear()
    store.set(*first, "FIRST")

    expected = "FIRST" if repr(list(first)) == repr(list(second)) else "START"
    assert store.get(*second) == expected
    assert store.get(*first) == "FIRST"


@pytest.fixture(scope="module")
def store_for_examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLiteStorage]:
    """Emptied by each example, as a fixture of a function's own would be one for all of them."""
    path = tmp_path_factory.mktemp("examples") / "states"
    with SQLiteStorage(path, synchronous="NORMAL") as store:
        yield store


@pytest.mark.parametrize(
    "same", [Plain(ANN), Shouting(ANN), Conforming(ANN)], ids=lambda same: type(same).__name__
)
def test_a_str_of_a_subclass_is_the_text_it_holds(store: SQLiteStorage, same: str) -> None:
    store.set("app", ANN, "POSTING")

    assert store.get("app", same) == "POSTING"
    store.set("app", same, "CONFIRMING")
    assert store.get("app", ANN) == "CONFIRMING"


@pytest.mark.parametrize(
    "key",
    [
        *[["app"], {"a": 1}, {1}, frozenset({1}), object(), Path("a"), bytearray(b"a"), len, str],
        *[memoryview(b"a"), Address.ANN, Number.ONE, ..., (1, ["a"]), ((object(),),)],
        *[(Plain("a"),), TupleOfItsOwn("a"), (TupleOfItsOwn(),), NotImplemented],
    ],
    ids=lambda key: type(key).__name__,
)
def test_a_key_of_another_type_is_refused_and_nothing_is_written(
    store: SQLiteStorage, key: object
) -> None:
    store.set("app", ANN, "POSTING")
    before = rows(store)

    pairs: list[tuple[object, object]] = [(key, ANN), ("app", key)]
    for module, sender in pairs:
        with pytest.raises(TypeError, match="a key must be"):
            store.get(module, sender)
        with pytest.raises(TypeError, match="a key must be"):
            store.set(module, sender, "POSTING")
        with pytest.raises(TypeError, match="a key must be"):
            store.compare_and_set(module, sender, "START", "POSTING")
    with pytest.raises(TypeError, match="a key must be"):
        store.set_all(key, "POSTING")

    assert rows(store) == before


@pytest.mark.parametrize("state", [None, b"POSTING", 1, ["POSTING"], str, ("POSTING",)], ids=repr)
def test_a_state_that_is_no_str_is_refused_and_nothing_is_written(
    store: SQLiteStorage, state: Any
) -> None:
    assert_refused(store, state, TypeError, "a state must be a str")


@pytest.mark.parametrize("state", ["\udce4", "POSTING\ud800"], ids=ascii)
def test_a_state_with_lone_surrogates_is_refused_and_nothing_is_written(
    store: SQLiteStorage, state: str
) -> None:
    assert_refused(store, state, ValueError, "lone surrogates")


def assert_refused(store: SQLiteStorage, state: Any, error: type[Exception], says: str) -> None:
    store.set("app", ANN, "POSTING")
    before = rows(store)

    with pytest.raises(error, match=says):
        store.set("app", ANN, state)
    with pytest.raises(error, match=says):
        store.set("app", "new@example.com", state)
    with pytest.raises(error, match=says):
        store.set_all(ANN, state)
    with pytest.raises(error, match=says):
        store.compare_and_set("app", ANN, "POSTING", state)
    with pytest.raises(error, match=says):
        store.compare_and_set("app", ANN, state, "POSTING")

    assert rows(store) == before


@pytest.mark.parametrize("state", ["", " ", "posting", "BESTÄTIGT", "\0", "A\0B", "😀", "x" * 9999])
def test_any_other_state_is_kept_as_given(store: SQLiteStorage, state: str) -> None:
    store.set("app", ANN, state)

    assert store.get("app", ANN) == state
    assert store.compare_and_set("app", ANN, state, "POSTING")


@pytest.mark.parametrize("kind", [Plain, Shouting, Conforming, Address])
def test_a_state_of_a_subclass_comes_back_as_the_text_it_holds(
    store: SQLiteStorage, kind: type[str]
) -> None:
    store.set("app", ANN, kind(ANN))

    assert store.get("app", ANN) == ANN
    assert type(store.get("app", ANN)) is str
    assert rows(store)[0][4] == ANN


@pytest.mark.parametrize("key", ["app", "", "a\0b", "Åsa", " a ", "😀", "b'a'", "None", Plain("a")])
def test_a_str_stands_in_the_file_as_its_own_text(store: SQLiteStorage, key: str) -> None:
    store.set(key, key, "POSTING")

    text = key.encode()
    assert rows(store) == [(text, "text", text, "text", "POSTING")]


@pytest.mark.parametrize(
    ("key", "literal"),
    [
        (None, b"None"),
        (b"a\0\xff", rb"b'a\x00\xff'"),
        (1, b"1"),
        (-0.0, b"-0.0"),
        (float("nan"), b"nan"),
        (True, b"True"),
        (2j, b"2j"),
        ((), b"()"),
        (10**40, b"1" + b"0" * 40),
        (("a", (b"b", None)), b"('a', (b'b', None))"),
        ("ä\udce4", rb"'\xe4\udce4'"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_any_other_key_stands_in_the_file_as_the_blob_of_its_literal(
    store: SQLiteStorage, key: object, literal: bytes
) -> None:
    store.set(key, key, "POSTING")

    assert rows(store) == [(literal, "blob", literal, "blob", "POSTING")]


def test_a_literal_reads_the_same_in_every_python(store: SQLiteStorage) -> None:
    """Python 3.13 prints characters that 3.11 escapes, so a repr would be lost by an upgrade."""
    assigned_in_unicode_15_1 = "\U0002ebf0"

    store.set("app", ("ä", assigned_in_unicode_15_1), "POSTING")

    assert rows(store)[0][2:4] == (rb"('\xe4', '\U0002ebf0')", "blob")
