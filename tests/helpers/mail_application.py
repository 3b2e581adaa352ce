"""A small mail application for Salmon's real Router, made in a directory of the test."""

import itertools
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from salmon.mail import MailRequest
from salmon.routing import Router, RoutingBase

from lamson_sqlite_state import SQLiteStorage

__all__ = ["ANN", "BOB", "LIST", "SUBSCRIPTION", "MailApplication"]

ANN: Final = "ann@example.com"
BOB: Final = "bob@example.com"
LIST: Final = "list@lists.example.com"

# A subscription: three states, one after the other, and ERROR on the word "crash".
SUBSCRIPTION: Final = """
    from salmon.routing import Router, nolocking, route, route_like

    seen = []

    def note(message, state):
        seen.append((message.From, state))
        if "crash" in message.body():
            raise RuntimeError("as the message asks for")

    @route("(name)@lists.example.com", name="[a-z]+")
    @nolocking
    def START(message, name=None):
        note(message, "START")
        return CONFIRMING

    @route_like(START)
    @nolocking
    def CONFIRMING(message, name=None):
        note(message, "CONFIRMING")
        return POSTING

    @route_like(START)
    @nolocking
    def POSTING(message, name=None):
        note(message, "POSTING")
        return START if "leave" in message.body() else None

    @route_like(START)
    @nolocking
    def ERROR(message, name=None):
        note(message, "ERROR")
        return START
"""

_numbers = itertools.count()


class MailApplication:
    """The one Router of the process, as new, over a store; what it was before comes back.

    Args:
        directory: where the modules of handlers are written.
        store: what becomes the Router's STATE_STORE.
        monkeypatch: of the test; undoes it all.
    """

    def __init__(
        self, directory: Path, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._directory = directory / "app"
        self._directory.mkdir()
        self._monkeypatch = monkeypatch
        for name, value in vars(RoutingBase()).items():
            monkeypatch.setattr(Router, name, value)
        Router.STATE_STORE = store
        monkeypatch.syspath_prepend(self._directory)
        # A module reloaded within a second of its change would be taken from its bytecode.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(self, source: str = SUBSCRIPTION) -> ModuleType:
        """Write a module of handlers and have the Router load it."""
        name = f"handlers_{next(_numbers)}"
        self._monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]  # now the end of the test will do so again
        (self._directory / f"{name}.py").write_text(textwrap.dedent(source))
        Router.load([name])
        return sys.modules[name]

    def deliver(
        self, sender: str | None, body: str = "hello", *, to: str = LIST, headers: str = ""
    ) -> Any:
        """Have the Router deliver a message, and return it. An empty sender is nobody."""
        message = MailRequest("localhost", sender, to, f"To: {to}\n{headers}Subject: s\n\n{body}\n")
        Router.deliver(message)
        return message
