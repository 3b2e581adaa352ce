"""The judge: everybody must be in the right state, and no message lost or handled twice."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .ledger import Ledger
from .people import Person

MODULE = "app.handlers.subscription"


class Store(Protocol):
    """What the judge asks."""

    def get(self, module: str, sender: str) -> str:
        """Return the state."""
        ...


@dataclass(frozen=True)
class WrongState:
    """Somebody who is not in the state in which they must be."""

    address: str
    fate: str
    list_name: str
    must_be: str
    found: str


def wrong_states(people: Iterable[Person], store: Store) -> list[WrongState]:
    """Ask the store for the state of every person on every list; return what is wrong."""
    return [
        WrongState(person.address, person.fate.live.__name__, list_name, must_be, found)
        for person in people
        for list_name, must_be in person.fate.must_be.items()
        if (found := store.get(f"{MODULE}:{list_name}", person.address.lower())) != must_be
    ]


def unaccounted(ledger: Ledger, run_dir: Path) -> list[str]:
    """Say which messages were lost, handled twice, left lying, or kept without a reason.

    This doesn't look at states at all: it would find a lost message even if the sender
    happened to be in the right state.
    """
    lost = ledger.accepted - ledger.handled.keys()
    invented = ledger.handled.keys() - ledger.accepted
    left = [name for folder in ("new", "cur") for name in os.listdir(run_dir / "queue" / folder)]
    kept = len(os.listdir(run_dir / "undeliverable" / "new"))
    undelivered = ledger.undelivered()
    complaints = {
        f"{len(lost)} messages were never handled": lost,
        f"{len(invented)} messages were handled that never came in": invented,
        f"{len(ledger.handled_twice)} messages were handled twice": ledger.handled_twice,
        f"{len(left)} messages were left in the queue": left,
        f"{undelivered} messages could not be delivered, but {kept} were kept": undelivered != kept,
    }
    return [complaint for complaint, is_so in complaints.items() if is_so]


def wrong_archives(posts: Counter[str], run_dir: Path) -> list[str]:
    """Say which list's archive does not hold as many messages as its members have posted."""
    return [
        f"the archive of {archive.name} holds {found} messages, but {posts[archive.name]} were sent"
        for archive in sorted((run_dir / "archive").iterdir())
        if (found := len(os.listdir(archive / "new"))) != posts[archive.name]
    ]


def count_states(database: Path) -> dict[str, Counter[str]]:
    """Return how many senders are in each state, by list, read with bare sqlite3."""
    counts: dict[str, Counter[str]] = {}
    with closing(sqlite3.connect(database)) as connection:
        for state, module, count in connection.execute(
            "SELECT state, module, count(*) FROM states GROUP BY state, module ORDER BY state"
        ):
            counts.setdefault(state, Counter())[module.removeprefix(f"{MODULE}:")] += count
    return counts
