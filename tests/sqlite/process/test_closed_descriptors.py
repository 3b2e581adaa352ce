"""All descriptors closed under an open store, as python-daemon does where it is not told not to.

Free numbers are given to whoever opens a file next. SQLite still has them.
"""

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.sqlite.process import descriptors
from tests.helpers.actors import Actor
from tests.helpers.insides import connection_of
from tests.helpers.state_files import make_the_next_read_look, states

SETUP = """
import fcntl, os, sqlite3, sys, threading
from lamson_sqlite_state import SQLiteStorage, StorageError
from lamson_sqlite_state.maintenance import check
path = sys.argv[1]
directory = os.path.dirname(os.path.dirname(path))
store = SQLiteStorage(path, timeout=float(sys.argv[2]))

def look():
    store._cache.revalidate_at = 0.0

def is_free(number):
    try:
        os.fstat(number)
    except OSError:
        return True
    return False

def open_logs():
    "Has files of the application take the numbers; returns them with what each is to hold."
    logs = [open(f"{directory}/app{number}.log", "a+b", buffering=0) for number in range(12)]
    for log in logs:
        log.write(b"delivered\\n" * 3276 + b"12345678")  # 32 KiB, as the counters have
        fcntl.flock(log, fcntl.LOCK_EX)
    return logs

def are_untouched(logs):
    for log in logs:
        found = os.fstat(log.fileno())
        there = os.stat(log.name)
        assert (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino), log.name
        with open(log.name, "rb") as file:
            assert file.read() == b"delivered\\n" * 3276 + b"12345678", log.name
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                raise AssertionError(f"{log.name} is not locked any more")
    return True
"""


