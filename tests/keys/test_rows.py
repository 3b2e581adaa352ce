"""One form of a row: what is shown of a key is what is accepted, and means that key alone."""

import ast
import csv
import io
import time
import warnings
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamson_sqlite_state.errors import NotAStateFile
from lamson_sqlite_state.keys.columns import column_value
from lamson_sqlite_state.keys.literals import is_literal, key_of_literal
from lamson_sqlite_state.keys.rows import (
    Row,
    format_key,
    format_state,
    key_of_column,
    parse_key,
    parse_state,
    row_of,
)
from lamson_sqlite_state.transfer._csv import read_csv, write_csv
from lamson_sqlite_state.transfer.json_lines import read_json_lines, write_json_lines
from tests.helpers.strategies import KEYS, STATES

NASTY: list[Any] = [
    *("", " ", "a ", " a", "'", '"', "\\", "None", "none", "True", "nan", "-nan", "inf", "-inf"),
    *("infinity", "1", "-1", "+1", "1e5", "1_000", "0x1f", ".5", "1.", "1j", "(1)", "()", "(", ")"),
    *(
        "'a'",
        '"a"',
        "b'a'",
        "rb'a'",
        "B'a'",
        "u'a'",
        "f'a'",
        "'a' 'b'",
        "infj",
        "nanj",
        "'a'\\",
        "...",
        "a@b.c",
    ),
    *("=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "\t=1", "\r=1", "\n", "a\nb"),
    *("a,b", "a;b", "a\tb", "é", "e\u0301", "\xa0a", "\u202ea", "\ufeffa", "\ud800", "\udcff@b.c"),
    *("a\0b", "\0", "😀", "１", "ｉｎｆ", "None ", "None\n", "a'b", "O'Neill@b.c", "'a'@b.c"),  # noqa: RUF001
    *(None, True, False, 0, -0, 1, -1, 10**30, 0.0, -0.0, 1.5, float("inf"), -float("inf")),
    *(float("nan"), 1e300, 5e-324, 1j, -1j, -0j, complex(-0.0, 1), complex("nan"), complex("inf")),
    *(complex(0, float("inf")), complex(0, float("nan")), complex(-0.0, float("-inf"))),
    *(b"", b"a", b"'", b"\xff", (), (1,), ("a",), (None, b"x", ("\udcff", -0.0)), ("a", ("b",))),
]


FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"


def is_same(one: object, other: object) -> bool:
    """Whether a store has one row of both; nan is not equal to itself."""
    return column_value(one) == column_value(other)


class TestKey:
    @given(KEYS | st.sampled_from(NASTY))
    def test_that_is_shown_is_accepted_as_itself(self, key: object) -> None:
        for is_for_spreadsheets in (False, True):
            shown = format_key(key, is_for_spreadsheets=is_for_spreadsheets)
            assert is_same(parse_key(shown)[0], key)

    @pytest.mark.parametrize("key", NASTY, ids=ascii)
    def test_that_is_nasty_is_accepted_as_itself(self, key: object) -> None:
        self.check(key)

    def check(self, key: object) -> None:
        for is_for_spreadsheets in (False, True):
            shown = format_key(key, is_for_spreadsheets=is_for_spreadsheets)
            assert shown.isprintable()
            assert shown == shown.strip() != ""
            found, is_literal = parse_key(shown)
            assert is_same(found, key)
            assert is_literal or shown == key
            assert is_same(parse_key(f" {shown} ")[0], key) or not is_literal

    @pytest.mark.parametrize(
        "key",
        [
            "a\udcff" * 200_000,
            "'\"\udcff" * 200_000,
            b"\xff'" * 300_000,
            " \xe9'\U0001f600" * 300_000,
            "'" * 1_100_000,
        ],
        ids=lambda key: ascii(key[:4]),
    )
    def test_that_is_as_long_as_a_hostile_header_is_accepted_as_itself(self, key: object) -> None:
        """Longer than what is parsed."""
        self.check(key)
        assert is_same(key_of_column(column_value(key), "path"), key)
        assert is_literal(value) if isinstance(value := column_value(key), bytes) else True

    def test_that_has_very_many_parts_comes_back_out_of_its_column(self) -> None:
        """Only of what a store has kept: from a file, it would take much memory."""
        for key in ((-1, -2.5) * 150_000, ("a" * 1_000_001, None)):
            assert is_same(key_of_column(column_value(key), "path"), key)
            with pytest.raises(ValueError, match="as long"):
                key_of_literal(ascii(key))

    def test_takes_time_in_proportion_to_its_parts(self) -> None:
        """Of the processor, not of the clock; sixteen times as many took 256 times as long once."""

        def seconds(pairs: int) -> float:
            column = column_value((-1, -2.5, "\udcff") * pairs)
            took = []
            for _ in range(3):
                start = time.process_time()
                key_of_column(column, "path")
                took.append(time.process_time() - start)
            return min(took)

        assert seconds(8_000) < 64 * seconds(500)

    def test_that_is_deeply_nested_comes_back_out_of_its_column(self) -> None:
        """Python's own parser gives up at 200."""
        key: object = -1
        for _ in range(400):
            key = (key, "a")
        self.check(key)
        assert is_same(key_of_column(column_value(key), "path"), key)

    def test_that_is_nested_too_deeply_for_any_store_is_no_literal(self) -> None:
        for text in ("(" * 50_000, "(" * 50_000 + ",".join(")" * 50_000)):
            with pytest.raises(ValueError, match=r"incomplete|recursion"):
                key_of_literal(text)
            assert not is_literal(text.encode())

    @pytest.mark.parametrize(
        "text", ["'\\d'", "'\\400'", "b'\\u0041'", "'\\", "1if", "1or 2", "0x1for x"]
    )
    def test_never_warns_nor_touches_the_warnings_of_other_threads(
        self, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        """`catch_warnings` changes them for all; a signal handler that raises leaves them so."""
        with warnings.catch_warnings(record=True) as warned, monkeypatch.context() as patched:
            warnings.simplefilter("always")
            patched.setattr(warnings, "catch_warnings", None)
            assert parse_key(text) == (text, False)
            assert parse_key(r"'\377\N{DIGIT ONE}\u0041\''") == ("\xff1A'", True)
        assert not warned

    @pytest.mark.parametrize(
        "text",
        ["007", "-007", "0_7", "0x", "1 2", "1(2)", "(1", "1)", ",", "(,)", "'a' 'b'", "(1,,)"],
    )
    def test_that_is_nearly_a_literal_is_the_text(self, text: str) -> None:
        assert parse_key(text) == (text, False)

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "1,2",
                "1,",
                "((1))",
                "( 1 , )",
                "(((),),)",
                "00",
                "0x1f",
                "-1_0",
                "+1.5e-3",
                ".5",
                "1.j",
            ),
            *(
                "u'a'",
                "R'\\d'",
                "rB'\\d'",
                "Rb'\\''",
                '"\'"',
                "'\\'\"'",
                "(None,True,False)",
                "b'\\xff'",
            ),
        ],
    )
    def test_that_a_person_types_means_what_it_means_in_python(self, text: str) -> None:
        assert parse_key(text) == (ast.literal_eval(text), True)

    @pytest.mark.parametrize("text", ["(-7,\n-1)", "(1,\n-2)", "1,\\\n-1"])
    def test_of_two_lines_is_right_or_no_literal(self, text: str) -> None:
        assert parse_key(text) in ((ast.literal_eval(text), True), (text, False))

    def test_may_hold_letters_before_a_number(self) -> None:
        assert parse_key("('é', -1)") == (("é", -1), True)

    @given(KEYS, KEYS)
    def test_that_is_another_is_never_shown_the_same(self, one: object, other: object) -> None:
        if not is_same(one, other):
            assert format_key(one) != format_key(other)

    def test_that_is_another_nasty_one_is_never_shown_the_same(self) -> None:
        values = {column_value(key) for key in NASTY}
        assert len({format_key(key) for key in NASTY}) == len(values)
        assert len({format_key(key, is_for_spreadsheets=True) for key in NASTY}) == len(values)

    @pytest.mark.parametrize(
        "key", ["ann@example.com", "app.handlers.sample", "Ann B. <a@b.c>", "ä@b.c", "a'b@c"]
    )
    def test_that_is_plain_text_is_shown_as_it_is(self, key: str) -> None:
        assert format_key(key) == key
        assert parse_key(key) == (key, False)

    @pytest.mark.parametrize("key", ["=1+1", "+1+1", "-x", "@SUM(A1)", "=HYPERLINK()@b.c"])
    def test_that_is_a_formula_stands_in_quotes_for_spreadsheets_only(self, key: str) -> None:
        assert format_key(key) == key
        assert format_key(key, is_for_spreadsheets=True) == repr(key)

    @pytest.mark.parametrize("separator", [*";|", "; ", ';"', ";'", "; ' \""])
    @pytest.mark.parametrize("sign", FORMULA)
    def test_with_a_formula_behind_a_separator_has_an_escape(
        self, separator: str, sign: str
    ) -> None:
        for key in (f"a{separator}{sign}1", (f"a{separator}{sign}1", None), f"{sign}{separator}a"):
            shown = format_key(key, is_for_spreadsheets=True)
            assert not any(f"{separator}{each}" in shown for each in FORMULA)
            assert parse_key(shown) == (key, True)
            if isinstance(key, str):
                assert format_key(key) == key, "as it is, to people"
                shown = format_state(key, is_for_spreadsheets=True)
                assert not any(f"{separator}{each}" in shown for each in FORMULA)
                assert parse_state(shown) == key

    @given(st.text())
    def test_is_something_for_every_text(self, text: str) -> None:
        key, is_literal = parse_key(text)
        column_value(key)
        assert is_literal or key == text

    @given(KEYS)
    def test_comes_back_out_of_its_column(self, key: object) -> None:
        assert is_same(key_of_column(column_value(key), "path"), key)

    @pytest.mark.parametrize("value", [b"no literal", b"[1]", b"'a' ", b"\xff", b"", 1, None, 1.5])
    def test_that_no_store_has_written_is_an_error(self, value: object) -> None:
        with pytest.raises(NotAStateFile, match="lamson-state check"):
            key_of_column(value, "path")


