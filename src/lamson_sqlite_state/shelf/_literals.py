"""The texts that Python's ``repr`` writes, as regular expressions.

Whatever goes to Python's parser has matched one of these before: so it is bounded in
depth, warns of nothing, and is a literal.
"""

from typing import Final

# Possessive (*+): what does not match is given up in one pass, however long it is.
_BYTES_ESCAPE: Final = r"""\\(?:['"\\abfnrtv]|x[0-9a-f]{2})"""
_ESCAPE: Final = r"""\\(?:['"\\abfnrtv]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00[0-9a-f]{6})"""

BYTES: Final = (
    rf"""(?:'(?:[ -&(-\[\]-~]|{_BYTES_ESCAPE})*+'|"(?:[ !#-\[\]-~]|{_BYTES_ESCAPE})*+")"""
)
"""What stands after the b of a bytes literal; also all of a str that Python 2 wrote."""

STRING: Final = (
    rf"""(?:'(?:[^'\\\x00-\x1f\x7f]|{_ESCAPE})*+'|"(?:[^"\\\x00-\x1f\x7f]|{_ESCAPE})*+")"""
)
"""A text. Control characters in it stand as escapes."""
