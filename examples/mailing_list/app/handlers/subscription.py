"""One person and one list: a double opt-in, then posting, until they leave or bounce.

A Salmon handler usually returns the next state, which the Router stores when the handler
has ended. With several workers that is too late here: the answer to a confirmation mail
can be in another worker's hands before the handler that wrote the mail returns, and would
find its sender still in START; and the Router would then overwrite what that worker has
made of it. So these handlers change the state *before* they write, by ``compare_and_set``:
of two workers with the same mail one goes on, the other has nothing left to do.
"""

import logging
from collections.abc import Callable
from functools import wraps

from app.model.confirmation import TOKEN_PATTERN, is_token_for, token_for
from app.model.mail_out import is_answerable, write_to
from config import settings
from salmon.mail import MailRequest
from salmon.routing import Router, nolocking, route, route_like, state_key_generator

LOG = logging.getLogger("subscription")

Handler = Callable[..., None]


@state_key_generator
def module_and_list(module: str, message: MailRequest) -> str:
    """Keep a state per list, as one can be on several."""
    return f"{module}:{message.To.partition('@')[0].partition('-')[0]}"


def people_only(handler: Handler) -> Handler:
    """Leave mail alone that came from nobody: neither is it answered, nor does a state change."""

    @wraps(handler)
    def guarded(message: MailRequest, **captures: str) -> None:
        if is_answerable(message):
            handler(message, **captures)

    return guarded


@route(
    "(list_name)(command)@(host)",
    command=f"|-subscribe|-unsubscribe|-confirm-{TOKEN_PATTERN}",
)
@nolocking
@people_only
def START(message: MailRequest, list_name: str = "", command: str = "", host: str = "") -> None:
    """Begin the opt-in of whoever asks for it, or just writes to the list."""
    if command in {"", "-subscribe"}:
        _opt_in(message, START, list_name)


@route_like(START)
@nolocking
@people_only
def CONFIRMING(
    message: MailRequest, list_name: str = "", command: str = "", host: str = ""
) -> None:
    """Wait for the answer that only the owner of the address can give."""
    if command.startswith("-confirm-"):
        token = command.removeprefix("-confirm-")
        if not is_token_for(settings.secret, list_name, message.From, token):
            LOG.warning("%r sent a wrong token for %s", message.From, list_name)
        elif _move(message, CONFIRMING, POSTING):
            _welcome(message.From, list_name)
    elif command == "-subscribe":
        _ask_for_confirmation(message.From, list_name)
    elif command == "-unsubscribe" and _move(message, CONFIRMING, START):
        _say_goodbye(message.From, list_name)


@route_like(START)
@nolocking
@people_only
def POSTING(message: MailRequest, list_name: str = "", command: str = "", host: str = "") -> None:
    """Archive what a member posts, and let them go when they want to."""
    if command == "":
        # Read before anything is done: a subject that can't be decoded is an error here, and
        # the Router then keeps the mail and puts its sender into ERROR.
        subject = message["Subject"] or "(none)"
        settings.archives[list_name].push(message.Data)
        write_to(
            message.From,
            list_name,
            f"Archived at {list_name}",
            f"Your mail is in the archive. Its subject: {subject}\n",
        )
    elif command == "-unsubscribe" and _move(message, POSTING, START):
        _say_goodbye(message.From, list_name)


@route_like(START)
@nolocking
@people_only
def BOUNCED(message: MailRequest, list_name: str = "", command: str = "", host: str = "") -> None:
    """Let somebody whose address failed once come back; they must ask for it, and confirm."""
    if command == "-subscribe":
        _opt_in(message, BOUNCED, list_name)


@route_like(START)
@nolocking
@people_only
def ERROR(message: MailRequest, list_name: str = "", command: str = "", host: str = "") -> None:
    """Begin anew with somebody whose mail a handler failed on.

    Without a function of this name they would be shut out: the Router finds nothing to
    call for a state that has no function.
    """
    if command in {"", "-subscribe"}:
        _opt_in(message, ERROR, list_name)


def _move(message: MailRequest, leaving: Handler, entering: Handler) -> bool:
    """Change the sender's state; False when another worker has changed it already."""
    return Router.STATE_STORE.compare_and_set(
        Router.state_key(__name__, message), message.From, leaving.__name__, entering.__name__
    )


def _opt_in(message: MailRequest, leaving: Handler, list_name: str) -> None:
    if _move(message, leaving, CONFIRMING):
        _ask_for_confirmation(message.From, list_name)


def _ask_for_confirmation(person: str, list_name: str) -> None:
    token = token_for(settings.secret, list_name, person)
    write_to(
        person,
        list_name,
        f"Please confirm: {list_name}",
        "Somebody, you we hope, wants this address to be on the list.\n"
        "If so, answer this mail. If not, do nothing.\n",
        reply_to=f"{list_name}-confirm-{token}@{settings.domain}",
    )


def _welcome(person: str, list_name: str) -> None:
    write_to(person, list_name, f"Welcome to {list_name}", "Write to this address to post.\n")


def _say_goodbye(person: str, list_name: str) -> None:
    write_to(person, list_name, f"Goodbye from {list_name}", "No more mail from us.\n")
