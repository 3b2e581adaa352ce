"""Turns a module or a sender into the value of its column, and refuses invalid states.

Two pairs are the same exactly when their ``repr([module, sender])`` is the same, as in
``MemoryStorage``. A ``str`` that UTF-8 can encode is kept as TEXT, unchanged. Any other key that
mail brings is kept as a BLOB of its literal. The two cannot collide, because to SQLite no TEXT
equals a BLOB.
"""

from __future__ import annotations

from typing import Final

_LITERAL_TYPES: Final = frozenset({type(None), bytes, bool, int, float, complex})


def column_value(key: object) -> str | bytes:
    """Return the value of the ``module`` or ``sender`` column for ``key``.

    Returns:
        The key itself if it is text, otherwise the ASCII bytes of its literal.

    Raises:
        TypeError: the key is not a str, bytes, None, a number, or a tuple of these.
    """
    if isinstance(key, str) and type(key).__repr__ is str.__repr__:
        # A subclass with a repr of its own (an enum) is another key than its text.
        key = str.__str__(key)
        if key.isascii():
            return key
        try:
            key.encode()
        except UnicodeEncodeError:  # a lone surrogate, from a header that could not be decoded
            return _literal(key)
        return key
    _check_type(key)
    return _literal(key)


def row_key(module: object, sender: object) -> tuple[str | bytes, str | bytes]:
    """Return the pair in the order of the primary key: ``(sender, module)``.

    Raises:
        TypeError: as `column_value`.
    """
    if type(module) is type(sender) is str and module.isascii() and sender.isascii():
        return sender, module  # nearly every real key: a dotted name and an address
    return column_value(sender), column_value(module)


def checked_state(state: object) -> str:
    """Return ``state`` as a plain ``str``.

    Raises:
        TypeError: the state is no ``str``.
        ValueError: the state holds lone surrogates, which SQLite's TEXT cannot hold. States are
            names of Python functions, which cannot contain them either.
    """
    if not isinstance(state, str):
        raise TypeError(f"a state must be a str, not {type(state).__name__}: {state!r}")
    if not state.isascii():
        try:
            state.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a state cannot hold lone surrogates: {state!r}") from error
    return str.__str__(state)


def _literal(key: object) -> bytes:
    # ascii(), not repr(): which characters repr() escapes changes with the Unicode tables of each
    # Python release, and a file outlives its interpreter. Two keys have the same ascii() exactly
    # when they have the same repr().
    return ascii(key).encode("ascii")


def _check_type(key: object) -> None:
    if type(key) is tuple:
        for item in key:
            if type(item) is not str:
                _check_type(item)
    elif type(key) not in _LITERAL_TYPES:
        raise TypeError(
            "a key must be a str, bytes, None, a number or a tuple of these, "
            f"not {type(key).__name__}: {key!r}"
        )
