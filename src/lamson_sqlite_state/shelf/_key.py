r"""Reads the keys of a shelf: ``repr([module, sender])``, in the forms of three programs.

============================  ==================================================================
``['mod', 'sender']``         Lamson, and any storage that makes keys as ``MemoryStorage`` does
``[b'mod', 'sender']``        Salmon's ``ShelveStorage``, which encodes the module to ASCII first
``['mod', u'caf\xe9']``,      Lamson on Python 2, which escaped all that is not ASCII; a string
``['mod', 'caf\xc3\xa9']``    without a ``u`` is bytes, which are taken to be text in UTF-8
============================  ==================================================================
"""

import ast
import re
from typing import Final

from ._literals import BYTES, STRING
from ._record import LONGEST_BYTES, Refused, Unreadable, printable

# Nearly every key: ASCII, without a quote or a backslash.
_PLAIN: Final = re.compile(
    rb"\[[bu]?'([ -&(-\[\]-~]*+)', u?'([ -&(-\[\]-~]*+)'\]",
)

_NUMBER: Final = r"\d++(?:\.\d++)?+(?:e[+-]?\d++)?+"
_WHOLE: Final = re.compile(
    rf"\[(?:b{BYTES}|u?{STRING}|-?{_NUMBER}(?:(?:[+-]{_NUMBER})?j)?|None|True|False|[(), ])*+\]"
)
_STRING: Final = re.compile(STRING)
_MOST_BETWEEN_STRINGS: Final = 1000  # characters: enough for any number, too few for a bomb
_HIGH_ESCAPE: Final = re.compile(r"\\(?:x([89a-f][0-9a-f])|.)")


def parse_pair(raw: bytes) -> tuple[object, object]:
    r"""Return the module and the sender of a key.

    ``b'mod'`` is the module ``'mod'``, as Salmon means it. Bytes remain bytes where the module is
    not ASCII, and where the sender is bytes.

    Two signs show that Python 2 wrote a key: a ``u`` before a quote, and an escape from ``\x80`` to
    ``\xff`` that stands for a printable character, because Python 3 escapes no printable character.
    Each sequence of UTF-8 outside of ASCII begins with such an escape. In a key of Python 2, all
    strings without a ``u`` are decoded as UTF-8.

    Raises:
        Unreadable: the key is not a list of two keys, or a string of Python 2 is not UTF-8.
    """
    plain = _PLAIN.fullmatch(raw)
    if plain is not None:
        return plain[1].decode("ascii"), plain[2].decode("ascii")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("its key is not UTF-8") from error
    between = _STRING.sub("", text)
    if not _WHOLE.fullmatch(text) or len(between) > _MOST_BETWEEN_STRINGS:
        raise Unreadable("its key is not a list of a module and a sender")
    try:
        tree = ast.parse(text, mode="eval")
        if _is_python_2(text, tree):
            _decode_strings(tree)
        module, sender = ast.literal_eval(tree)
        if "j" in between and repr([module, sender]) != text:
            raise ValueError("the repr of a complex number may be read as another (-0j)")
    except UnicodeError as error:
        raise Unreadable("its key holds bytes of Python 2 that are not UTF-8") from error
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise Unreadable("its key is not a list of a module and a sender") from error
    if isinstance(module, bytes) and module.isascii():
        module = module.decode("ascii")
    return module, sender


def is_salmons(raw: bytes) -> bool:
    """Whether a key is in the form that Salmon's ``ShelveStorage`` writes."""
    return raw.startswith(b"[b")


def refused(raw: bytes, reason: str) -> Refused:
    """Return the refusal of a record, which names the pair if the key can be read."""
    try:
        return Refused(printable(raw), reason, parse_pair(raw), is_salmons(raw))
    except Unreadable:
        return Refused(printable(raw), reason)


def too_long(key: bytes, key_bytes: int, value_bytes: int) -> Refused:
    """Return the refusal of a record whose key or value has more than `LONGEST_BYTES`.

    Args:
        key: the key, or its beginning.
        key_bytes: the length of the key in bytes.
        value_bytes: the length of the value in bytes.
    """
    most = f"more than the {LONGEST_BYTES} that are read"
    if key_bytes > LONGEST_BYTES:
        return Refused(printable(key), f"its key has {key_bytes} bytes, {most}")
    return refused(key, f"its value has {value_bytes} bytes, {most}")


def _strings(tree: ast.Expression) -> list[ast.Constant]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def _is_python_2(text: str, tree: ast.Expression) -> bool:
    if not text.isascii():  # Python 2's repr is ASCII
        return False
    for node in _strings(tree):
        if node.kind == "u":
            return True
        literal = text[node.col_offset : node.end_col_offset]
        for escape in _HIGH_ESCAPE.finditer(literal):
            if escape[1] and chr(int(escape[1], 16)).isprintable():
                return True
    return False


def _decode_strings(tree: ast.Expression) -> None:
    for node in _strings(tree):
        if node.kind != "u":
            node.value = str(node.value).encode("latin-1").decode()
