import os
import signal
import threading

import pytest

from tests.helpers.children import forked, in_child, in_children


def test_what_the_function_returns_in_the_child_comes_back() -> None:
    big = b"x" * 1_000_000

    assert in_child(lambda: (os.getppid(), big)) == (os.getpid(), big)


def test_children_are_at_work_together_and_answer_in_order() -> None:
    assert in_children(3, lambda number: number * number) == [0, 1, 4]


def test_a_childs_failure_fails_the_test_with_its_traceback() -> None:
    def fail() -> None:
        raise KeyError("who was it?")

    with pytest.raises(AssertionError, match=r"(?s)in fail.*KeyError: 'who was it\?'"):
        in_child(fail)


@pytest.mark.parametrize(
    ("end", "how"),
    [
        pytest.param(lambda: os._exit(3), "exit code 3", id="exit"),
        pytest.param(lambda: os.kill(os.getpid(), signal.SIGKILL), "signal SIGKILL", id="kill"),
    ],
)
def test_a_child_that_does_not_end_with_0_fails_the_test(end: object, how: str) -> None:
    assert callable(end)
    with pytest.raises(AssertionError, match=how):
        in_child(end)


def test_a_child_that_hangs_is_killed_and_reaped() -> None:
    with (
        pytest.raises(AssertionError, match="still running"),
        forked(threading.Event().wait) as child,
    ):
        child.wait(timeout_seconds=0.01)

    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_failing_block_takes_its_child_along() -> None:
    with pytest.raises(KeyError) as caught, forked(threading.Event().wait) as child:
        raise KeyError("the block's own")

    assert any("still running" in note for note in caught.value.__notes__)
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_block_may_kill_its_child() -> None:
    with forked(threading.Event().wait) as child:
        child.kill()

    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_grandchild_does_not_keep_the_test_waiting() -> None:
    keeps, ends = os.pipe()

    def leave_a_grandchild() -> int:
        grandchild = os.fork()
        if grandchild == 0:
            os.close(ends)
            os.read(keeps, 1)
            os._exit(0)
        return grandchild

    assert in_child(leave_a_grandchild) > 0
    os.close(ends)
    os.close(keeps)
