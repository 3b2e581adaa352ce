"""What Hypothesis makes keys and states from."""

from typing import Final

from hypothesis import strategies as st

__all__ = ["KEYS", "STATES"]

# Few and short, so that two of them often are one, or nearly.
_TEXT: Final = st.text(st.sampled_from("aA1b'\\\0 é\u0301\ud800\udce4😀"), max_size=3) | st.text()

_ATOMS: Final = st.one_of(
    st.none(),
    st.sampled_from(["", "None", "1", "1.0", "True", "b'a'", "('a',)", "a", "nan", "()"]),
    _TEXT,
    st.booleans(),
    st.integers(-2, 2) | st.integers(),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("-nan"), float("inf")]),
    st.complex_numbers(),
    st.binary(max_size=3),
    _TEXT.map(lambda text: text.encode(errors="surrogatepass")),
)

KEYS: Final = st.recursive(
    _ATOMS, lambda items: st.lists(items, max_size=3).map(tuple), max_leaves=5
)
"""Every kind of key, with lone surrogates and NUL characters among the texts."""

STATES: Final = st.sampled_from(["START", "POSTING", "ERROR", ""]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
"""Every kind of state: any text without lone surrogates."""
