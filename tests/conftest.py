"""Plugins of all tests, and the file and the processes that most of them use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .actors import Actor

pytest_plugins = ["pytester", "tests.shared_run"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A state file that does not exist yet, nor does its directory."""
    return str(tmp_path / "run" / "states")


@pytest.fixture
def first(path: str) -> Iterator[Actor]:
    """A process with a store on that file."""
    with Actor(path) as actor:
        yield actor


@pytest.fixture
def second(path: str) -> Iterator[Actor]:
    """Another one."""
    with Actor(path) as actor:
        yield actor
