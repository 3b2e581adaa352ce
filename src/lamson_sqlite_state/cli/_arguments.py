"""What may be given to the commands: keys, patterns, ages."""

import math
import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from ..keys.columns import checked_state
from ..keys.rows import parse_key, parse_state
from ..maintenance.selection import Exact, Selection
from ._completion import modules, states

# An age may lead back to any time that a row can have.
_LONGEST_MS: Final = 10_000 * 366 * 86_400_000

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

F = TypeVar("F", bound=Callable[..., Any])


class _Key(click.ParamType[object]):
    name = "key"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        key, _ = parse_key(value)
        return key


class _Pattern(click.ParamType["str | Exact"]):
    name = "pattern"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Exact:
        if isinstance(value, Exact):
            return value
        key, is_literal = parse_key(value)
        if is_literal:
            return Exact(key)
        try:
            value.encode()
        except UnicodeEncodeError:
            return Exact(key)
        return str(value)


class _OnlyKey(_Key):
    """A key that may be left out: None is one."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Exact:
        return value if isinstance(value, Exact) else Exact(super().convert(value, param, ctx))


class _State(click.ParamType[str]):
    """A state, as it is or as it is shown."""

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return checked_state(parse_state(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _NewState(_State):
    """A state to be set: one that a function can answer to."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        state = super().convert(value, param, ctx)
        if not state:
            self.fail("no function answers to an empty state: START is the first", param, ctx)
        return state


class _Age(click.ParamType[int]):
    """A duration, as milliseconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value)
        if not parts or "".join(map("".join, parts)) != value:
            self.fail(f"{value!r} is no age: 30d, 12h, 90m, 2w or 1d12h", param, ctx)
        ms = sum(float(number) * _UNITS[unit] for number, unit in parts) * 1000
        if ms > _LONGEST_MS:
            self.fail(f"{value!r} is more than 10,000 years", param, ctx)
        return round(ms)


class Seconds(click.FloatRange):
    """A number of seconds, which is one: not nan."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


KEY: Final = _Key()
ONLY_KEY: Final = _OnlyKey()
PATTERN: Final = _Pattern()
STATE: Final = _State()
NEW_STATE: Final = _NewState()
AGE: Final = _Age()


def filters(command: F) -> F:
    """Give a command the options by which rows are chosen; see `chosen`."""
    for option in reversed(
        (
            click.option(
                "--module",
                type=PATTERN,
                shell_complete=modules,
                help="Of this module; *, ? and [a-z] match.",
            ),
            click.option("--sender", type=PATTERN, help="Of this sender; *, ? and [a-z] match."),
            click.option("--state", type=STATE, shell_complete=states, help="In this state."),
            click.option("--older-than", type=AGE, help="In it for longer than, say, 30d or 12h."),
            click.option("--newer-than", type=AGE, help="In it for less than that."),
        )
    ):
        command = option(command)
    return command


def chosen(
    module: "str | Exact | None",
    sender: "str | Exact | None",
    state: str | None,
    older_than: int | None,
    newer_than: int | None,
) -> Selection:
    """Return which rows are meant by the options of `filters`."""
    now_ms = time.time_ns() // 1_000_000
    return Selection(
        module="*" if module is None else module,
        sender="*" if sender is None else sender,
        state=state,
        entered_before_ms=None if older_than is None else now_ms - older_than,
        entered_after_ms=None if newer_than is None else now_ms - newer_than,
    )
