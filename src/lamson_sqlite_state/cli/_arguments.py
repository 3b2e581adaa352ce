"""Parses what is given to the commands: keys, patterns, states, ages, and the choice of rows."""

import functools
import math
import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import click

from ..keys.columns import checked_state
from ..keys.rows import parse_key, parse_state
from ..maintenance.selection import EVERY_ROW, Exact, Selection
from ._completion import modules, states

# No row is as old: with a longer age, the time that it leads back to is no number for SQLite.
_LONGEST_AGE_MS: Final = 10_000 * 366 * 86_400_000

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

F = TypeVar("F", bound=Callable[..., Any])


# Each of the next functions is the type of a parameter, in Click's sense: the help shows the
# function's name, and a ValueError is an error of usage.


def key(text: str) -> object:
    """Return the key that is given as plain text or as a Python literal."""
    return parse_key(text)[0]


def pattern(text: str) -> str | Exact:
    """Return a pattern, or exactly the key that is given as a literal."""
    found, is_literal = parse_key(text)
    # A text with bytes that are no UTF-8 is no pattern either, but exactly that key.
    has_surrogate = any("\ud800" <= each <= "\udfff" for each in text)
    return Exact(found) if is_literal or has_surrogate else text


def state(text: str) -> str:
    """Return the state that is given as it is, or as it is shown."""
    return checked_state(parse_state(text))


def new_state(text: str) -> str:
    """Return a state to be set, which must be one that a function can answer to."""
    found = state(text)
    if not found:
        raise ValueError("no function answers to an empty state: START is the first")
    return found


def age(text: str) -> int:
    """Return a duration in milliseconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise ValueError(f"{text!r} is no age: 30d, 12h, 90m, 2w or 1d12h")
    ms = sum(float(number) * _UNITS[unit] for number, unit in parts) * 1000
    if ms > _LONGEST_AGE_MS:
        raise ValueError(f"{text!r} is more than 10,000 years")
    return round(ms)


class Seconds(click.FloatRange):
    """A number of seconds in a range. `click.FloatRange` lets nan pass every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


_FILTERS: Final = (
    click.option(
        "--module",
        type=pattern,
        shell_complete=modules,
        help="Of this module; *, ? and [a-z] match.",
    ),
    click.option("--sender", type=pattern, help="Of this sender; *, ? and [a-z] match."),
    click.option("--state", type=state, shell_complete=states, help="In this state."),
    click.option("--older-than", type=age, help="In it for longer than, say, 30d or 12h."),
    click.option("--newer-than", type=age, help="In it for less than that."),
)


def with_selection(command: F) -> F:
    """Give a command the options by which rows are chosen, and pass it their `Selection`.

    The selection is `EVERY_ROW` itself if, and only if, no option was given.
    """

    @functools.wraps(command)
    def called(
        *args: Any,
        module: str | Exact | None,
        sender: str | Exact | None,
        state: str | None,
        older_than: int | None,
        newer_than: int | None,
        **kwargs: Any,
    ) -> Any:
        selection = EVERY_ROW
        if any(each is not None for each in (module, sender, state, older_than, newer_than)):
            now_ms = time.time_ns() // 1_000_000
            selection = Selection(
                module="*" if module is None else module,
                sender="*" if sender is None else sender,
                state=state,
                entered_before_ms=None if older_than is None else now_ms - older_than,
                entered_after_ms=None if newer_than is None else now_ms - newer_than,
            )
        return command(*args, selection=selection, **kwargs)

    for option in reversed(_FILTERS):
        called = option(called)
    return cast("F", called)
