"""The literals that Python's ``repr`` writes for texts and bytes, as regular expressions.

A text is given to Python's parser only after it has matched one of these. Then it is a literal, its
depth is bounded, and the parser warns of nothing.
"""

from typing import Final

# Possessive (*+), so that a text that does not match is given up in one pass, however long it is.
_BYTES_ESCAPE: Final = r"""\\(?:['"\\abfnrtv]|x[0-9a-f]{2})"""
_ESCAPE: Final = r"""\\(?:['"\\abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00[0-9a-f]{6})"""

BYTES: Final = (
    rf"""(?:'(?:[ -&(-\[\]-~]|{_BYTES_ESCAPE})*+'|"(?:[ !#-\[\]-~]|{_BYTES_ESCAPE})*+")"""
)
"""The part of a bytes literal behind the b; also the whole of a str that Python 2 wrote."""

STRING: Final = (
    rf"""(?:'(?:[^'\\\x00-\x1f\x7f]|{_ESCAPE})*+'|"(?:[^"\\\x00-\x1f\x7f]|{_ESCAPE})*+")"""
)
"""A text. Its control characters are written as escapes."""
