"""The files that are measured on: stores of so many pairs, and bare connections to one."""

import os
import random
import sqlite3
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, Literal, NoReturn, TypeAlias

from lamson_sqlite_state import SQLiteStorage

__all__ = [
    "ROWS",
    "Pair",
    "Synchronous",
    "bare_connection",
    "kept_open",
    "measured_bytes",
    "new_store",
    "newcomers",
    "open_store",
    "pair_of",
    "random_pairs",
    "raw_row",
    "scattered",
]

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

Pair: TypeAlias = tuple[str, str]
"""Module and sender, in the order in which a storage is asked for them."""

ROWS: Final = 10_000

# A sender has a state in each of them: that is what `set_all` is for.
_MODULES: Final = (
    "app.handlers.admin",
    "app.handlers.bounce",
    "app.handlers.confirmation",
    "app.handlers.posting",
    "app.handlers.subscription",
)
_STATES: Final = ("START", "CONFIRMING", "POSTING")
_SINCE: Final = 1_760_000_000_000  # milliseconds, of 2025
# Written out, as checkouts are compared that keep the package's own SQL in other modules.
_INSERT: Final = "INSERT INTO states (sender, module, state, since) VALUES (?, ?, ?, ?)"


def pair_of(number: int) -> Pair:
    return _MODULES[number % len(_MODULES)], f"user{number // len(_MODULES):07}@example.com"


def random_pairs(seed: int, count: int, rows: int = ROWS) -> list[Pair]:
    """Return so many different pairs of a store, the same ones for the same seed."""
    return [pair_of(number) for number in random.Random(seed).sample(range(rows), count)]


def newcomers(seed: str, count: int, rows: int = ROWS) -> list[Pair]:
    """Return so many pairs that no store has, others for each seed.

    Each has its place beside a stored one, picked at random: if all came together in one corner
    of the tree, that corner alone would be at hand, however large the store.
    """
    chosen = random.Random(seed)
    pairs = (pair_of(chosen.randrange(rows)) for _ in range(count))
    return [
        (module, sender.replace("@", f"-{chosen.getrandbits(32):08x}@")) for module, sender in pairs
    ]


def open_store(path: str, synchronous: Synchronous, cache_size: int = 65_536) -> SQLiteStorage:
    """Open a store, with its cache of so many pairs; 0 is without."""
    return SQLiteStorage(path, synchronous=synchronous, cache_size=cache_size)


def new_store(path: str, rows: int = ROWS, *, is_in_order: bool = False) -> str:
    """Make a store of so many pairs, as a comparison starts from, and return its path.

    They come in no order, as senders do: a tree that grew at one end only has other pages.
    """
    numbers = range(rows) if is_in_order else scattered(rows)
    with SQLiteStorage(path) as store:
        store.get("", "")
        store.clear()
    # Behind the store's back, without a log and in memory as far as it goes: ten million
    # calls would take a quarter of an hour. The next to open the store switches the log on.
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000"):
            connection.execute(f"PRAGMA {setting}").fetchone()
        connection.execute("BEGIN")
        connection.executemany(_INSERT, map(raw_row, numbers))
        connection.execute("COMMIT")
    with SQLiteStorage(path) as store:
        store.get(*pair_of(0))
    return path


def measured_bytes(path: str) -> tuple[int, int]:
    """Return the size of a closed store's file, and of what the user gave it.

    The latter is the bytes of the keys and states, and 8 for each `since`.
    """
    with closing(sqlite3.connect(path)) as connection:
        (content,) = connection.execute(
            "SELECT sum(length(sender) + length(module) + length(state) + 8) FROM states"
        ).fetchone()
    return os.path.getsize(path), content


def scattered(rows: int) -> Iterator[int]:
    """Yield each number below ``rows`` once, in no order, without a list of them all."""
    bits = max(2, (rows - 1).bit_length())
    mask, half = (1 << bits) - 1, bits // 2
    for number in range(1 << bits):
        # Each step can be undone, so no two numbers become one.
        mixed = number
        for factor in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35):
            mixed = mixed * factor + 1 & mask
            mixed ^= mixed >> half
        if mixed < rows:
            yield mixed


def raw_row(number: int) -> tuple[str, str, str, int]:
    """Return sender, module, state and since of a pair, in a store that is new."""
    module, sender = pair_of(number)
    return sender, module, _STATES[number % len(_STATES)], _SINCE + number


def bare_connection(path: str, synchronous: Synchronous) -> sqlite3.Connection:
    """Return a connection with the settings that the package gives its own."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA journal_size_limit = 4194304").fetchone()
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


@contextmanager
def kept_open(*paths: str) -> Iterator[None]:
    """Have another process keep databases open, so that whoever comes finds their logs made."""
    ready, is_ready = os.pipe()
    until, finish = os.pipe()
    child = os.fork()
    if not child:
        _keep_open(paths, is_ready, until, inherited=(ready, finish))
    os.close(is_ready)
    os.close(until)
    try:
        if not os.read(ready, 1):
            raise RuntimeError("the process that keeps the databases open could not open them")
        yield
    finally:
        os.close(ready)
        os.close(finish)
        _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"the process that kept the databases open ended with {status}")


def _keep_open(
    paths: tuple[str, ...], is_ready: int, until: int, inherited: tuple[int, int]
) -> NoReturn:
    try:
        for descriptor in inherited:
            os.close(descriptor)
        connections = [sqlite3.connect(path) for path in paths]
        for connection in connections:
            connection.execute("SELECT count(*) FROM states").fetchone()
        os.write(is_ready, b"!")
        os.read(until, 1)  # until its other end is closed, also by the parent's death
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)
