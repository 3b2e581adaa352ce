"""Several threads and forked workers deliver mail through one store by Salmon's real Router."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.children import in_child, in_children
from tests.helpers.mail_application import ANN, MailApplication
from tests.helpers.threads import in_threads

_BODIES: Final = ["hello", "hello", "hello", "leave"] * 5
_STATES: Final = ["START", "CONFIRMING", "POSTING", "POSTING"] * 5


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(tmp_path / "run" / "states") as store:
        yield store


@pytest.fixture
def app(tmp_path: Path, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> MailApplication:
    return MailApplication(tmp_path, store, monkeypatch)


def test_sender_threads_keep_their_conversations_in_order(app: MailApplication) -> None:
    handlers = app.load()

    def send(number: int) -> None:
        for body in _BODIES:
            app.deliver(f"{number}@example.com", body)

    in_threads(8, send)

    for number in range(8):
        sender = f"{number}@example.com"
        assert [state for who, state in handlers.seen if who == sender] == _STATES


def test_forked_workers_keep_their_conversations_in_order(
    app: MailApplication, store: SQLiteStorage
) -> None:
    handlers = app.load()
    app.deliver(ANN)

    def work(number: int) -> Any:
        handlers.seen.clear()
        for body in _BODIES:
            app.deliver(f"{number}@example.com", body)
        return handlers.seen

    for number, seen in enumerate(in_children(4, work)):
        assert seen == [(f"{number}@example.com", state) for state in _STATES]
        assert store.get(handlers.__name__, f"{number}@example.com") == "START"
    assert store.get(handlers.__name__, ANN) == "CONFIRMING"


def test_one_conversation_goes_on_from_worker_to_worker(app: MailApplication) -> None:
    """Whichever worker gets the next message, it finds the state that the last one left."""
    handlers = app.load()

    def next_state() -> Any:
        app.deliver(ANN)
        return handlers.seen[-1]

    assert in_child(next_state) == (ANN, "START")
    assert next_state() == (ANN, "CONFIRMING")
    assert in_child(next_state) == (ANN, "POSTING")
    assert in_child(app.deliver, ANN, "crash").From == ANN
    assert next_state() == (ANN, "ERROR")
    assert in_child(next_state) == (ANN, "START")
