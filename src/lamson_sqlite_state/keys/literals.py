"""Which BLOBs are keys: the literals that `columns` makes of what is no plain text.

A literal is read token by token rather than by `ast.parse`, which warns of a backslash too many,
gives up on tuples nested 200 deep, and rounds what `complex` prints (``-0+1j``).
"""

import ast
import re
from typing import Final

from .columns import column_value

# A key is as long as its sender made it, and a tuple's parts take fifty times its memory.
_LONGEST_UNTRUSTED: Final = 1_000_000

_CONSTANTS: Final = {"None": None, "True": True, "False": False}

# A string in quotes, of which Python warns about no escape; a number or a name; or a mark.
# Possessive, so that what a hostile sender made is never tried in another way.
_TOKEN: Final = re.compile(
    r"""
    [ \t]*+
    (?:
        (?P<string>
            (?: (?P<raw> [rR][bB]? | [bB][rR] ) | (?P<bytes> [bB] ) | [uU] )?+
            (?P<quote> ['"] )
            (?:
                [^'"\\\r\n]++
                | (?! (?P=quote) ) ['"]
                | \\ (?: [\\'"abfnrtvx] | (?! [4-7][0-7][0-7] ) [0-7] )
                | \\ (?(raw) . | (?(bytes) (?!) | [uUN] ) )
            )*+
            (?P=quote)
        )
        | (?P<word> [-+.\w]++ )
        | (?P<mark> [(),] )
    )
    [ \t]*+
    """,
    re.ASCII | re.VERBOSE,
)


def key_of_literal(text: str) -> object:
    """Return the key that a text is the literal of. Nothing in it is executed.

    Raises:
        ValueError: it is none, or one of a tuple that is too long to come from a store.
    """
    if len(text) > _LONGEST_UNTRUSTED:
        token = _TOKEN.fullmatch(text)
        if token is None or token["string"] is None:
            raise ValueError("of a literal as long, only a text or bytes are read")
    return _key_and_column(text)[0]


def key_of_column_bytes(column: bytes) -> object:
    """Return the key that `column_value` makes a BLOB of, so that a call can reach its row.

    A store has kept it, so it may have as many parts as it likes.

    Raises:
        ValueError: there is none.
    """
    key, value = _key_and_column(column.decode("ascii"))
    if value != column:
        raise ValueError("another literal of the key is its own")
    return key


def is_literal(column: bytes) -> bool:
    """Whether a BLOB is what `column_value` makes of some key."""
    try:
        key_of_column_bytes(column)
    except ValueError:  # or UnicodeDecodeError, which is one
        return False
    return True


def _key_and_column(text: str) -> tuple[object, str | bytes]:
    try:
        key = _parse(text)
        return key, column_value(key)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from error


def _parse(text: str) -> object:
    # What is open: of each tuple the items so far, and how many commas. It may be deeply nested.
    outer: list[tuple[list[object], int]] = []
    items: list[object] = []
    commas = at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"no part of a literal: {text[at : at + 20]!r}")
        at = token.end()
        is_after_item = commas < len(items)
        if token["mark"] == ",":
            commas += 1
            is_out_of_place = not is_after_item
        elif token["mark"] == "(":
            is_out_of_place = is_after_item
            outer.append((items, commas))
            items, commas = [], 0
        elif token["mark"] == ")":
            is_out_of_place = not outer
            if outer:
                closed = _closed(items, commas)
                items, commas = outer.pop()
                items.append(closed)
        else:
            is_out_of_place = is_after_item
            items.append(_scalar(token))
        if is_out_of_place:
            raise ValueError(f"out of its place: {token[0]:.20}")
    if outer or not items:
        raise ValueError("it is not whole")
    return _closed(items, commas)


def _closed(items: list[object], commas: int) -> object:
    return tuple(items) if commas or not items else items[0]


def _scalar(token: re.Match[str]) -> object:
    if string := token["string"]:
        return ast.literal_eval(string)
    word = token["word"]
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    try:
        return int(word, 0)
    except ValueError:
        if word.strip("+-").replace("_", "").isdigit():  # 007, a phone number, is none of 7.0
            raise
    try:
        return float(word)
    except ValueError:
        return complex(word)
