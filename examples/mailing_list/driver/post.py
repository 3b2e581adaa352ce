"""The two mail servers: one takes mail in for the list, one collects what the list sends."""

import asyncio
import email
import mailbox
import re
import smtplib
import socket
from collections.abc import Awaitable
from email import policy
from typing import Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from .errors import RefusedError
from .ledger import Ledger, PostBoxes

LOOPBACK = "127.0.0.1"


def free_loopback_port() -> socket.socket:
    """Return a listening socket on a port that nobody else has; nothing off this machine sees it.

    Made before the workers are forked, so that their configuration can name the port, while
    the server's thread must start after that: no thread comes along through a fork.
    """
    return socket.create_server((LOOPBACK, 0))


class _TolerantSMTP(SMTP):
    # Real mail has longer lines than RFC 5321 allows. They are for the workers to stand.
    line_length_limit = 4 * 1024 * 1024


class LoopbackServer(Controller):
    """An SMTP server in a thread, on a socket that is listening already."""

    def __init__(self, handler: object, listening: socket.socket) -> None:
        super().__init__(
            handler,
            hostname=LOOPBACK,
            port=listening.getsockname()[1],
            server_hostname="lists.example",
        )
        self._listening = listening

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listening)

    def factory(self) -> SMTP:
        """Make the protocol for one connection."""
        return _TolerantSMTP(self.handler, **self.SMTP_kwargs)


class MailServers:
    """Both servers, as one thing to start and stop."""

    def __init__(self) -> None:
        self.incoming = free_loopback_port()
        self.outgoing = free_loopback_port()
        self._running: list[LoopbackServer] = []

    @property
    def incoming_port(self) -> int:
        """Where the list takes mail."""
        return int(self.incoming.getsockname()[1])

    @property
    def outgoing_port(self) -> int:
        """Where the list's relay sends mail to."""
        return int(self.outgoing.getsockname()[1])

    def start(self, receiver: "Receiver", collector: "Collector") -> None:
        """Take mail, from now on."""
        for handler, listening in ((receiver, self.incoming), (collector, self.outgoing)):
            server = LoopbackServer(handler, listening)
            server.start()
            self._running.append(server)

    def close_sockets(self) -> None:
        """Close what was listening; for a forked child, which has no business with it."""
        self.incoming.close()
        self.outgoing.close()

    def stop(self) -> None:
        """Take no more mail, whether any was taken or not."""
        while self._running:
            self._running.pop().stop()
        self.close_sockets()


class Receiver:
    """Queues mail to a maildir, with the envelope in trace headers as a mail server does."""

    def __init__(self, queue_dir: str, ledger: Ledger) -> None:
        self._queue = mailbox.Maildir(queue_dir, create=False)
        self._ledger = ledger

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the message; answered only when it lies safely in the queue."""
        # For MAIL FROM:<> this aiosmtpd says "<>", of which the brackets are stripped.
        sender = (envelope.mail_from or "").strip("<>")
        [recipient] = envelope.rcpt_tos
        trace = f"Return-Path: <{sender}>\nDelivered-To: {recipient}\n"
        content = (envelope.original_content or b"").replace(b"\r\n", b"\n")
        key = self._queue.add(trace.encode("utf-8", "surrogateescape") + content)
        self._ledger.accept(key)
        return f"250 2.0.0 Ok: queued as {key}"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take one recipient at a time, as there is one Delivered-To per message."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"


class Collector:
    """Takes whatever the list sends, and puts it into the recipients' boxes: none leaves here."""

    def __init__(self, boxes: PostBoxes) -> None:
        self._boxes = boxes

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Put the message into its recipients' boxes."""
        message = email.message_from_bytes(envelope.original_content or b"", policy=policy.default)
        del message["Return-Path"]
        message["Return-Path"] = f"<{envelope.mail_from}>"
        for recipient in envelope.rcpt_tos:
            self._boxes.deliver(recipient.lower(), message)
        return "250 2.0.0 Ok"


class Postman:
    """One SMTP connection to the list's mail server. Not for use by two threads."""

    def __init__(self, port: int, patience_seconds: float) -> None:
        self._smtp = smtplib.SMTP(
            LOOPBACK, port, local_hostname="people.example", timeout=patience_seconds
        )
        self._smtp.ehlo()

    def send(self, sender: str, recipient: str, message: bytes) -> str:
        """Send a message and return the key under which it was queued; "" is the null sender."""
        # Alone, \r and \n would be line ends to some servers and none to others.
        message = re.sub(rb"\r\n|\r|\n", b"\r\n", message)
        self._must_be_taken(self._smtp.mail(sender))
        self._must_be_taken(self._smtp.rcpt(recipient))
        answer = self._must_be_taken(self._smtp.data(message))
        return answer.decode("ascii").rpartition(" ")[2]

    def _must_be_taken(self, reply: tuple[int, bytes]) -> bytes:
        code, answer = reply
        if code != 250:
            self._smtp.rset()
            raise RefusedError(f"the mail server refused a mail: {code} {answer!r}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._smtp.close()
