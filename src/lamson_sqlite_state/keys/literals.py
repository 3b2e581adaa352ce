"""Reads a key from its literal, which `columns` writes for a key that is no plain text.

A literal is read token by token. `ast.parse` is not used, because it warns of unknown escapes,
gives up on tuples nested 200 deep, and loses the sign of a zero in a complex number (``-0+1j``).
"""

import ast
import re
from typing import Final

from .columns import column_value

# A key is as long as its sender made it, and a tuple takes fifty times the memory of its literal.
_LONGEST_UNTRUSTED: Final = 1_000_000

_CONSTANTS: Final = {"None": None, "True": True, "False": False}

# A token is a string in quotes (without an escape that Python warns of), a word, or a mark.
# The quantifiers are possessive, so that a hostile sender's text is matched in one way only.
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
    """Return the key whose literal a text is. Nothing in the text is executed.

    Raises:
        ValueError: the text is no literal of a key, or has over a million characters and is not
            the literal of a single text or bytes.
    """
    if len(text) > _LONGEST_UNTRUSTED:
        token = _TOKEN.fullmatch(text)
        if token is None or token["string"] is None:
            raise ValueError("a literal as long as this must be one text or bytes")
    return _key_and_column(text)[0]


def key_of_column_bytes(column: bytes) -> object:
    """Return the key for which `column_value` returns a BLOB, so that a call can reach its row.

    The key may have any number of parts, because a store has kept it.

    Raises:
        ValueError: there is no such key.
    """
    key, value = _key_and_column(column.decode("ascii"))
    if value != column:
        raise ValueError("a store writes another literal for this key")
    return key


def is_literal(column: bytes) -> bool:
    """Whether `column_value` returns this BLOB for some key."""
    try:
        key_of_column_bytes(column)
    except ValueError:  # UnicodeDecodeError is one as well
        return False
    return True


def _key_and_column(text: str) -> tuple[object, str | bytes]:
    try:
        key = _parse(text)
        return key, column_value(key)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(str(error)) from error


def _parse(text: str) -> object:
    # The open tuples, from the outermost: the items so far, and the number of commas. A list,
    # and no recursion, because tuples may be deeply nested.
    outer: list[tuple[list[object], int]] = []
    items: list[object] = []
    commas = at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"a literal cannot contain this: {text[at : at + 20]!r}")
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
            raise ValueError(f"this is in the wrong place of a literal: {token[0]:.20}")
    if outer or not items:
        raise ValueError("the literal is incomplete")
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
        if word.strip("+-").replace("_", "").isdigit():  # 007 is a phone number, not 7.0
            raise
    try:
        return float(word)
    except ValueError:
        return complex(word)
