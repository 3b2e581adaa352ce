"""What is measured: every command that may be long, on as many rows as there are."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from lamson_sqlite_state.maintenance import ExistingStorage, summary

from .._files import pair_of
from ._ground import Ground
from ._process import Ran, run_bare, run_command
from ._workers import Sets, beside_workers

__all__ = ["COMMANDS", "CONTROLS", "ROWS_PER_SECOND", "Command", "function_alone"]

ROWS_PER_SECOND: Final = 200_000
"""The least that an import or an export has to do."""
_SUMMARY_SECONDS: Final = 1.0
_SUMMARY_ROWS: Final = 1_000_000

_CONTROL_SECONDS: Final = 4.0

Work: TypeAlias = Callable[[Ground], Ran]
"""Does one thing once."""


@dataclass(frozen=True)
class Command:
    """One command, and its yardstick.

    Args:
        name: what is done.
        arguments: of the command, given the ground and a path where there is nothing.
        starts_from: what is in the store: all rows, or nothing at all.
        bare: which of `_bare.WORKS` does the same, and what that is in words. None without.
        bare_arguments: its paths, given the same, behind the store.
        is_limited: whether it has to do `ROWS_PER_SECOND`.
        seconds: how long it may take; None for any time.
        rows: how many rows it is about.
        has_workers: whether it is also run beside workers.
        may_find: whether it may end with 1.
    """

    name: str
    arguments: Callable[[Ground, str], Sequence[str]]
    starts_from: str = "all"
    bare: tuple[str, str] | None = None
    bare_arguments: Callable[[Ground, str], Sequence[str]] = lambda _ground, _new: ()
    is_limited: bool = False
    seconds: float | None = None
    rows: Callable[[Ground], int] = lambda ground: ground.rows
    has_workers: bool = True
    may_find: bool = False

    def limit_seconds(self, ground: Ground) -> float | None:
        """Return how long it may take, with as many rows as there are."""
        if self.seconds is not None:
            return self.seconds * max(1.0, ground.rows / _SUMMARY_ROWS)
        return self.rows(ground) / ROWS_PER_SECOND if self.is_limited else None

    def run(self, ground: Ground) -> Ran:
        """Run it once, on a store of its own."""
        store = self._store(ground)
        return self._run(ground, store)

    def run_bare(self, ground: Ground) -> Ran | None:
        """Do the same without the package."""
        if self.bare is None:
            return None
        store = self._store(ground)
        return run_bare(self.bare[0], [store, *self.bare_arguments(ground, f"{store}-out")])

    def beside_workers(self, ground: Ground) -> Sets:
        """Run it on a store that workers write to."""
        store = self._store(ground)
        return beside_workers(store, ground.rows, partial(self._run, ground, store))

    def _store(self, ground: Ground) -> str:
        return ground.copy() if self.starts_from == "all" else ground.nothing()

    def _run(self, ground: Ground, store: str) -> Ran:
        arguments = self.arguments(ground, f"{store}-out")
        return run_command(["--store", store, *arguments], may_find=self.may_find)


def beside_nothing(ground: Ground) -> Sets:
    """Return what the workers see with no command at all."""
    seconds = _control_seconds(ground)
    return beside_workers(ground.copy(), ground.rows, lambda: _spent(time.sleep, seconds))


def beside_a_loop(ground: Ground) -> Sets:
    """Return what they see beside a process that computes, and touches no file."""
    seconds = _control_seconds(ground)
    return beside_workers(ground.copy(), ground.rows, lambda: _spent(_compute, seconds))


def function_alone(ground: Ground) -> Ran:
    """Call `maintenance.summary`, without the command around it."""
    path = ground.copy()
    start, processor = time.perf_counter(), time.process_time()
    with ExistingStorage(path, cache_size=0) as store:
        summary(store)
    return Ran(start, time.perf_counter(), time.process_time() - processor, 0)


def _control_seconds(ground: Ground) -> float:
    return min(_CONTROL_SECONDS, ground.rows / ROWS_PER_SECOND)


def _spent(work: Callable[[float], None], seconds: float) -> Ran:
    start = time.perf_counter()
    work(seconds)
    return Ran(start, time.perf_counter(), seconds, 0)


def _compute(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        sum(range(10_000))


def _importing(source: str, *options: str) -> Callable[[Ground, str], Sequence[str]]:
    return lambda ground, _new: ["import", getattr(ground, source), *options]


def _taking_over(shelf: str) -> Callable[[Ground, str], Sequence[str]]:
    return lambda ground, _new: ["import-shelve", getattr(ground, shelf), "--create"]


def _path(attribute: str) -> Callable[[Ground, str], Sequence[str]]:
    return lambda ground, _new: [getattr(ground, attribute)]


def _out(suffix: str = "") -> Callable[[Ground, str], Sequence[str]]:
    return lambda _ground, new: [new + suffix]


_MODULE: Final = pair_of(0)[0]
_REPLACE: Final = ("--on-conflict", "replace")

COMMANDS: Final = (
    Command("--help", lambda _ground, _new: ["--help"], starts_from="nothing", has_workers=False),
    Command(
        "summary",
        lambda _ground, _new: ["summary"],
        bare=("summary", "GROUP BY, count(DISTINCT)"),
        seconds=_SUMMARY_SECONDS,
    ),
    Command(
        "export, JSON Lines",
        lambda _ground, new: ["export", f"{new}.jsonl"],
        bare=("export jsonl", "SELECT, json.dumps"),
        bare_arguments=_out(),
        is_limited=True,
    ),
    Command(
        "export, CSV",
        lambda _ground, new: ["export", f"{new}.csv"],
        bare=("export csv", "SELECT, csv.writer"),
        bare_arguments=_out(),
        is_limited=True,
    ),
    Command(
        "import, JSON Lines, nothing there",
        _importing("jsonl", "--create"),
        starts_from="nothing",
        bare=("import jsonl", "json.loads, executemany"),
        bare_arguments=_path("jsonl"),
        is_limited=True,
    ),
    Command(
        "import, CSV, nothing there",
        _importing("csv", "--create"),
        starts_from="nothing",
        bare=("import csv", "csv.reader, executemany"),
        bare_arguments=_path("csv"),
        is_limited=True,
    ),
    Command(
        "import, replace, all the same",
        _importing("jsonl", *_REPLACE),
        bare=("replace jsonl", "json.loads, executemany"),
        bare_arguments=_path("jsonl"),
        is_limited=True,
    ),
    Command(
        "import, replace, all others, in no order",
        _importing("scattered_jsonl", *_REPLACE),
        bare=("replace jsonl", "json.loads, executemany"),
        bare_arguments=_path("scattered_jsonl"),
    ),
    Command(
        "import-shelve, dbm.sqlite3",
        _taking_over("shelf"),
        starts_from="nothing",
        bare=("import shelf", "pickle.loads, executemany"),
        bare_arguments=_path("shelf"),
    ),
    Command(
        "import-shelve, dbm.dumb",
        _taking_over("dumb"),
        starts_from="nothing",
        rows=lambda ground: ground.dumb_rows,
    ),
    Command("list --json", lambda _ground, _new: ["list", "--json"]),
    Command(
        "list --sort since --limit 10",
        lambda _ground, _new: ["list", "--sort", "since", "--limit", "10"],
        bare=("newest", "ORDER BY, LIMIT"),
    ),
    Command(
        "prune, a fifth",
        lambda _ground, _new: ["prune", "--module", _MODULE, "--yes"],
        bare=("prune", "one DELETE"),
        bare_arguments=lambda _ground, _new: [_MODULE],
    ),
    Command(
        "rename-state, a fifteenth",
        lambda _ground, _new: ["rename-state", _MODULE, "START", "BEGIN"],
        bare=("rename", "one UPDATE"),
        bare_arguments=lambda _ground, _new: [_MODULE, "START", "BEGIN"],
    ),
    Command(
        "backup",
        lambda _ground, new: ["backup", new],
        bare=("backup", "backup(), integrity_check"),
        bare_arguments=_out(),
    ),
    Command("restore, all the same", lambda ground, _new: ["restore", ground.store, "--yes"]),
    Command("restore, a fourth others", lambda ground, _new: ["restore", ground.earlier, "--yes"]),
    Command(
        "check",
        lambda _ground, _new: ["check"],
        bare=("check", "integrity_check"),
        may_find=True,
    ),
)

CONTROLS: Final[dict[str, Callable[[Ground], Sets]]] = {
    "no command": beside_nothing,
    "a process that only computes": beside_a_loop,
}
"""What the workers see beside what is no command."""