class TestState:
    @given(STATES | st.sampled_from([each for each in NASTY if type(each) is str]))
    def test_that_is_shown_is_accepted_as_itself(self, state: str) -> None:
        shown = format_state(state)
        assert parse_state(shown) == state
        assert shown.isprintable()
        assert shown

    @given(STATES, STATES)
    def test_that_is_another_is_never_shown_the_same(self, one: str, other: str) -> None:
        assert (format_state(one) == format_state(other)) is (one == other)


ROWS = st.builds(
    Row,
    KEYS | st.sampled_from(NASTY),
    KEYS | st.sampled_from(NASTY),
    STATES,
    st.integers(0, 4_000_000_000_000),
)


HOSTILE = st.text(alphabet=[*FORMULA, *";|,\"' \t\\\n\u2028", "a", "1"], max_size=8)
HOSTILE_ROWS = st.builds(
    Row,
    HOSTILE | st.tuples(HOSTILE, HOSTILE) | HOSTILE.map(str.encode),
    HOSTILE,
    HOSTILE.filter(bool),
    st.integers(0, 4_000_000_000_000),
)


class TestRow:
    @given(ROWS)
    def test_is_read_as_it_was_written(self, row: Row) -> None:
        assert row_of(row.raw, "path").raw == row.raw

    @given(st.lists(ROWS, max_size=5))
    def test_survives_json_lines(self, rows: list[Row]) -> None:
        file = io.BytesIO("".join(write_json_lines(rows)).encode())
        found = [row for some in read_json_lines(file, "file") for row in some]
        assert found == [row.raw for row in rows]

    @given(st.lists(ROWS, max_size=5))
    def test_survives_csv(self, rows: list[Row]) -> None:
        text = "".join(write_csv(rows))
        found = [row for some in read_csv(io.BytesIO(text.encode()), "file") for row in some]
        assert found == [row.raw for row in rows]
        for cells in list(csv.reader(io.StringIO(text, newline="")))[1:]:
            for cell, key in zip(cells[:2], rows[0], strict=False):
                if isinstance(key, str):
                    assert cell[:1] not in tuple("=+@\t\r")

    @given(st.lists(HOSTILE_ROWS, max_size=5))
    @example([Row("a;=1+1", 'm;"=1', "S|+1", 1), Row(("m;-1",), b"m;@A1", "\uff1d1", 2)])
    def test_is_no_formula_to_any_spreadsheet(self, rows: list[Row]) -> None:
        """Whichever separator it goes by, and whether or not quotes mean something to it."""
        text = "".join(write_csv(rows))
        found = [row for some in read_csv(io.BytesIO(text.encode()), "file") for row in some]
        assert found == [row.raw for row in rows]
        lines = text.splitlines()[1:]
        cells = [cell for separator in ";|\t" for line in lines for cell in line.split(separator)]
        for separator in ",;|\t":
            for each in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
                cells += each
        assert not [cell for cell in cells if cell.strip()[:1] in tuple(FORMULA)]

    @pytest.mark.parametrize(
        "raw",
        [("a", "m", b"S", 1), ("a", "m", "S", "1"), ("a", "m", "S", 1.5), ("a", b"x y", "S", 1)],
    )
    def test_that_no_store_has_written_is_an_error(self, raw: Any) -> None:
        with pytest.raises(NotAStateFile, match=r"path: .*lamson-state check"):
            row_of(raw, "path")
