"""All xdist workers share two store files in one run: one is only added to, one is cleared.

Each test runs many times, and every worker begins with a part of them, so that all are at it
together. Whether the first file lost anything is looked at when all workers have ended
(`shared_run`); that this look can fail is tested here as well.
"""

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.shared_run import SharedRun

BATCHES: Final = range(16)


@pytest.mark.parametrize("batch", BATCHES)
def test_what_each_worker_wrote_is_there_at_the_end(shared_run: SharedRun, batch: int) -> None:
    """Acknowledged here, and compared with the file when the last worker has ended."""
    module = f"app.{os.getpid()}.{batch}"  # nobody else's; the senders are everybody's
    with SQLiteStorage(shared_run.path) as store:
        for number in range(60):
            sender, state = f"user{number % 20}@example.com", f"STATE_{number}"
            store.set(module, sender, state)
            shared_run.acknowledge(module, sender, state)
            assert store.get(module, sender) == state


@pytest.mark.parametrize("writes", [400, pytest.param(1200, marks=pytest.mark.long)])
@pytest.mark.parametrize("batch", BATCHES)
def test_clear_is_atomic_to_each_worker(shared_run: SharedRun, batch: int, writes: int) -> None:
    """No worker ever sees a file that is half cleared, whoever clears it.

    Several reads are not one view, so a view is one SELECT. Two things are true of every view
    as long as each clear takes everything that was there at one instant:

    - Of what this worker wrote one after the other, it shows the last ones without a gap: a
      clear takes all that was written before it. The keys are in random order, so that
      a clear in steps would leave gaps whatever its order.
    - After a clear of this worker's, no row of anybody's is older than that clear.
    """
    module = f"app.{os.getpid()}.{batch}.{writes}"
    written = ["first@example.com"]
    with SQLiteStorage(shared_run.directory / "cleared", synchronous="NORMAL") as store:
        store.set(module, written[0], "POSTING")  # now there is a file to look at
        with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as reader:
            for number in random.sample(range(10_000), writes):
                written.append(f"user{number}@example.com")
                store.set(module, written[-1], "POSTING")

                for _ in range(3):
                    mine = {sender for of, sender, _ in one_view(reader) if of == module}
                    assert mine == set(written[len(written) - len(mine) :])

                if len(written) % 10 == 0:
                    before_ms = time.time_ns() // 1_000_000
                    store.clear()
                    view = one_view(reader)
                    assert [row for row in view if row[0] == module] == []
                    assert [row for row in view if row[2] < before_ms] == []


def one_view(reader: sqlite3.Connection) -> list[tuple[str, str, int]]:
    return reader.execute("SELECT module, sender, since FROM states").fetchall()


SHARING: Final = """
    import pytest
    from lamson_sqlite_state import SQLiteStorage

    @pytest.mark.parametrize("number", range(4))
    def test_share(shared_run, number):
        with SQLiteStorage(shared_run.path) as store:
            store.set("app", f"{number}", "POSTING")
        shared_run.acknowledge("app", f"{number}", "POSTING")
"""
LOSING: Final = SHARING.replace('store.set("app", f"{number}"', 'store.set("app", f"{number % 3}"')


def test_every_worker_has_a_part_of_the_tests_that_share(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(pytester, monkeypatch)
    counting = "        print(file=open(os.environ['PYTEST_XDIST_WORKER'], 'a'))\n"
    pytester.makepyfile(
        test_others="import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_it(n): pass",
        test_first=f"    import os{SHARING}{counting}",
    )

    result = pytester.runpytest_subprocess("-p", "xdist", "-n", "2", "--dist", "worksteal")

    result.assert_outcomes(passed=24)
    assert [(pytester.path / worker).read_text() for worker in ("gw0", "gw1")] == ["\n\n"] * 2


@pytest.mark.parametrize(
    ("options", "tests", "lost"),
    [
        pytest.param(
            ("-p", "xdist", "-n", "2"), SHARING, 0, id="by workers, all", marks=pytest.mark.long
        ),
        pytest.param(("-p", "xdist", "-n", "2"), LOSING, 1, id="by workers, lost"),
        pytest.param((), LOSING, 1, id="without workers, lost"),
    ],
)
def test_a_run_that_lost_a_state_fails_though_all_its_tests_passed(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    tests: str,
    lost: int,
) -> None:
    prepare(pytester, monkeypatch)
    pytester.makepyfile(tests)

    result = pytester.runpytest_subprocess(*options)

    result.assert_outcomes(passed=4)
    assert result.ret == (1 if lost else 0)
    assert result.stdout.str().count("was acknowledged") == lost
    assert len(list(pytester.path.glob("shared-run-*"))) == lost, "left only if it is needed"


def prepare(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the run that follows use the plugin, and keep what it leaves in its own directory."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    pytester.makeconftest('pytest_plugins = ["tests.helpers.shared_run"]')
