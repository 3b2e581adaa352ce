"""Salmon's real Router delivers mail through the store, as `boot.py` would set it up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from salmon.routing import Router

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.mail_application import ANN, BOB, LIST, SUBSCRIPTION, MailApplication


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(tmp_path / "run" / "states") as store:
        yield store


@pytest.fixture
def app(tmp_path: Path, store: SQLiteStorage, monkeypatch: pytest.MonkeyPatch) -> MailApplication:
    return MailApplication(tmp_path, store, monkeypatch)


def test_a_conversation_goes_on_in_the_state_it_was_left_in(
    app: MailApplication, store: SQLiteStorage
) -> None:
    handlers = app.load()
    for body in ("hello", "hello", "hello", "leave", "hello"):
        app.deliver(ANN, body)

    states = ["START", "CONFIRMING", "POSTING", "POSTING", "START"]
    assert handlers.seen == [(ANN, state) for state in states]
    assert store.get(handlers.__name__, ANN) == "CONFIRMING"


def test_a_restarted_server_finds_every_conversation(
    app: MailApplication, store: SQLiteStorage
) -> None:
    handlers = app.load()
    app.deliver(ANN)
    store.close()

    with SQLiteStorage(store.path) as restarted:
        Router.STATE_STORE = restarted
        app.deliver(ANN)
        app.deliver(BOB)

    assert handlers.seen == [(ANN, "START"), (ANN, "CONFIRMING"), (BOB, "START")]


def test_each_module_has_its_own_conversation_with_a_sender(app: MailApplication) -> None:
    first = app.load()
    second = app.load(SUBSCRIPTION.replace("lists.example.com", "lists.example.org"))
    for to in (LIST, LIST, "list@lists.example.org"):
        app.deliver(ANN, to=to)

    assert first.seen == [(ANN, "START"), (ANN, "CONFIRMING")]
    assert second.seen == [(ANN, "START")]


def test_a_handler_that_raises_leaves_the_sender_in_error(
    app: MailApplication, store: SQLiteStorage
) -> None:
    handlers = app.load()
    app.deliver(BOB)
    app.deliver(ANN, "crash")
    assert store.get(handlers.__name__, ANN) == "ERROR"
    assert store.get(handlers.__name__, BOB) == "CONFIRMING"

    app.deliver(ANN)
    app.deliver(ANN)
    assert handlers.seen[1:] == [(ANN, "START"), (ANN, "ERROR"), (ANN, "START")]


class TestBounces:
    def test_a_message_from_nobody_has_a_conversation_of_its_own(
        self, app: MailApplication, store: SQLiteStorage
    ) -> None:
        """MAIL FROM:<> without a From header: the sender is None, and not "None" nor ''."""
        handlers = app.load()
        for _ in range(2):
            assert app.deliver("").From is None
        assert app.deliver(None).From is None
        app.deliver("none")

        states = [(None, "START"), (None, "CONFIRMING"), (None, "POSTING"), ("none", "START")]
        assert handlers.seen == states
        assert [store.get(handlers.__name__, key) for key in (None, "None", "")] == [
            *["POSTING", "START", "START"]
        ]

    def test_a_bounce_that_crashes_its_handler_leaves_nobody_else_in_error(
        self, app: MailApplication, store: SQLiteStorage
    ) -> None:
        handlers = app.load()
        app.deliver(ANN)
        app.deliver("", "crash")

        assert store.get(handlers.__name__, None) == "ERROR"
        app.deliver("")
        app.deliver(ANN)
        assert handlers.seen[2:] == [(None, "ERROR"), (ANN, "CONFIRMING")]

    def test_a_hard_bounce_stops_every_conversation_with_its_recipient(
        self, app: MailApplication, store: SQLiteStorage
    ) -> None:
        """The bounce comes from a daemon; whom it is about stands inside."""
        app.load(
            """
            from salmon.bounce import bounce_to
            from salmon.routing import Router, route

            def soft_bounce(message):
                return START

            def hard_bounce(message):
                Router.STATE_STORE.set_all(message.bounce.final_recipient, "BOUNCING")
                return START

            @route("(name)-bounces@lists.example.com", name="[a-z]+")
            @bounce_to(soft=soft_bounce, hard=hard_bounce)
            def START(message, name=None):
                pass
            """
        )
        handlers = app.load()
        app.deliver(ANN)
        app.deliver(BOB)
        store.set("another.module", ANN, "POSTING")

        app.deliver("", _hard_bounce_of(ANN), to="list-bounces@lists.example.com", headers=REPORT)

        assert store.get(handlers.__name__, ANN) == "BOUNCING"
        assert store.get("another.module", ANN) == "BOUNCING"
        assert store.get(handlers.__name__, BOB) == "CONFIRMING"


REPORT: Final = 'MIME-Version: 1.0\nContent-Type: multipart/report; boundary="part"\n'


def _hard_bounce_of(recipient: str) -> str:
    return (
        "--part\n"
        "Content-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; mail.example.com\n\n"
        f"Final-Recipient: rfc822; {recipient}\n"
        "Action: failed\n"
        "Status: 5.1.1\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\n\n"
        "--part--"
    )


def test_a_sender_that_no_codec_could_decode_is_kept(
    app: MailApplication, store: SQLiteStorage
) -> None:
    handlers = app.load()
    app.deliver("j\udce4rg@example.com")
    app.deliver("j\udce4rg@example.com")

    assert [state for _, state in handlers.seen] == ["START", "CONFIRMING"]
    assert store.get(handlers.__name__, "j\udce4rg@example.com") == "POSTING"


def test_a_key_generator_may_return_a_tuple(app: MailApplication, store: SQLiteStorage) -> None:
    """So that one module keeps a conversation per list."""
    handlers = app.load(
        SUBSCRIPTION
        + """
    from salmon.routing import state_key_generator

    @state_key_generator
    def per_list(module_name, message):
        return module_name, message.To
    """
    )
    app.deliver(ANN, to="cats@lists.example.com")
    app.deliver(ANN, to="cats@lists.example.com")
    app.deliver(ANN, to="dogs@lists.example.com")

    assert store.get((handlers.__name__, "cats@lists.example.com"), ANN) == "POSTING"
    assert store.get((handlers.__name__, "dogs@lists.example.com"), ANN) == "CONFIRMING"
    assert store.get(handlers.__name__, ANN) == "START"


def test_a_reload_keeps_the_states(app: MailApplication, store: SQLiteStorage) -> None:
    handlers = app.load()
    app.deliver(ANN)
    assert handlers.__file__
    source = Path(handlers.__file__)
    source.write_text(source.read_text().replace('"CONFIRMING")', '"CONFIRMING, reloaded")'))

    Router.RELOAD = True  # as `salmon start -debug` does, at each message
    app.deliver(ANN)
    assert handlers.seen == [(ANN, "CONFIRMING, reloaded")]
    app.deliver(ANN)
    assert handlers.seen == [(ANN, "POSTING")]
    assert store.get(handlers.__name__, ANN) == "POSTING"


def test_clear_states_begins_every_conversation_anew(app: MailApplication) -> None:
    handlers = app.load()
    senders = [ANN, BOB, ""]
    for sender in senders * 2:
        app.deliver(sender)
    handlers.seen.clear()

    Router.clear_states()
    for sender in senders:
        app.deliver(sender)

    assert handlers.seen == [(ANN, "START"), (BOB, "START"), (None, "START")]
