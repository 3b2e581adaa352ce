"""multiprocessing in its three ways to start a process, with the store handed over."""

import itertools
import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from lamson_sqlite_state import LockTimeout, SQLiteStorage
from tests.helpers.state_files import states

START_METHODS = ["fork", "forkserver", "spawn"]
CONDITIONS = ["open", "closed", "never opened"]


def work(store: SQLiteStorage, name: str) -> None:
    for number in range(20):
        store.set("m", name, f"{number}")
        assert store.get("m", name) == f"{number}"


def time_out(path: str) -> None:
    raise LockTimeout("too slow", "wait", path)


@pytest.mark.parametrize(
    ("method", "condition"),
    [
        *itertools.product(START_METHODS[:2], CONDITIONS),
        ("spawn", "open"),
        # To one that is spawned, a store is handed over as its arguments: it sees no condition.
        *(pytest.param("spawn", each, marks=pytest.mark.long) for each in CONDITIONS[1:]),
    ],
)
def test_processes_share_a_store_while_threads_of_the_parent_write(
    method: str, condition: str, path: str
) -> None:
    store = SQLiteStorage(path)
    stop = threading.Event()
    last = 0

    def write() -> None:
        nonlocal last
        while not stop.is_set():
            store.set("m", "parent", f"{last + 1}")
            last += 1

    if condition != "never opened":
        store.set("m", "parent", "BEFORE")
    if condition == "closed":
        store.close()
    thread = threading.Thread(target=write)
    if condition == "open":
        thread.start()
    make_process = getattr(multiprocessing.get_context(method), "Process")  # noqa: B009
    try:
        processes = [
            make_process(target=work, args=(store, f"child {number}")) for number in range(2)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        stop.set()
        if condition == "open":
            thread.join()
    assert [process.exitcode for process in processes] == [0, 0]
    store.close()
    found = states(path)
    assert {found["child 0"], found["child 1"]} == {"19"}
    assert condition != "open" or found["parent"] == f"{last}"


@pytest.mark.parametrize("method", START_METHODS)
def test_errors_come_back_from_a_pool(method: str, path: str) -> None:
    with multiprocessing.get_context(method).Pool(1) as pool:
        with pytest.raises(LockTimeout, match="too slow") as caught:
            pool.apply(time_out, (path,))
        pool.close()
        pool.join()
    assert caught.value.path == path


def test_subprocess_with_a_preexec_function_is_a_fork_like_any(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        subprocess.run(
            [sys.executable, "-c", ""], preexec_fn=lambda: store.get("m", "ann"), check=True
        )
        store.set("m", "ann", "A2")
    assert states(path) == {"ann": "A2"}


def test_program_that_is_executed_inherits_no_descriptor(path: str) -> None:
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        program = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in (3, 4, 5, 6, 7) "
        program += "if os.path.exists(f'/proc/self/fd/{n}')])"
        listed = subprocess.run(
            [sys.executable, "-c", program], close_fds=False, capture_output=True, check=True
        )
    assert os.fsencode(path) not in listed.stdout
