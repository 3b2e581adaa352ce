"""Plays the messages of a mailbox to the list, as if their senders had written to it."""

import mailbox
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parseaddr
from pathlib import Path

from .errors import DemoError, RefusedError
from .ledger import Ledger, PostBoxes
from .people import LISTS_DOMAIN
from .post import Postman

LIST_NAME = "talk"

# What an SMTP dialogue can carry without extensions, as long as RFC 5321 lets a path be.
PLAIN_ADDRESS = re.compile(r"[!-;=?-~]{1,64}@[!-;=?-~]{1,189}")


@contextmanager
def opened(path: Path) -> Iterator[mailbox.mbox | mailbox.Maildir]:
    """Open an mbox or a maildir, to be read only; DemoError when it is neither."""
    if path.is_dir():
        if not ((path / "cur").is_dir() and (path / "new").is_dir()):
            raise DemoError(f"{path} is no maildir: it has no cur and new in it")
        box: mailbox.mbox | mailbox.Maildir = mailbox.Maildir(path, create=False)
    else:
        box = mailbox.mbox(path, create=False)
    try:
        if not len(box):
            raise DemoError(f"{path} holds no message; give an mbox ('From ' lines) or a maildir")
        yield box
    finally:
        box.close()


class Player:
    """Sends a mailbox's messages to the list, and answers its confirmations in their names.

    So who wrote once is asked to confirm, is a member then, and what they wrote later is
    posted. Nobody's next mail is sent before the last one has been handled: what comes of it
    depends on the mails alone and not on the workers, of whom one may be faster.
    """

    def __init__(self, postman: Postman, ledger: Ledger, boxes: PostBoxes) -> None:
        self.refused = 0
        self._postman = postman
        self._ledger = ledger
        self._boxes = boxes
        self._last: dict[str, str] = {}  # sender -> key of what was sent last in their name

    def play(
        self, box: mailbox.mbox | mailbox.Maildir, window: int, on_sent: Callable[[], None]
    ) -> None:
        """Return when all messages, and all answers to confirmations, have been handled.

        ``window`` limits how many are in the queue at a time.
        """
        for key in sorted(box.iterkeys()):  # of a maildir: by the time of arrival
            self._ledger.wait_for_room(window - 1)
            self._send(*_split(box, key))
            on_sent()
        # The list writes before it is done with a message, so what it wrote is here by then.
        self._ledger.wait_for_room(0)
        while self._answer_confirmations():
            self._ledger.wait_for_room(0)

    def _send(self, from_line: bytes, message: bytes) -> None:
        headers = BytesHeaderParser().parsebytes(message)
        sender = envelope_sender(from_line, headers)
        self._wait_for_last_of(sender)
        if self._answer_confirmations():
            self._wait_for_last_of(sender)
        is_report = not sender and headers.get_content_type() == "multipart/report"
        recipient = f"{LIST_NAME}-bounces" if is_report else LIST_NAME
        # An address may be plain and yet nonsense to a server; the null sender never is.
        for attempt in dict.fromkeys((sender, "")):
            try:
                key = self._postman.send(attempt, f"{recipient}@{LISTS_DOMAIN}", message)
            except RefusedError:
                continue
            self._last[sender.lower()] = key
            return
        self.refused += 1

    def _wait_for_last_of(self, sender: str) -> None:
        if sender and sender.lower() in self._last:
            self._ledger.wait_until_handled(self._last[sender.lower()])

    def _answer_confirmations(self) -> int:
        asked = [
            (person, str(mail["Reply-To"]), mail["Subject"])
            for person, mail in self._boxes.take_all()
            if str(mail["Reply-To"]).startswith(f"{LIST_NAME}-confirm-")
        ]
        for person, reply_to, subject in asked:
            answer = f"Subject: Re: {subject}\n\nYes.\n".encode()
            self._last[person] = self._postman.send(person, reply_to, answer)
        return len(asked)


def envelope_sender(from_line: bytes, headers: Message) -> str:
    """Return who the message was sent by, as far as SMTP can say it; else "", the null sender."""
    return_path = headers["Return-Path"]
    if return_path is not None:
        candidates = [str(return_path)]
    else:
        words = from_line.decode("ascii", "replace").split()
        candidates = [*words[1:2], str(headers["From"] or "")]
    for candidate in candidates:
        address = parseaddr(candidate)[1]
        if PLAIN_ADDRESS.fullmatch(address):
            return address
    return ""


def _split(box: mailbox.mbox | mailbox.Maildir, key: str) -> tuple[bytes, bytes]:
    if isinstance(box, mailbox.Maildir):
        return b"", box.get_bytes(key)
    from_line, _, message = box.get_bytes(key, from_=True).partition(os.linesep.encode())
    return from_line, message
