"""Run as a script: starts workers by one method of `multiprocessing`, and sees to their end.

    python _by_multiprocessing.py METHOD NUMBER     # with the pickled setting on standard input

A process of its own, so that the fork server it starts ends with it.
"""

import multiprocessing
import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from lamson_sqlite_state import SQLiteStorage
from workers.setting import Board, Setting
from workers.worker import Worker

_CALLS = 150


def work(setting: Setting, store: SQLiteStorage, number: int) -> None:
    """Make some calls, in a process of multiprocessing's."""
    driver = Worker(setting, Board(setting.directory / "board"), store, number).driver(0)
    for _ in range(_CALLS):
        driver.act()
    store.close()


def main(method: str, first: int) -> None:
    """Use the store, start two processes that use it too, and wait for them."""
    setting: Setting = pickle.load(sys.stdin.buffer)
    store = setting.new_store()
    numbers = [first * 10 + place for place in range(3)]
    mine = Worker(setting, Board(setting.directory / "board"), store, numbers[0]).driver(0)
    mine.act()
    multiprocessing.set_start_method(method)
    processes = [
        multiprocessing.Process(target=work, args=(setting, store, number))
        for number in numbers[1:]
    ]
    for process in processes:
        process.start()
    for _ in range(_CALLS):
        mine.act()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