def run(path: str, code: str, *, timeout: float = 5) -> str:
    """Run code in a process of its own, as closing all descriptors would harm this one."""
    command = [sys.executable, "-c", SETUP + textwrap.dedent(code), path, f"{timeout}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


CALLS = {
    "set": "store.set('m', 'ann', 'A2')",
    "compare_and_set": "assert store.compare_and_set('m', 'ann', 'A1', 'A2')",
    "set_all": "assert store.set_all('ann', 'A2') == 1",
    "clear": "store.clear(); store.set('m', 'ann', 'A2')",
    "cached get": "look(); assert store.get('m', 'ann') == 'A1'; store.set('m', 'ann', 'A2')",
    "get": "look(); assert store.get('m', 'ann') == 'A1'; store.set('m', 'ann', 'A2')",
    "other get": "look(); assert store.get('m', 'bob') == 'B1'; store.set('m', 'ann', 'A2')",
    "new get": "look(); assert store.get('m', 'cho') == 'START'; store.set('m', 'ann', 'A2')",
    "close": "store.close(); store.set('m', 'ann', 'A2')",
    "fork": """
pid = os.fork()
if pid:
    assert os.waitpid(pid, 0)[1] == 0
store.set('m', 'ann', 'A2')
if not pid:
    os._exit(0)
""",
}


@pytest.fixture(autouse=True)
def there(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        store.set("m", "bob", "B1")


class TestFreeNumbers:
    @pytest.mark.parametrize("has_written", [True, False], ids=["a writer", "a reader"])
    @pytest.mark.parametrize("call", CALLS)
    def test_no_call_fails_and_nothing_is_lost(
        self, path: str, call: str, has_written: bool
    ) -> None:
        opening = "store.set('m', 'cho', 'START')" if has_written else "store.get('m', 'ann')"
        code = f"""
            {opening}
            os.closerange(3, 256)
            exec({CALLS[call]!r})
            look()
            assert store.get('m', 'ann') == 'A2'
            logs = open_logs()
            store.set('m', 'ann', 'A3')
            assert store.get('m', 'ann') == 'A3'
            assert check(path) == []
            store.close()
            assert are_untouched(logs)
        """
        with Actor(path, timeout=0.5) as other:  # so that the log stays
            other.get("m", "ann")
            run(path, code, timeout=0)
            other.set("m", "dan", "D1")
            make_look = make_the_next_read_look
            other.call(make_look)
            assert other.get("m", "ann") == "A3"
        assert states(path).items() >= {("ann", "A3"), ("dan", "D1")}

    @pytest.mark.long
    def test_a_reader_that_need_not_look_yet_waits_for_sqlite(self, path: str) -> None:
        """SQLite tries for ten seconds to lock by a number that is no longer its own."""
        code = """
            store.get('m', 'ann')
            os.closerange(3, 256)
            assert store.get('m', 'cho') == 'START'
        """
        run(path, code, timeout=0)

    @pytest.mark.parametrize(
        "suffix", ["", "-wal", pytest.param("-shm", marks=pytest.mark.long), ".lock", ".versions"]
    )
    def test_of_a_single_file_are_as_good_as_of_all(self, path: str, suffix: str) -> None:
        code = f"""
            store.set('m', 'ann', 'A2')
            file = os.stat(path + {suffix!r})
            for number in range(3, 256):
                if not is_free(number) and os.path.samestat(os.fstat(number), file):
                    os.close(number)
            store.set('m', 'ann', 'A3')
            look()
            assert store.get('m', 'ann') == 'A3'
            assert check(path) == []
        """
        run(path, code, timeout=0)
        assert states(path)["ann"] == "A3"

    def test_no_other_worker_waits(self, path: str) -> None:
        code = """
            store.set('m', 'ann', 'A2')
            os.closerange(3, 256)
            store.set('m', 'ann', 'A3')
            print('ready', flush=True)
            sys.stdin.readline()
        """
        process = subprocess.Popen(
            [sys.executable, "-c", SETUP + textwrap.dedent(code), path, "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process, SQLiteStorage(path, timeout=0) as store:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            store.set("m", "bob", "B2")
            process.communicate("\n")
        assert process.returncode == 0
        assert states(path) == {"ann": "A3", "bob": "B2"}

    def test_of_several_stores_are_left_by_all(self, path: str) -> None:
        """SQLite's book of a file, and its -shm, are one for all connections of a process."""
        code = """
            same, another = SQLiteStorage(path), SQLiteStorage(path + '2')
            for each in (store, same, another):
                each.set('m', 'ann', 'A2')
            os.closerange(3, 256)
            third = SQLiteStorage(path + '3')
            third.set('m', 'ann', 'A3')
            same.set('m', 'ann', 'A3')
            logs = open_logs()
            store.set('m', 'bob', 'B3')
            another.set('m', 'ann', 'A3')
            for each in (store, same, another):
                look()
                assert each.get('m', 'ann') == 'A3'
                each.close()
            assert are_untouched(logs)
        """
        run(path, code)
        assert states(path) == {"ann": "A3", "bob": "B3"}
        assert states(path + "2") == {"ann": "A3"}

    def test_are_not_given_to_a_store_that_opens_first(self, path: str) -> None:
        code = """
            another = SQLiteStorage(path + '2')
            another.set('m', 'ann', 'B1')
            another.close()
            store.set('m', 'ann', 'A2')
            os.closerange(3, 256)
            assert another.get('m', 'ann') == 'B1'
            store.set('m', 'ann', 'A3')
            another.set('m', 'ann', 'B2')
        """
        run(path, code)
        assert states(path)["ann"] == "A3"
        assert states(path + "2") == {"ann": "B2"}

    def test_under_threads_lose_nothing(self, path: str) -> None:
        code = """
            def work(number):
                for count in range(200):
                    store.set('m', f'{number}', f'{count}')
                    reached.release()
            reached = threading.Semaphore(0)
            threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            for _ in range(20):
                reached.acquire()
            with store._handle.lock:  # in the middle of none of their calls
                os.closerange(3, 256)
            for thread in threads:
                thread.join()
        """
        run(path, code)
        assert states(path).items() >= {("0", "199"), ("1", "199"), ("2", "199")}


class TestTakenNumbers:
    @pytest.mark.parametrize("has_written", [True, False], ids=["a writer", "a reader"])
    @pytest.mark.parametrize("call", [*CALLS, "no call"])
    def test_are_neither_closed_nor_written_to_nor_locked(
        self, path: str, call: str, has_written: bool
    ) -> None:
        # What the child finds is found by the parent as well, which waits for it.
        first = (
            CALLS.get(call, "") if call != "fork" else "assert not os.fork() or os.wait()[1] == 0"
        )
        opening = "store.set('m', 'cho', 'START')" if has_written else "store.get('m', 'ann')"
        code = f"""
            {opening}
            os.closerange(3, 256)
            logs = open_logs()
            try:
                exec({first!r})
            except StorageError as error:
                pass
            for _ in range(3):
                look()
                for deed in (
                    lambda: store.get('m', 'ann'),
                    lambda: store.set('m', 'ann', 'A4'),
                    lambda: store.clear(),
                    lambda: SQLiteStorage(path).get('m', 'ann'),
                    lambda: SQLiteStorage(path).set('m', 'ann', 'A4'),
                ):
                    try:
                        deed()
                    except StorageError as error:
                        assert error.code == "descriptors-lost", error
                        assert "restart it" in error.remedy, error
                    else:
                        raise AssertionError("not refused")
                store.close()
            assert are_untouched(logs)
        """
        with Actor(path, timeout=0.5) as other:
            other.get("m", "ann")
            run(path, code, timeout=0)
            other.set("m", "dan", "D1")
        assert states(path).items() >= {("ann", "A1"), ("dan", "D1")}

    def test_are_not_closed_when_the_program_ends(self, path: str, tmp_path: Path) -> None:
        code = """
            import atexit
            logs = []
            atexit.register(lambda: print(are_untouched(logs)))  # runs after ours
            from lamson_sqlite_state.sqlite.process import fork
            atexit.unregister(fork._at_exit)
            atexit.register(fork._at_exit)
            store.set('m', 'ann', 'A2')
            os.closerange(3, 256)
            logs += open_logs()
        """
        assert run(path, code) == "True\n"
        assert states(path) == {"ann": "A2", "bob": "B1"}

    def test_of_a_database_that_was_moved_away_are_left_alone(self, path: str) -> None:
        """What its log holds is not written into it any more: that would go into other files."""
        code = """
            store.set('m', 'ann', 'A2')
            os.closerange(3, 256)
            logs = open_logs()
            os.rename(path, path + '.old')
            store.set('m', 'ann', 'A3')
            assert store.get('m', 'bob') == 'START'
            assert are_untouched(logs)
        """
        run(path, code)
        assert states(path) == {"ann": "A3", "bob": "START"}

    def test_of_one_store_are_no_matter_to_another(self, path: str) -> None:
        code = """
            another = SQLiteStorage(path + '2')
            store.set('m', 'ann', 'A2')
            os.closerange(3, 256)
            logs = open_logs()
            another.set('m', 'ann', 'A2')
            assert another.get('m', 'ann') == 'A2'
            assert are_untouched(logs)
        """
        run(path, code)
        assert states(path + "2") == {"ann": "A2"}


def test_a_file_that_takes_the_number_of_a_closed_store_is_no_matter(path: str) -> None:
    code = """
        other = SQLiteStorage(path)
        store.set('m', 'ann', 'A2')
        other.set('m', 'ann', 'A3')
        store.close()
        logs = open_logs()
        other.set('m', 'ann', 'A4')
        look()
        assert store.get('m', 'ann') == 'A4'
        with sqlite3.connect(path) as third:
            third.execute("SELECT * FROM states").fetchall()
        third.close()
        more = open(path + '.log', 'w')
        other.set('m', 'ann', 'A5')
        other.close()
        store.close()
        assert are_untouched(logs)
    """
    run(path, code)
    assert states(path)["ann"] == "A5"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_those_of_all_three_files_are_remembered(path: str) -> None:
    with SQLiteStorage(path) as store:
        for call in (lambda: store.get("m", "ann"), lambda: store.set("m", "ann", "A2")):
            store.close()
            call()
            remembered = sorted(connection_of(store).descriptors.values())
            files = [os.stat(path + suffix) for suffix in ("", "-wal", "-shm")]
            assert remembered == sorted((file.st_dev, file.st_ino) for file in files)


class TestSecured:
    """Another thread may open files after the look at the numbers, before SQLite closes them."""

    def test_a_free_number_is_given_to_nobody(self, tmp_path: Path) -> None:
        file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
        found = os.fstat(file)
        os.close(file)
        assert descriptors.secured({file: (found.st_dev, found.st_ino)})
        with open(tmp_path / "log", "w") as log:
            assert log.fileno() != file
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(file, b"page")
        os.close(file)

    def test_where_one_is_taken_the_others_stay_free(self, tmp_path: Path) -> None:
        files = [os.open(tmp_path / f"{number}", os.O_RDWR | os.O_CREAT) for number in range(3)]
        there = {file: (os.fstat(file).st_dev, os.fstat(file).st_ino) for file in files}
        for file in files:
            os.close(file)
        with open(tmp_path / "log", "w") as log:
            os.dup2(log.fileno(), files[2])
            lowest = descriptors.lowest_free()
            assert not descriptors.secured(there)
            assert os.fstat(files[2]).st_ino == os.fstat(log.fileno()).st_ino
            assert descriptors.lowest_free() == lowest
            os.close(files[2])
