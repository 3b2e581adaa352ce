"""A value is a text or refused, and nothing that it pickles is ever executed."""

import os
import pickle
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lamson_sqlite_state.shelf import Refused
from lamson_sqlite_state.shelf._pickle import unpickle_state
from lamson_sqlite_state.shelf._record import Unreadable
from tests.helpers.shelf_files import shelf_of
from tests.helpers.strategies import STATES

PROTOCOLS: Final = range(pickle.HIGHEST_PROTOCOL + 1)
STATE: Final = pickle.dumps("POSTING")
CUT_SHORT: Final = "its value is cut short or no pickle"
NOT_UTF_8: Final = "its value is a text that is not UTF-8, or holds lone surrogates"


def forms(text: str) -> list[bytes]:
    """Return how Python 2 and 3 pickle a text, with what they remember and without."""
    utf_8 = text.encode()
    return [
        *(pickle.dumps(text, protocol) for protocol in PROTOCOLS),
        b"X" + struct.pack("<I", len(utf_8)) + utf_8 + b".",
        b"\x80\x04\x8d" + struct.pack("<Q", len(utf_8)) + utf_8 + b"r\1\0\0\0.",
        b"T" + struct.pack("<i", len(utf_8)) + utf_8 + b"q\0.",
        b"\x80\2U" + bytes([len(utf_8)]) + utf_8 + b"q\1.",
        b"S" + repr(utf_8)[1:].encode() + b"\np0\n.",
    ]


class TestValues:
    @given(STATES.filter(lambda text: len(text) < 50))
    @example('it\'s "quoted" \\ \n\0 é ☃ \U0001f600')
    def test_every_text_is_read_in_every_protocol(self, text: str) -> None:
        for pickled in forms(text):
            assert unpickle_state(pickled) == text

    def test_a_long_text_is_read(self) -> None:
        for protocol in PROTOCOLS:
            assert unpickle_state(pickle.dumps("S" * 100_000, protocol)) == "S" * 100_000

    def test_what_stands_behind_the_end_is_ignored_as_pickle_does(self) -> None:
        for behind in (b"\0", b"cos\nsystem\n", STATE):
            assert unpickle_state(STATE + behind) == pickle.loads(STATE + behind) == "POSTING"

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_pickle_that_is_cut_short_is_refused(self, protocol: int) -> None:
        pickled = pickle.dumps("POSTING", protocol)
        for length in range(len(pickled)):
            with pytest.raises(Unreadable, match=CUT_SHORT):
                unpickle_state(pickled[:length])

    @pytest.mark.parametrize(
        "start",
        [
            b"X\xff\xff\xff\xff",
            b"\x8d" + b"\xff" * 8,
            b"\x8d\0\0\0\0\0\0\0\x10",
            b"T\xff\xff\xff\xff",
            b"T\xff\xff\xff\x7f",
            b"U\xff",
            b"B\xff\xff\xff\xff",
            b"\x8e" + b"\xff" * 8,
            b"\x95" + b"\xff" * 8 + b"X\0\0\0\0",
            b"\x8b\xff\xff\xff\x7f",
        ],
    )
    def test_a_length_without_its_bytes_is_refused(self, start: bytes) -> None:
        with pytest.raises(Unreadable, match=CUT_SHORT):
            unpickle_state(start + b"abc.")

    def test_a_length_below_zero_leads_nowhere(self) -> None:
        """Back to the frame's length, where a byte looks like the pickle's end."""
        frame = b"\x95" + struct.pack("<Q", ord("."))
        with pytest.raises(Unreadable, match=CUT_SHORT):
            unpickle_state(frame + b"T" + struct.pack("<i", -13) + bytes(100))

    def test_a_frame_without_its_bytes_is_refused(self) -> None:
        with pytest.raises(Unreadable, match=CUT_SHORT):
            unpickle_state(b"\x80\4\x95" + struct.pack("<Q", 8) + b"X\1\0\0\0a.")
        assert unpickle_state(b"\x80\4\x95" + struct.pack("<Q", 7) + b"X\1\0\0\0a.") == "a"

    @pytest.mark.parametrize(
        "pickled",
        [
            pickle.dumps("\ud800", 4),
            pickle.dumps("\ud800", 0),
            b"U\4caf\xe9.",
            b"S'caf\\xe9'\n.",
            b"X\1\0\0\0\xff.",
            b"V\\ud83d\\ude00\n.",
            b"V\\U00110000\n.",
        ],
    )
    def test_what_is_no_utf_8_is_refused(self, pickled: bytes) -> None:
        with pytest.raises(Unreadable, match=NOT_UTF_8):
            unpickle_state(pickled)

    @pytest.mark.parametrize(
        "pickled",
        [
            b"",
            b".",
            b"\x80",
            b"\x80\4",
            b"\x80\4.",
            b"garbage",
            b"S'a\n.",
            b"S'\\q'\n.",
            b"Sa\n.",
            b"Sx",
        ],
    )
    def test_what_is_no_pickle_is_refused(self, pickled: bytes) -> None:
        with pytest.raises(Unreadable, match=CUT_SHORT):
            unpickle_state(pickled)

    def test_a_protocol_of_the_future_is_refused(self) -> None:
        with pytest.raises(Unreadable, match="protocol 6"):
            unpickle_state(b"\x80\6X\1\0\0\0a.")

    @pytest.mark.parametrize("pickled", [b"X\1\0\0\0aX\1\0\0\0b.", b"X\1\0\0\0aVb\n."])
    def test_more_than_one_text_is_refused(self, pickled: bytes) -> None:
        with pytest.raises(Unreadable, match="more than a text"):
            unpickle_state(pickled)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            *[(None, "None"), (7, "int"), (1 << 99, "int"), (0.5, "float"), ((), "tuple")],
            *[(("a", "b"), "tuple"), (["POSTING"], "list"), ({"state": 7}, "dict")],
        ],
    )
    def test_anything_else_is_refused_by_name(
        self, value: object, kind: str, protocol: int
    ) -> None:
        with pytest.raises(Unreadable, match=f"its value is a pickled {kind}, not a text"):
            unpickle_state(pickle.dumps(value, protocol))

    @pytest.mark.parametrize(
        ("value", "kind"),
        [(True, "bool"), (b"S", "bytes"), ({1}, "set"), (bytearray(1), "bytearray")],
    )
    def test_newer_protocols_name_more(self, value: object, kind: str) -> None:
        with pytest.raises(Unreadable, match=f"its value is a pickled {kind}, not a text"):
            unpickle_state(pickle.dumps(value, 5))


