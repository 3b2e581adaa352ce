"""What is recorded, as a programme of its own.

    python -m powercuts.workloads NAME SYNCHRONOUS SEED DIRECTORY MARKS SABOTAGE

It marks in a file what it is about to call, and what has returned, a line each.

Each process has senders of its own, and no state is ever set twice: so what is found tells after
which call it was there.
"""

import os
import pathlib
import random
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.engine import open_checks, settings

from .histories import START, Call, History, Mishap, replay

__all__ = ["STORE", "UNTIL_CUT", "WORKLOADS", "Workload", "histories_of", "perform"]

STORE: Final = "run/states"
"""Path of the store in the recorded directory, which its first call makes."""

_MODULES: Final = ("app.handlers", "app.bounce")

# A commit of one of these is some fifteen pages, so that a hundred make SQLite checkpoint its log.
_LARGE_BYTES: Final = 60_000


@dataclass(frozen=True)
class Workload:
    """Something that one to four processes do.

    Args:
        name: for people.
        processes: how many. More than one are forked.
        script: yields what a process does, from its number and chance.
        weight: how much of a survey's time it is worth.
    """

    name: str
    processes: int
    script: Callable[[int, random.Random], Iterator[Call]]
    weight: int = 2


def _sender(process: int, number: int) -> str:
    return f"{process}.{number}@example.com"


def _first_use(process: int, _rng: random.Random) -> Iterator[Call]:
    for number in range(3):
        yield Call("set", (_MODULES[0], _sender(process, number), f"A{number}"))
    yield Call("get", (_MODULES[1], _sender(process, 0)))
    yield Call("close")
    yield Call("set", (_MODULES[0], _sender(process, 0), "B"))
    yield Call("get", (_MODULES[0], _sender(process, 9)))
    yield Call("close")
    yield Call("get", (_MODULES[0], _sender(process, 1)))


def _every_call(process: int, rng: random.Random, calls: int = 90) -> Iterator[Call]:
    last: dict[tuple[str, str], str] = {}
    for number in range(calls):
        state = f"S{number}" + "x" * rng.choice((0, 0, 900))
        pair = module, sender = rng.choice(_MODULES), _sender(process, rng.randrange(8))
        match rng.choices(("set", "get", "set_all", "cas", "clear", "close"), (9, 4, 2, 4, 1, 1)):
            case ["set"]:
                last[pair] = state
                yield Call("set", (module, sender, state))
            case ["get"]:
                last.setdefault(pair, START)
                yield Call("get", pair)
            case ["set_all"]:
                last.update({each: state for each in last if each[1] == sender})
                yield Call("set_all", (sender, state))
            case ["cas"]:
                expected = last.get(pair, START)
                last[pair] = state
                yield Call("compare_and_set", (module, sender, expected, state))
            case ["clear"]:
                last.clear()
                yield Call("clear")
            case _:
                yield Call("close")


def _checkpoints(process: int, rng: random.Random) -> Iterator[Call]:
    for number in range(330):
        sender = _sender(process, rng.randrange(6))
        if number % 40 == 39:
            yield Call("get", (_MODULES[1], _sender(process, 100 + number)))
        elif number == 250:
            yield Call("close")
        else:
            size = rng.choice((_LARGE_BYTES, _LARGE_BYTES, 0))
            state = f"S{number} {rng.randbytes(size // 2).hex()}"
            yield Call("set", (_MODULES[0], sender, state))


def _processes(process: int, rng: random.Random) -> Iterator[Call]:
    for number in range(40):
        pair = _MODULES[0], _sender(process, rng.randrange(4))
        if number % 10 == 7:
            yield Call("close")
        elif number % 10 == 3:
            yield Call("get", (_MODULES[1], _sender(process, number)))
        else:
            size = rng.choice((0, 0, 8_000))
            yield Call("set", (*pair, f"S{number} {rng.randbytes(size // 2).hex()}"))


