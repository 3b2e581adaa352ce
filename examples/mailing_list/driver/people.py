"""Two hundred people, each with a fate: what they do, and the states they must end in."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage, Message

from .ledger import Ledger, PostBoxes
from .post import Postman

LISTS_DOMAIN = "lists.example"

FIRST_NAMES = ("Ada", "Boris", "Chloé", "Dmitrij", "Eszter", "Françoise", "Günther", "Halldór")


class Correspondent:
    """One person at their mail program: writes to the list, and reads what it answers."""

    def __init__(
        self, name: str, address: str, postman: Postman, boxes: PostBoxes, ledger: Ledger
    ) -> None:
        self.posts = Counter[str]()  # by list
        self._name = name
        self._address = address
        self._box = address.lower()
        self._postman = postman
        self._boxes = boxes
        self._ledger = ledger

    def asks_for(self, list_name: str) -> None:
        """Ask to be put on the list."""
        self._write(f"{list_name}-subscribe@{LISTS_DOMAIN}", "subscribe")

    def reads_confirmation(self, list_name: str) -> Message:
        """Wait for the mail that asks to confirm."""
        return self._boxes.take(self._box, f"Please confirm: {list_name}")

    def answers(self, confirmation: Message) -> None:
        """Answer a mail, to the address it asks to be answered to."""
        self._write(str(confirmation["Reply-To"]), f"Re: {confirmation['Subject']}")

    def joins(self, list_name: str) -> None:
        """Go through the whole opt-in, to the welcome."""
        self.asks_for(list_name)
        self.answers(self.reads_confirmation(list_name))
        self.is_welcomed(list_name)

    def is_welcomed(self, list_name: str) -> None:
        """Wait for the welcome."""
        self._boxes.take(self._box, f"Welcome to {list_name}")

    def posts_to(self, list_name: str) -> Message:
        """Post something, and return the receipt."""
        self.posts[list_name] += 1
        self._write(f"{list_name}@{LISTS_DOMAIN}", f"Thought no. {self.posts[list_name]}")
        return self._boxes.take(self._box, f"Archived at {list_name}")

    def leaves(self, list_name: str) -> None:
        """Unsubscribe, and wait for the goodbye."""
        self._write(f"{list_name}-unsubscribe@{LISTS_DOMAIN}", "unsubscribe")
        self._boxes.take(self._box, f"Goodbye from {list_name}")

    def forges_an_answer(self, list_name: str) -> None:
        """Try to confirm without having read the confirmation mail."""
        key = self._write(f"{list_name}-confirm-{'0' * 32}@{LISTS_DOMAIN}", "Re: confirm")
        self._ledger.wait_until_handled(key)

    def bounces(self, received: Message, status: str) -> None:
        """Have the mail server report that it couldn't deliver, to where the mail came from."""
        report = delivery_report(self._address, status, with_from=len(self._address) % 2 == 0)
        recipient = str(received["Return-Path"]).strip("<>")
        self._ledger.wait_until_handled(self._postman.send("", recipient, report))

    def _write(self, recipient: str, subject: str) -> str:
        message = EmailMessage()
        message["From"] = f'"{self._name}" <{self._address}>'
        message["To"] = recipient
        message["Subject"] = subject
        message.set_content(f"{self._name} wrote this.\n")
        return self._postman.send(self._address, recipient, bytes(message))


def delivery_report(address: str, status: str, *, with_from: bool) -> bytes:
    """Return what a mail server sends back; some give it a From header, and some don't."""
    sender = "From: Mail Delivery System <mailer-daemon@people.example>\n" if with_from else ""
    action = "failed" if status.startswith("5") else "delayed"
    return f"""{sender}Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=report"

--=report
Content-Type: text/plain

Your message could not be delivered.

--=report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.people.example

Final-Recipient: rfc822; {address.upper()}
Action: {action}
Status: {status}

--=report--
""".encode()


def member(person: Correspondent) -> None:
    """Join a list and post."""
    person.joins("talk")
    person.posts_to("talk")


def silent(person: Correspondent) -> None:
    """Never answer the confirmation mail."""
    person.asks_for("talk")
    person.reads_confirmation("talk")


def forger(person: Correspondent) -> None:
    """Answer with a token that is wrong."""
    person.asks_for("talk")
    person.forges_an_answer("talk")
    person.reads_confirmation("talk")


def leaver(person: Correspondent) -> None:
    """Join, post, and leave again, but stay on the other list."""
    person.joins("talk")
    person.joins("news")
    person.posts_to("talk")
    person.leaves("talk")


def bouncer(person: Correspondent) -> None:
    """Be on two lists when the address ceases to exist: the bounce is from one of them."""
    person.joins("talk")
    person.joins("news")
    person.bounces(person.posts_to("talk"), "5.1.1")


def stillborn(person: Correspondent) -> None:
    """Ask from an address that even the confirmation can't reach."""
    person.asks_for("talk")
    person.bounces(person.reads_confirmation("talk"), "5.7.26")


def returner(person: Correspondent) -> None:
    """Bounce off two lists, come back to one of them, and post again."""
    bouncer(person)
    person.joins("talk")
    person.posts_to("talk")


def full(person: Correspondent) -> None:
    """Have a full mailbox for a while, which is no reason to be taken off a list."""
    person.joins("talk")
    person.bounces(person.posts_to("talk"), "4.2.2")
    person.posts_to("talk")


def impatient(person: Correspondent) -> None:
    """Ask twice at once: two workers may have one mail each at the same moment."""
    person.asks_for("talk")
    person.asks_for("talk")
    person.answers(person.reads_confirmation("talk"))
    person.is_welcomed("talk")
    person.posts_to("talk")


@dataclass(frozen=True)
class Fate:
    """What somebody does, in how many of twenty cases, and the states that must come of it."""

    live: Callable[[Correspondent], None]
    of_twenty: int
    must_be: dict[str, str]


FATES = (
    Fate(member, 5, {"talk": "POSTING", "news": "START"}),
    Fate(silent, 3, {"talk": "CONFIRMING", "news": "START"}),
    Fate(leaver, 3, {"talk": "START", "news": "POSTING"}),
    Fate(bouncer, 3, {"talk": "BOUNCED", "news": "BOUNCED"}),
    Fate(impatient, 2, {"talk": "POSTING", "news": "START"}),
    Fate(forger, 1, {"talk": "CONFIRMING", "news": "START"}),
    Fate(stillborn, 1, {"talk": "BOUNCED", "news": "START"}),
    Fate(returner, 1, {"talk": "POSTING", "news": "BOUNCED"}),
    Fate(full, 1, {"talk": "POSTING", "news": "START"}),
)


@dataclass(frozen=True)
class Person:
    """Somebody with a name, an address and a fate."""

    name: str
    address: str  # as they write it; the list knows it in lower case
    fate: Fate


def population(count: int, seed: int) -> list[Person]:
    """Return people in an order that the seed decides; any twenty have all the fates."""
    dice = random.Random(seed)
    deck = [fate for fate in FATES for _ in range(fate.of_twenty)]
    people = []
    for number in range(count):
        name = f"{dice.choice(FIRST_NAMES)} no. {number}"
        # Some write their address with capitals. To a list they are the same person.
        address = dice.choice(("person-{}@people.example", "Person-{}@People.Example"))
        people.append(Person(name, address.format(number), deck[number % len(deck)]))
    dice.shuffle(people)
    return people
