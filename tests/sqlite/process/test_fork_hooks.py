"""Fork hooks of an application's that use the store, whichever hooks were registered first.

CPython runs the hooks before a fork in the reverse order of their registration, those after it in
that order. So an application may come between the store's hooks and the fork, on either side.
"""

import subprocess
import sys

import pytest

from tests.helpers.state_files import states

CODE = """
import os, sys
when, order, path = sys.argv[1:]

def hook():
    global hooks
    hooks += 1
    store.set("m", f"hook {os.getpid() != parent}", "SET")
    assert store.get("m", "ann") == "A1"
    assert store.get("m", f"new {hooks}") == "START"

if order == "before ours":
    os.register_at_fork(**{when: hook})
from lamson_sqlite_state import SQLiteStorage
if order == "after ours":
    os.register_at_fork(**{when: hook})

hooks, parent = 0, os.getpid()
store, other = SQLiteStorage(path), SQLiteStorage(path)
store.set("m", "ann", "A1")
for number in range(3):
    pid = os.fork()
    if not pid:
        for each in (store, other):
            each.set("m", "child", f"C{number}")
            each.close()
        expected = {"before": number + 1, "after_in_parent": number, "after_in_child": 1}
        os._exit(hooks != expected[when])
    store.set("m", "parent", f"P{number}")
    store.close()
    assert os.waitpid(pid, 0)[1] == 0, "the child has failed"
    other.set("m", "other", f"O{number}")
assert hooks == (0 if when == "after_in_child" else 3)
"""


@pytest.mark.parametrize("order", ["before ours", "after ours"])
@pytest.mark.parametrize("when", ["before", "after_in_parent", "after_in_child"])
def test_a_hook_may_use_the_store_and_leaves_parent_and_child_whole(
    path: str, when: str, order: str
) -> None:
    command = [sys.executable, "-c", CODE, when, order, path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    found = states(path)
    assert found.items() >= {("parent", "P2"), ("other", "O2"), ("child", "C2")}
    assert found[f"hook {when == 'after_in_child'}"] == "SET"