def _endless(process: int, rng: random.Random) -> Iterator[Call]:
    for number in range(4_000):
        pair = _MODULES[0], _sender(process, rng.randrange(4))
        if number % 50 == 49:
            yield Call("close")
        else:
            size = rng.choice((0, 0, 8_000))
            yield Call("set", (*pair, f"S{number} {rng.randbytes(size // 2).hex()}"))


def _mishaps(process: int, rng: random.Random) -> Iterator[Call]:
    mishaps: list[Mishap] = ["delete -wal", "back up", "delete -shm", "restore", "delete -wal"]
    mishaps += ["back up", "restore"]
    for mishap in mishaps:
        for number in range(4):
            state = rng.randbytes(rng.choice((10, 3_000))).hex()
            yield Call("set", (_MODULES[0], _sender(process, number), state))
        yield Call(mishap)


WORKLOADS: Final = {
    workload.name: workload
    for workload in (
        Workload("first use", 1, _first_use, weight=1),
        Workload("every call", 1, _every_call),
        Workload("checkpoints", 1, _checkpoints, weight=6),
        Workload("processes", 3, _processes),
        Workload("mishaps", 1, _mishaps, weight=3),
    )
}

"""What is surveyed on the model of a disk."""

UNTIL_CUT: Final = Workload("until cut", 4, _endless)
"""What a real file system is cut off under."""


def histories_of(workload: Workload, seed: int) -> list[History]:
    """Return what each process does, the same each time."""
    return [
        replay(workload.script(process, random.Random(f"{seed} {process}")))
        for process in range(workload.processes)
    ]


def perform(store: SQLiteStorage, call: Call) -> None:
    """Make a call, or do to the files what it says."""
    match call.method:
        case "delete -wal" | "delete -shm":
            with suppress(FileNotFoundError):
                os.unlink(store.path + call.method.removeprefix("delete "))
        case "back up":
            _back_up(store.path)
        case "restore":
            os.rename(store.path + ".backup", store.path)
        case method:
            getattr(store, method)(*call.arguments)


def _back_up(path: str) -> None:
    """Make a copy of the database, as whoever keeps backups of it does."""
    with (
        closing(sqlite3.connect(f"{pathlib.Path(path).as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(path + ".backup")) as target,
    ):
        source.backup(target)


def _allow_synchronous_off() -> None:
    """Have stores take a level that nobody shall have: SQLite's OFF, at which it never syncs."""
    replacements: tuple[tuple[Any, str, object], ...] = (
        (settings, "_SYNCHRONOUS_MODES", ("OFF",)),
        (open_checks, "_SYNCHRONOUS_LEVELS", {"OFF": 0}),
    )
    for room, name, new in replacements:
        getattr(room, name)  # what has another name by now would let nobody switch it off
        setattr(room, name, new)


def _run(history: History, process: int, store: SQLiteStorage, marks: int) -> None:
    for number, call in enumerate(history.calls):
        os.write(marks, b"called %d %d\n" % (process, number))
        perform(store, call)
        os.write(marks, b"acked %d %d\n" % (process, number))


def _run_to_exit(history: History, process: int, store: SQLiteStorage, marks: int) -> NoReturn:
    try:
        _run(history, process, store, marks)
        store.close()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing may leave a forked child but its status
        traceback.print_exc()
        os._exit(1)


def _main(name: str, synchronous: str, seed: str, directory: str, marks: str, damage: str) -> None:
    level: Any = synchronous
    if damage == "synchronous-off":
        _allow_synchronous_off()
        level = "OFF"
    histories = histories_of({**WORKLOADS, UNTIL_CUT.name: UNTIL_CUT}[name], int(seed))
    store = SQLiteStorage(os.path.join(directory, STORE), synchronous=level)
    descriptor = os.open(marks, os.O_WRONLY)
    children: list[int] = []
    for process, history in enumerate(histories[1:], 1):
        pid = os.fork()
        if not pid:
            _run_to_exit(history, process, store, descriptor)
        children.append(pid)
    _run(histories[0], 0, store, descriptor)
    store.close()
    if any(os.waitpid(pid, 0)[1] for pid in children):
        raise SystemExit("a child failed")


if __name__ == "__main__":
    _main(*sys.argv[1:])
