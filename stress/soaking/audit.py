"""What is there when a round is over: the file, the processes, and what was left lying about."""

import ast
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from faults import Fault
from judges.history import Kind, Recorder, value_of
from lamson_sqlite_state import ROUTE_FIRST_STATE, SQLiteStorage
from workers.caller import Caller
from workers.crew import Crew, lock_holder
from workers.setting import AUDITOR, Setting

from . import checks

__all__ = ["Findings", "audited", "open_descriptors"]

Findings = dict[str, list[str]]
"""What was looked at, and what is wrong with it."""

_OWN_ENDINGS: Final = ("", ".lock", ".versions")

# The clock may be read a moment before the state is written.
_SINCE_SLACK_MS: Final = 60_000


def audited(
    setting: Setting,
    store: SQLiteStorage,
    caller: Caller,
    crew: Crew,
    faults: Sequence[Fault],
) -> Findings:
    """Look at everything, with plain sqlite3 first, and add what is read to the history.

    Args:
        setting: of the round, whose processes have all ended.
        store: on the same file; closed in the end.
        caller: of that store.
        crew: those processes.
        faults: that have struck.
    """
    findings: Findings = {
        checks.ENDS: list(_bad_ends(crew, faults)),
        checks.SOUND: [],
        checks.LEFT: [],
    }
    rows = list(_rows(setting.path, findings[checks.SOUND]))
    is_right_clock = not any(fault.wrong_clock for fault in faults)
    findings[checks.SOUND] += _bad_rows(rows, is_right_clock=is_right_clock)
    states = {(row[0], row[1]): row[2] for row in rows}
    times = {(row[0], row[1]): row[3] for row in rows}
    off_ns = time.time_ns() - time.monotonic_ns()
    since = {
        key: times[columns] * 1_000_000 - off_ns
        for key in range(setting.pairs.count)
        if isinstance(times.get(columns := setting.pairs.columns(key)), int)
    }
    (setting.directory / "since.json").write_text(json.dumps(since))
    keys = range(setting.pairs.count)
    recorder = Recorder(setting.directory, AUDITOR, 0)
    for key in keys:
        recorder.call(Kind.GET, key)
        recorder.returned(value_of(states.get(setting.pairs.columns(key), ROUTE_FIRST_STATE)))
    recorder.close()
    caller.read(key for key in keys if setting.pairs.columns(key) in states)
    store.close()
    findings[checks.LEFT] += _leftovers(setting.path, faults)
    return findings


def _bad_ends(crew: Crew, faults: Sequence[Fault]) -> Iterator[str]:
    allowed = {0}.union(*(fault.exit_codes for fault in faults))
    for member in crew.members:
        if member.exit_code not in allowed and member.exit_code != -(member.killed_by or 0):
            words = crew.last_words(member)
            yield f"{member.role} {member.number} ended with {member.exit_code}: {words}"
        if member.complaint:
            words = crew.last_words(member)
            yield f"{member.role} {member.number} {member.complaint}, it was at: {words}"


def _rows(path: str, problems: list[str]) -> Iterator[Sequence[Any]]:
    if not os.path.exists(path):
        return  # deleted, and not used since
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = [row for (row,) in connection.execute("PRAGMA integrity_check")]
            if found != ["ok"]:
                problems.append(f"integrity_check: {'; '.join(found[:3])}")
            yield from connection.execute("SELECT module, sender, state, since FROM states")
    except sqlite3.Error as error:
        problems.append(f"it cannot be read: {error}")


def _bad_rows(rows: Iterable[Sequence[Any]], *, is_right_clock: bool) -> Iterator[str]:
    now_ms = time.time_ns() // 1_000_000
    for module, sender, state, since in rows:
        try:
            for key in (module, sender):
                if not isinstance(key, str):
                    ast.literal_eval(key.decode("ascii"))
        except (ValueError, SyntaxError, AttributeError):
            yield f"a row whose key cannot be decoded: {module!r}, {sender!r}"
        if not isinstance(state, str) or not isinstance(since, int):
            yield f"a row of the wrong types: {module}, {sender}, {state!r}, {since!r}"
        elif is_right_clock and not now_ms - 86_400_000 < since < now_ms + _SINCE_SLACK_MS:
            yield f"a row from another time: {module}, {sender}, {state}, {since}"


def _leftovers(path: str, faults: Sequence[Fault]) -> Iterator[str]:
    directory, name = os.path.split(path)
    endings = {*_OWN_ENDINGS}.union(*(fault.debris for fault in faults))
    for found in os.listdir(directory):
        if found.removeprefix(name) not in endings:
            yield f"the file {found} is left"
    holder = lock_holder(path + ".lock")
    if holder is not None:
        yield f"process {holder} still holds the write lock"
    for target in open_descriptors(path):
        yield f"a descriptor of {target} is still open"


def open_descriptors(path: str) -> Iterator[str]:
    """Return which files of a store, or its directory, this process has open (Linux)."""
    directory = os.path.dirname(path)
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:  # that of the listing
            continue
        if target == directory or target.startswith(f"{directory}/"):
            yield target
