"""Keys exactly as given: what a module or sender becomes in its column, and what a state may be.

Two pairs are one exactly when ``repr([module, sender])`` is one, as in ``MemoryStorage``. A
``str`` that UTF-8 can encode goes in as TEXT, untouched. Everything else mail brings is kept
as a BLOB of its literal; SQLite never holds a TEXT and a BLOB equal, so the two cannot collide.
"""

from typing import Final

_LITERAL_TYPES: Final = frozenset({type(None), bytes, bool, int, float, complex})


def column_value(key: object) -> str | bytes:
    """Return what stands in the ``module`` or ``sender`` column for ``key``.

    Returns:
        The key itself where it is text, else the UTF-8 bytes of its literal.

    Raises:
        TypeError: the key is none of str, bytes, None, a number, or a tuple of these.
    """
    if isinstance(key, str) and type(key).__repr__ is str.__repr__:
        # A subclass that is told apart from its text by its repr (an enum) is no plain key.
        key = str.__str__(key)
        if key.isascii():
            return key
        try:
            key.encode()
        except UnicodeEncodeError:  # a lone surrogate, from a header nobody could decode
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
        TypeError: it is no ``str``.
        ValueError: it holds lone surrogates, which SQLite's TEXT has no form for. States are
            names of Python functions, which cannot contain them.
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
    # ascii(), not repr(): which characters repr() escapes changes with the Unicode tables of
    # each Python release, and a file outlives its interpreter. Both make the same pairs one.
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
