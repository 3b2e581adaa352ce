"""What a shelf's keys say, in the forms that three programs wrote."""

import ast
import pickle
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given

from lamson_sqlite_state.shelf import Entry, Refused, Shelf
from lamson_sqlite_state.shelf._key import parse_pair
from lamson_sqlite_state.shelf._record import Unreadable, printable
from tests.helpers.shelf_files import SHELVES, read, shelf_of, write_dumb
from tests.helpers.strategies import KEYS

STATE: Final = pickle.dumps("POSTING")
NO_PAIR: Final = "its key is not a list of a module and a sender"
CUT_SHORT: Final = "its value is cut short or no pickle"
NOT_UTF_8: Final = "its value is a text that is not UTF-8, or holds lone surrogates"


def is_number_without_literal(key: object) -> bool:
    """Whether no literal means such a key: nan and inf are names, -0j is read as another."""
    try:
        return repr(ast.literal_eval(repr(key))) != repr(key)
    except ValueError:
        return True


class TestKeys:
    @given(KEYS, KEYS)
    @example("m", -0j)
    @example("m", float("nan"))
    @example("m", (complex(-0.0, 1), "é"))
    @example(b"\xff", b"m")
    def test_every_pair_that_python_can_write_is_read(self, module: object, sender: object) -> None:
        raw = repr([module, sender]).encode()
        if is_number_without_literal([module, sender]):
            with pytest.raises(Unreadable, match=NO_PAIR):
                parse_pair(raw)
            return
        if isinstance(module, bytes) and module.isascii():
            module = module.decode()
        assert repr(parse_pair(raw)) == repr((module, sender))

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            (b"['mod', 'ann']", ("mod", "ann")),
            (b"[b'mod', 'ann']", ("mod", "ann")),
            (b"[u'mod', u'ann']", ("mod", "ann")),
            (b"[b'mod', None]", ("mod", None)),
            (b"[b'mod', b'ann']", ("mod", b"ann")),
            (b"[b'm\\xc3\\xb6d', 'ann']", (b"m\xc3\xb6d", "ann")),
            (
                b"[(b'mod',), (1, -2.5, 1e+20, (1-2j), True)]",
                ((b"mod",), (1, -2.5, 1e20, 1 - 2j, True)),
            ),
        ],
    )
    def test_both_forms_of_a_module_are_its_text_and_nothing_else_is(
        self, raw: bytes, expected: tuple[object, object]
    ) -> None:
        assert repr(parse_pair(raw)) == repr(expected)

    def test_a_pair_in_both_forms_comes_twice(self, tmp_path: Path) -> None:
        path = str(tmp_path / "both")
        write_dumb(path, {b"['m', 'ann']": STATE, b"[b'm', 'ann']": pickle.dumps("CONFIRMING")})
        with Shelf(path) as shelf:
            assert list(shelf) == [
                Entry("m", "ann", "POSTING"),
                Entry("m", "ann", "CONFIRMING", is_salmons=True),
            ]

    @pytest.mark.parametrize(
        ("raw", "sender"),
        [
            (rb"['mod', 'caf\xc3\xa9']", "café"),
            (rb"""['mod', "it's \xe2\x98\x83"]""", "it's ☃"),
            (rb"['mod', u'caf\xe9 \u2603 \U0001f600']", "café ☃ \U0001f600"),
            (rb"[u'mod', '\xc2\x80']", "\x80"),
            (rb"['mod', '\xc3\xa9\n\x00\\xe9']", "é\n\0\\xe9"),
            (rb"['mod', ('\xc3\xa9', u'\xe9', None)]", ("é", "é", None)),
            (rb"['m\xc3\xb6d', u'\xe9']", "é"),
        ],
    )
    def test_python_2s_bytes_are_read_as_utf_8(self, raw: bytes, sender: object) -> None:
        assert parse_pair(raw)[1] == sender

    @pytest.mark.parametrize(
        ("raw", "sender"),
        [
            (rb"['mod', 'a\x80\x9f\xa0\xad']", "a\x80\x9f\xa0\xad"),  # none is printable
            ("['mod', 'é\\xa0']".encode(), "é\xa0"),
            (rb"['mod', 'a\\xe9\xa0']", "a\\xe9\xa0"),
            ("['mod', 'é\\xe9']".encode(), "éé"),  # nobody's repr, but no Python 2's either
        ],
    )
    def test_what_python_3_escapes_is_no_sign_of_python_2(self, raw: bytes, sender: str) -> None:
        assert parse_pair(raw) == ("mod", sender)

    @pytest.mark.parametrize("raw", [rb"['mod', 'caf\xe9']", rb"[u'mod', '\x80']"])
    def test_python_2s_bytes_of_another_charset_are_refused(self, raw: bytes) -> None:
        with pytest.raises(Unreadable, match="bytes of Python 2 that are not UTF-8"):
            parse_pair(raw)

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"mod",
            b"'mod'",
            b"[]",
            b"['mod']",
            b"['mod', 'ann', 'bob']",
            b"['mod', ['ann']]",
            b"['mod', {}]",
            b"['mod', f'{1}']",
            b"['mod', '\\q']",
            b"['mod', b'\\u20ac']",
            b"['mod', '\\N{BULLET}']",
            b"['mod', '\\U00110000']",
            b"['mod' 'ann']",
            b"['mod', 'ann'",
            b"['mod', 01]",
            b"['mod', 1+1+1]",
            b"['mod', 'a'('b')]",
            b"['mod', __import__('os').system('true')]",
            b"['mod', " + b"(" * 900,
            b"['mod', " + b"(" * 400 + b")" * 400 + b"]",
            b"['mod', " + b"1, " * 300_000 + b"1]",
            b"['mod', " + b"9" * 900 + b"9" * 4000 + b"]",
            b"['mod', '" + b"\\" * 1_000_001 + b"']",
            b"[" * 1_000_000,
        ],
        ids=range(25),
    )
    def test_what_is_no_pair_is_refused(self, raw: bytes) -> None:
        with pytest.raises(Unreadable, match=NO_PAIR):
            parse_pair(raw)

    def test_a_key_with_more_than_a_key_can_need_is_not_parsed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Python's parser takes hundreds of bytes for each of a megabyte of numbers."""
        monkeypatch.delattr("ast.parse")
        with pytest.raises(Unreadable, match=NO_PAIR):
            parse_pair(b"['mod', (" + b"1, " * 1000 + b"1)]")

    def test_what_is_no_utf_8_is_refused(self, tmp_path: Path) -> None:
        found = shelf_of(tmp_path, b"['mod', '\xff']", STATE)
        assert found == Refused(r"['mod', '\xff']", "its key is not UTF-8")

    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            (b"key", "key"),
            ("é\x1b[31m\n\u202e".encode(), r"é\x1b[31m\n\u202e"),
            (b"\xff", r"\xff"),
            (b"x" * 61, "x" * 60 + "..."),
            (b"\xff" * 1_000_000, r"\xff" * 15 + "..."),
        ],
    )
    def test_a_key_is_shown_short_and_harmless(self, raw: bytes, shown: str) -> None:
        assert printable(raw) == shown


