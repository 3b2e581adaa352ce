"""The error family: one base, one line with the path, and fit to travel between processes."""

import copy
import pickle

import pytest

import lamson_sqlite_state
from lamson_sqlite_state import LockTimeout, StorageError

from .children import in_child

EVERY_ERROR = [
    kind
    for kind in map(vars(lamson_sqlite_state).get, lamson_sqlite_state.__all__)
    if isinstance(kind, type) and issubclass(kind, Exception)
]


def test_there_are_as_many_kinds_as_the_documentation_says() -> None:
    assert len(EVERY_ERROR) == 6


@pytest.mark.parametrize("kind", EVERY_ERROR)
class TestEveryError:
    def test_it_says_where_and_what_in_one_line(self, kind: type[StorageError]) -> None:
        error = kind("it rained: take an umbrella", "/run/states")

        assert isinstance(error, StorageError)
        assert str(error) == "/run/states: it rained: take an umbrella"
        assert (error.path, error.message) == ("/run/states", "it rained: take an umbrella")

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_comes_through_pickle_whole(self, kind: type[StorageError], protocol: int) -> None:
        self.assert_same(kind, pickle.loads(pickle.dumps(kind("wet", "/run/states"), protocol)))

    def test_it_comes_back_from_a_child_whole(self, kind: type[StorageError]) -> None:
        self.assert_same(kind, in_child(kind, "wet", "/run/states"))

    def test_a_copy_is_whole(self, kind: type[StorageError]) -> None:
        self.assert_same(kind, copy.deepcopy(kind("wet", "/run/states")))

    def assert_same(self, kind: type[StorageError], error: object) -> None:
        assert type(error) is kind
        assert isinstance(error, StorageError)
        assert (str(error), error.path, error.message) == (
            *["/run/states: wet", "/run/states", "wet"],
        )


def test_a_lock_timeout_is_also_pythons_own() -> None:
    """So that code which knows nothing of this package can catch it; it has no errno."""
    error = LockTimeout("busy", "/run/states")

    assert isinstance(error, TimeoutError)
    assert (error.errno, error.filename) == (None, None)
