"""What the README says of Datasette, tried with its own command line on a store in use."""

import contextlib
import importlib.util
import itertools
import multiprocessing
import os
import re
import shlex
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from tests.helpers.actors import Actor
from tests.helpers.children import forked
from tests.helpers.commands import PROGRAM
from tests.helpers.state_files import make_backup, rows, states

ROOT: Final = Path(__file__).parent.parent.parent
README: Final = (ROOT / "README.md").read_text()
SECTION: Final = README.partition("### Look at it in Datasette\n")[2].partition("\n### ")[0]

START_SECONDS: Final = 40

BLOBS: Final = {"None": None, "b'\\xff@x'": b"\xff@x", "('a', 1)": ("a", 1), "'\\udc80'": "\udc80"}
"""Keys that are no plain text, by the literals they are kept as."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("datasette") is None,
    reason="datasette is missing: pip install -e '.[test-all]'",
)


class Server:
    """A Datasette that serves a store, started by the README's command line.

    Leaving the ``with`` block ends it as Ctrl-C does, and asserts that it ended well.
    """

    def __init__(self, path: str, log: Path) -> None:
        (redirected,) = re.findall(
            r"^    lamson-state (\S+) > metadata.yaml$", SECTION, re.MULTILINE
        )
        with (log.parent / "metadata.yaml").open("wb") as metadata:
            subprocess.run([*PROGRAM, redirected], stdout=metadata, check=True)
        (line,) = re.findall(r"^    (datasette .*)$", SECTION, re.MULTILINE)
        command = shlex.split(line.replace(" run/states ", f" {shlex.quote(path)} "))
        assert path in command
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command, "--port", "0"],
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self.url = self._announced()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def page(self, path: str) -> str:
        """Return the text of a page, without its tags."""
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", self._html(path))))

    def table(self, path: str) -> list[list[str]]:
        """Return the rows of the table on a page."""
        body = self._html(path).partition("<tbody>")[2].partition("</tbody>")[0]
        return [
            [
                unescape(re.sub(r"<[^>]*>", "", cell)).strip().replace("\xa0", " ")
                for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)
            ]
            for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
        ]

    def open_files(self) -> Iterator[tuple[str, int]]:
        """Name each file that it has open, and whether for reading or for writing."""
        for name in os.listdir(f"/proc/{self._process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                text = Path(f"/proc/{self._process.pid}/fdinfo/{name}").read_text()
                (flags,) = re.findall(r"^flags:\s+(\d+)$", text, re.MULTILINE)
                target = os.readlink(f"/proc/{self._process.pid}/fd/{name}")
                yield target, int(flags, 8) & os.O_ACCMODE

    def end(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
            assert self._process.wait(20) == 0, self._log.read_text()

    def _html(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            html: str = answer.read().decode()
        return html

    def _announced(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            said = self._log.read_text()
            found = re.search(r"running on (http://127\.0\.0\.1:\d+)", said)
            if found:
                return found[1]
            assert self._process.poll() is None, said
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise AssertionError(f"it did not start: {self._log.read_text()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        else:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def worker(path: str) -> Iterator[Actor]:
    """A process that uses the store meanwhile."""
    with Actor(path, timeout=20) as worker:
        worker.set("app.lists", "ann@example.com", "POSTING")
        worker.set("app.lists", "bob@example.com", "ERROR")
        worker.set("app.bounce", "ann@example.com", "ERROR")
        with contextlib.closing(sqlite3.connect(path)) as connection:  # each in a second of its own
            for seconds, sender in [(30, "bob@example.com"), (20, "ann@example.com")]:
                age = "UPDATE states SET since = since - ? WHERE sender = ?"
                connection.execute(age, (seconds * 1000, sender))
            connection.commit()
        yield worker


@pytest.fixture
def server(path: str, worker: Actor, tmp_path: Path) -> Iterator[Server]:
    assert worker.get("app.lists", "ann@example.com") == "POSTING"
    with Server(path, tmp_path / "log") as server:
        yield server


class TestPages:
    def test_show_the_rows_and_how_many_are_in_each_module_and_state(self, server: Server) -> None:
        assert [row[1:4] for row in server.table("/states/states?_sort=sender")] == [
            ["app.bounce", "ann@example.com", "ERROR"],
            ["app.lists", "ann@example.com", "POSTING"],
            ["app.lists", "bob@example.com", "ERROR"],
        ]
        text = server.page("/states/states")
        assert "app.lists 2 app.bounce 1" in text
        assert "ERROR 2 POSTING 1" in text
        found = server.table("/states/states?module=app.lists&state=ERROR")
        assert [row[2] for row in found] == ["bob@example.com"]

    def test_show_what_has_just_been_set(self, server: Server, worker: Actor) -> None:
        for number in range(10):
            worker.set("app.lists", "ann@example.com", f"STATE_{number}")
            newest = server.table("/states/states")[0]
            assert newest[1:4] == ["app.lists", "ann@example.com", f"STATE_{number}"]
            assert server.table("/states/senders?pattern=ann*")[1][2] == f"STATE_{number}"

    def test_may_not_be_kept_by_a_browser(self, server: Server) -> None:
        with urllib.request.urlopen(f"{server.url}/states/states", timeout=20) as answer:
            assert answer.headers["Cache-Control"] == "no-cache"

    def test_show_senders_in_error_the_oldest_first(self, server: Server, worker: Actor) -> None:
        worker.set("app.lists", "carl@example.com", "ERROR")
        found = server.table("/states/errors")
        assert [row[:2] for row in found] == [
            ["bob@example.com", "app.lists"],
            ["ann@example.com", "app.bounce"],
            ["carl@example.com", "app.lists"],
        ]
        times = [datetime.fromisoformat(row[2]).replace(tzinfo=UTC) for row in found]
        assert times == sorted(times)
        assert abs(times[0].timestamp() - time.time()) < 120

    def test_count_the_states_of_each_module(self, server: Server) -> None:
        assert [row[:3] for row in server.table("/states/per_module")] == [
            ["app.bounce", "ERROR", "1"],
            ["app.lists", "ERROR", "1"],
            ["app.lists", "POSTING", "1"],
        ]

    def test_show_keys_that_are_no_plain_text(self, server: Server, worker: Actor) -> None:
        for key in BLOBS.values():
            worker.set("app.odd", key, "ERROR")
        worker.set(("m", 1), "ann@example.com", "ERROR")
        assert {row[0] for row in server.table("/states/errors")} > set(BLOBS)
        assert "('m', 1)" in {row[0] for row in server.table("/states/per_module")}
        for literal in BLOBS:
            pattern = quote(re.sub(r"[*?\[]", "[\\g<0>]", literal))
            assert [row[:3] for row in server.table(f"/states/senders?pattern={pattern}")] == [
                [literal, "app.odd", "ERROR"]
            ]
        # As the README warns.
        odd = server.table("/states/states?module=app.odd")
        assert len(odd) == len(BLOBS)
        assert all("<Binary: " in row[2] for row in odd)

    def test_named_by_the_readme_are_there(self, server: Server) -> None:
        named = re.findall(r"^\| `(/\S+)`", SECTION, re.MULTILINE)
        assert len(named) == 3
        for page in [*named, *re.findall(r"<http://127.0.0.1:8001(/\S+)>", SECTION)]:
            assert any("ann@example.com" in row or "app.lists" in row for row in server.table(page))

    def test_answer_the_readmes_question_to_sqlite3(self, server: Server) -> None:
        (sql,) = re.findall(r'^    sqlite3 run/states "(.*)"$', README, re.MULTILINE)
        found = server.table(f"/states?sql={quote(sql)}")
        assert [row[:3] for row in found] == [
            ["ann@example.com", "app.bounce", "ERROR"],
            ["ann@example.com", "app.lists", "POSTING"],
            ["bob@example.com", "app.lists", "ERROR"],
        ]

    @pytest.mark.parametrize(
        ("page", "status"), [("/states?sql=DELETE+FROM+states", 400), ("/states.db", 403)]
    )
    def test_neither_change_the_store_nor_give_it_away(
        self, page: str, status: int, path: str, server: Server
    ) -> None:
        with pytest.raises(urllib.error.HTTPError) as caught:
            server.page(page)
        caught.value.close()
        assert caught.value.code == status
        assert len(rows(path)) == 3


class TestLiveStore:
    def test_no_acknowledged_state_is_lost_and_no_worker_kept_waiting(
        self, path: str, server: Server
    ) -> None:
        is_enough = multiprocessing.Event()

        def write(name: str) -> dict[str, str]:
            acknowledged = {}
            with SQLiteStorage(path, timeout=3) as store:  # or LockTimeout is the end of it
                for number in itertools.count():
                    sender = f"{name} {number % 100}"
                    store.set("app.live", sender, f"STATE_{number}")
                    acknowledged[sender] = f"STATE_{number}"
                    if is_enough.is_set() and number >= 1_000:
                        return acknowledged
            raise AssertionError

        with forked(write, "eve") as eve, forked(write, "fay") as fay:
            try:
                for _ in range(5):
                    for page in ["states", "errors", "per_module", "senders?pattern=eve*"]:
                        assert server.table(f"/states/{page}")
            finally:
                is_enough.set()
            acknowledged = {**eve.wait(), **fay.wait()}
        assert len(acknowledged) == 200
        now = {
            sender: state for (module, sender), state in rows(path).items() if module[4:] == "live"
        }
        assert now == acknowledged
        assert len(server.table("/states/senders?pattern=eve*")) == 100

    def test_is_opened_for_reading_only(self, path: str, server: Server) -> None:
        if not os.path.isdir("/proc/self/fdinfo"):
            pytest.skip("how another process opened a file is told by Linux's /proc")
        server.page("/states/states")
        assert {mode for name, mode in server.open_files() if name == path} == {os.O_RDONLY}

    def test_keeps_its_log_until_the_next_worker_has_gone(
        self, path: str, server: Server, worker: Actor
    ) -> None:
        directory = os.path.dirname(path)
        worker.close()
        worker.set("app.lists", "ann@example.com", "CLOSED")
        worker.close()
        assert server.table("/states/states")[0][3] == "CLOSED"
        assert {f"{path}-wal", f"{path}-shm"} <= {f"{directory}/{n}" for n in os.listdir(directory)}
        assert {
            stat.S_IMODE(os.stat(f"{directory}/{n}").st_mode) for n in os.listdir(directory)
        } == {0o600}
        server.end()
        assert os.path.getsize(f"{path}-wal") > 0
        worker.set("app.lists", "ann@example.com", "AGAIN")
        worker.close()
        assert set(os.listdir(directory)) == {"states", "states.lock", "states.versions"}
        assert rows(path)["app.lists", "ann@example.com"] == "AGAIN"

    def test_that_was_replaced_is_shown_once_datasette_was_started_again(
        self, path: str, server: Server, worker: Actor, tmp_path: Path
    ) -> None:
        """Until then, some of its threads show the old file and others may show the new one."""
        old = server.table("/states/states")
        os.rename(make_backup(path, ann="BACKUP"), path)
        worker.set("m", "bob", "B1")
        for _ in range(5):
            shown = server.table("/states/states")
            assert shown == old or {row[2] for row in shown} == {"ann", "bob"}
        server.end()
        with Server(path, tmp_path / "log of another") as another:
            assert [row[1:4] for row in another.table("/states/states?_sort=sender")] == [
                ["m", "ann", "BACKUP"],
                ["m", "bob", "B1"],
            ]

    def test_that_only_datasette_has_open_and_that_was_replaced_makes_new_workers_wait(
        self, path: str, server: Server, worker: Actor
    ) -> None:
        """The log is the old file's, and only the README's way to restore keeps the two apart."""
        server.page("/states/states")
        worker.close()
        os.rename(make_backup(path, ann="BACKUP"), path)
        with SQLiteStorage(path, timeout=0.2) as new:
            with pytest.raises(LockTimeout, match="replaced under a process"):
                new.set("m", "bob", "B1")
            server.end()
            for suffix in ("-wal", "-shm"):
                os.unlink(path + suffix)
            new.set("m", "bob", "B1")
        assert states(path) == {"ann": "BACKUP", "bob": "B1"}