class TestPython2:
    """Lamson never left Python 2; what its shelves held was written by Python 2.7.18."""

    @pytest.mark.parametrize("protocol", [0, 2])
    def test_its_shelves_are_read(self, protocol: int) -> None:
        found = read(SHELVES / f"python2-{protocol}")
        admin = "app.handlers.admin"
        assert [each for each in found if isinstance(each, Entry)] == sorted(
            [
                Entry(admin, "ann@example.com", "POSTING"),
                Entry(admin, "bob@example.com", "CONFIRMING"),
                Entry(admin, "café@example.com", "PéNDING"),
                Entry(admin, "café@example.org", "PéNDING"),
                Entry(admin, "☃@example.com", "☃"),
                Entry(admin, "o'neill@example.com", "IT'S"),
                Entry(admin, "both \" and ' and \\", "BACK\\SLASH\n"),
                Entry(admin, None, "BOUNCED"),
            ],
            key=repr,
        )
        assert sorted(each.reason for each in found if isinstance(each, Refused)) == [
            "its key holds bytes of Python 2 that are not UTF-8",
            "its value is a pickled int, not a text",
            NOT_UTF_8,
        ]


def test_a_file_of_another_kind_of_content_is_refused_entry_by_entry(tmp_path: Path) -> None:
    path = str(tmp_path / "cache")
    write_dumb(path, {b"page 1": b"<html>", b"page 2": STATE, b"['m', 's']": b"<html>"})
    assert read(path) == [
        Refused("['m', 's']", CUT_SHORT),
        Refused("page 1", NO_PAIR),
        Refused("page 2", NO_PAIR),
    ]
