"""What may be given to the commands: keys, patterns, ages."""

import re
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from .._keys import checked_state
from .._row import key_of_text
from .._selection import Only, Selection
from ._completing import modules, states

__all__ = ["AGE", "KEY", "ONLY_KEY", "PATTERN", "STATE", "chosen", "filters"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

F = TypeVar("F", bound=Callable[..., Any])


class _Key(click.ParamType[object]):
    name = "key"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        key, _ = key_of_text(value)
        return key


class _Pattern(click.ParamType["str | Only"]):
    name = "pattern"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Only:
        if isinstance(value, Only):
            return value
        key, is_literal = key_of_text(value)
        if is_literal:
            return Only(key)
        try:
            value.encode()
        except UnicodeEncodeError:
            return Only(key)
        return str(value)


class _OnlyKey(_Key):
    """A key that may be left out: None is one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Only:
        return value if isinstance(value, Only) else Only(super().convert(value, param, ctx))


class _State(click.ParamType[str]):
    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return checked_state(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Age(click.ParamType[int]):
    """A duration, as milliseconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", value)
        if not parts or "".join(map("".join, parts)) != value:
            self.fail(f"{value!r} is no age: 30d, 12h, 90m, 2w or 1d12h", param, ctx)
        return round(sum(float(number) * _UNITS[unit] for number, unit in parts) * 1000)


KEY: Final = _Key()
ONLY_KEY: Final = _OnlyKey()
PATTERN: Final = _Pattern()
STATE: Final = _State()
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
    module: "str | Only | None",
    sender: "str | Only | None",
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