class Malicious:
    """Whoever unpickles it creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.path,)


def colliding(at: int) -> bytes:
    """Return the pickle of one of many numbers that have the same hash."""
    return b"\x8a\x0b" + (at * sys.hash_info.modulus).to_bytes(11, "little")


class TestNothingIsExecuted:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_pickle_that_would_call_something_is_refused_and_calls_nothing(
        self, protocol: int, tmp_path: Path
    ) -> None:
        mark = tmp_path / "executed"
        pickled = pickle.dumps(Malicious(str(mark)), protocol)
        found = shelf_of(tmp_path, b"[b'mod', 'ann']", pickled)
        assert found == Refused(
            "[b'mod', 'ann']", "its value is a pickle that names posix.mkdir, not a text"
        )
        assert not mark.exists()
        pickle.loads(pickled)  # and it would have
        assert mark.exists()

    @pytest.mark.parametrize(
        "pickled",
        [
            b"(S'true'\nios\nsystem\n.",
            b"\x80\4\x8c\2os\x8c\6system\x93.",
            b"X\1\0\0\0acos\nsystem\n.",
            b"\x80\4(\x8c\1x\x8c\2os\x8c\6system\x93.",
        ],
    )
    def test_a_name_is_told_without_importing_it(self, pickled: bytes) -> None:
        with pytest.raises(Unreadable, match=r"names os\.system"):
            unpickle_state(pickled)

    def test_a_name_is_shown_short_and_harmless(self) -> None:
        with pytest.raises(Unreadable) as caught:
            unpickle_state(b"c\x1b[31m" + b"x" * 1000 + b"\nsystem\n.")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 120

    @pytest.mark.parametrize(
        "pickled",
        [
            b"}" + b")" + b"\x85" * 1_000_000 + b"K\1s.",
            b"})\x94" + b"".join(b"h%c\x86\x94" % at for at in range(60)) + b"K\1s.",
            b"}(" + b"".join(colliding(at) + b"N" for at in range(60_000)) + b"u.",
        ],
        ids=["a-deep-tuple", "a-tuple-of-2**60", "colliding-numbers"],
    )
    def test_a_key_that_takes_long_to_hash_is_not_hashed(self, pickled: bytes) -> None:
        """Nothing is called, but Python's unpickler takes minutes, or overflows the C stack."""
        with pytest.raises(Unreadable, match=r"not a text|more than a text"):
            unpickle_state(pickled)

    @pytest.mark.parametrize("behind", [b"r\xff\xff\xff\x7f.", b"p4294967295\n."])
    def test_a_huge_number_to_remember_a_text_by_takes_no_memory(self, behind: bytes) -> None:
        """Python's unpickler in C makes room for all numbers below."""
        tracemalloc.start()
        try:
            assert unpickle_state(b"X\1\0\0\0a" + behind) == "a"
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("text", [b"S''\n", b"V\n", b"X\0\0\0\0"])
    def test_many_texts_are_refused_soon(self, text: bytes) -> None:
        before = time.process_time()
        with pytest.raises(Unreadable, match="more than a text"):
            unpickle_state(text * (1_000_000 // len(text)) + b".")
        assert time.process_time() - before < 1

    @given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda some: b"\x80\4" + some))
    def test_no_bytes_are_more_than_a_text_or_a_refusal(self, pickled: bytes) -> None:
        said = ""
        try:
            found = unpickle_state(pickled)
        except Unreadable as refusal:
            said = str(refusal)
        else:
            assert type(found) is str
        assert said.isprintable()
