"""Every command works on a store that forked workers write to all the time, and loses nothing."""

import contextlib
import os
import select
import shelve
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.children import Child, forked
from tests.helpers.commands import run_in_process
from tests.helpers.state_files import rows

SENDERS = 20
WORKERS = 3


def work(store: SQLiteStorage, number: int, begin: int, end: int) -> dict[str, str]:
    """Change the states of this worker's senders over and over; return the last ones."""
    count = 0
    is_last = False
    last: dict[str, str] = {}
    while True:
        for sender in range(SENDERS):
            count += 1
            name = f"w{number}-{sender}@example.com"
            store.set("app.load", name, f"S{count}")
            # While the commands run, an import or a restore may have set another one since.
            assert store.get("app.load", name) == f"S{count}" or not is_last
            last[name] = f"S{count}"
        if count == SENDERS:
            os.write(begin, b".")
        if is_last:
            return last
        ready, _, _ = select.select([end], [], [], 0)
        is_last = bool(ready)  # once more around, after all that the commands have done


@pytest.fixture
def workers(path: str) -> Iterator[list[Child[dict[str, str]]]]:
    """Workers at work, which end with the fixture."""
    store = SQLiteStorage(path, synchronous="NORMAL")
    store.set("app.quiet", "ann@example.com", "POSTING")
    store.set("app.quiet", "bob@example.com", "ERROR")
    reading, writing = os.pipe()
    begun, begin = os.pipe()
    try:
        with contextlib.ExitStack() as stack:
            found = [
                stack.enter_context(forked(work, store, number, begin, reading))
                for number in range(WORKERS)
            ]
            for _ in found:
                assert os.read(begun, 1)
            yield found
            os.write(writing, b".")  # which nobody reads: all see that it is there
            expected: dict[str, str] = {}
            for child in found:
                expected |= child.wait()
        there = rows(path)
        assert {name: there["app.load", name] for name in expected} == expected
    finally:
        for end in (reading, writing, begun, begin):
            os.close(end)
        store.close()


def test_every_command_works_and_no_worker_loses_a_state(
    workers: list[Child[dict[str, str]]],
    path: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with shelve.open(str(tmp_path / "shelf")) as states:
        states["[b'app.quiet', 'eve@example.com']"] = "POSTING"
    file, table, copy = (str(tmp_path / name) for name in ("rows.jsonl", "rows.csv", "copy"))
    for call in (
        "summary",
        "list --module app.load --sort since --limit 5",
        "get app.quiet ann@example.com",
        "set app.quiet ann@example.com CONFIRMING",
        "set-all bob@example.com BOUNCED",
        "rename-state app.quiet CONFIRMING PENDING",
        f"import-shelve {tmp_path / 'shelf'}",
        f"export {file}",
        f"export {table}",
        f"backup {copy}",
        f"import {file} --on-conflict keep",
        f"import {table} --on-conflict replace",
        "forget eve@example.com",
        "prune --module app.quiet --state PENDING --yes",
        f"restore {copy}",
        "check",
        "watch --once",
    ):
        ended = run_in_process(capfd, "--store", path, *call.split())
        assert (ended.status, ended.err) == (0, ""), call
    for sender, state in (("ann", "PENDING"), ("bob", "BOUNCED"), ("eve", "POSTING")):
        ended = run_in_process(capfd, "--store", path, "get", "app.quiet", f"{sender}@example.com")
        assert ended.out == f"{state}\n"
    assert len(workers) == WORKERS
