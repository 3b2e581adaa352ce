"""Mail from the list to one person."""

from config import settings
from salmon.mail import MailRequest, MailResponse


def is_answerable(message: MailRequest) -> bool:
    """Tell whether there is anybody to answer to.

    A null reverse path is how mail servers ask that nothing be sent back, else two of them
    would write to each other for ever (RFC 5321, 4.5.5).
    """
    return bool(message.From) and str(message["Return-Path"] or "").strip() != "<>"


def write_to(
    person: str, list_name: str, subject: str, body: str, reply_to: str | None = None
) -> None:
    """Send a mail; once this returns the relay has it. Bounces go to ``LIST-bounces``."""
    address = f"{list_name}@{settings.domain}"
    letter = MailResponse(To=person, From=address, Subject=subject, Body=body)
    letter["Reply-To"] = reply_to or address
    letter["Auto-Submitted"] = "auto-replied"
    settings.relay.deliver(letter, To=person, From=f"{list_name}-bounces@{settings.domain}")
