"""Mail that came back: whoever can't be reached is taken off all lists at once."""

import logging

from app.model.delivery_report import permanently_failed
from app.model.mail_out import is_answerable
from salmon.mail import MailRequest
from salmon.routing import Router, nolocking, route, stateless

LOG = logging.getLogger("bounces")


@route("(list_name)-bounces@(host)")
@stateless
@nolocking
def BOUNCE(message: MailRequest, list_name: str = "", host: str = "") -> None:
    """Put those whom the report gives up on into BOUNCED, on every list they ever wrote to.

    Stateless, as all reports come from the same nobody (``message.From`` is None, or some
    MAILER-DAEMON): were this a state function, one report that it fails on would put that
    nobody into ERROR, and no bounce would be handled ever after.

    A report that has a sender is forged. A list on the open net would also sign the
    address that bounces go to, as it signs the one for confirmations.
    """
    if is_answerable(message):
        LOG.warning("report from %r ignored: it has a sender", message.From)
        return
    for address in permanently_failed(message.base.mime_part):
        changed = Router.STATE_STORE.set_all(address, "BOUNCED")
        LOG.info("%s bounced: %d states changed", address, changed)
