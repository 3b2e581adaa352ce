"""What the looks of a check share: the store they are given, the findings they return, the wording.

A look is a function that takes a `Target` and yields findings. `check` puts the looks in order.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from ...errors import StorageError
from ..process.clock import Clock
from ..process.filesystem import Identity
from ..process.store_paths import StorePaths
from ._reader import Copy, ReadOnlyStore, is_switched

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is being done, how much of it is done, and how much there is, if it is known."""

# `samples` counts a nap as this many naps at most. A longer nap means that this process was stopped
# or starved. The process that it watches may have been held up with it, and needs the time that is
# left to go on.
_NAPS: Final = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a store that is not as it should be.

    All texts are one printable line each, whatever names the files and the senders have.

    Attributes:
        subject: the kind, a word or two that stay the same from release to release: "integrity",
            "schema", "rows", "hard links", "permissions", "owner", "file system", "lock",
            "transaction", "side files", "versions", "shelf" or "SQLite".
        problem: what is wrong, with numbers, names and processes.
        remedy: what to do about it; commands are quoted for a shell.
        path: the file it is about, absolute.
    """

    subject: str
    problem: str
    remedy: str
    path: str


@dataclass(frozen=True)
class Target:
    """The store that a check looks at.

    Attributes:
        paths: of its files, absolute and with symbolic links resolved.
        identity: which file was the database when the check began.
        store: reads the database. The database is opened at the first question.
        tell: the progress function of the caller. It may raise to end the check.
    """

    paths: StorePaths
    identity: Identity
    store: ReadOnlyStore
    tell: Progress

    @property
    def path(self) -> str:
        """The path of the database."""
        return self.paths.database

    @property
    def directory(self) -> str:
        """The directory of the database."""
        return os.path.dirname(self.path)

    @cached_property
    def reader(self) -> ReadOnlyStore | Copy:
        """Reads the database, which must be safe to open."""
        return self.store if is_switched(self.path, self.identity) else Copy(self.path)

    def files(self) -> dict[str, os.stat_result]:
        """Return the status of each file of the store that there is now; the database comes first.

        A link in the place of a side file is not followed.

        Raises:
            OSError: there is no database.
        """
        found = {self.path: os.stat(self.path)}
        for file in self.paths.companions:
            with contextlib.suppress(FileNotFoundError):
                found[file] = os.lstat(file)
        return found


def from_error(subject: str, error: StorageError, *, before: str = "") -> Finding:
    """Return a finding with the problem, the remedy and the path of an error.

    Args:
        subject: of the finding.
        error: the error.
        before: stands before the problem.
    """
    return Finding(subject, shown(before + error.problem), shown(error.remedy), error.path)


def shown(text: str) -> str:
    """Return a text as it can be printed on one line: as it is, or as a Python literal."""
    return text if text.isprintable() else repr(text)


def shown_name(file: str) -> str:
    """Return a file's name without its directory, as it can be printed on one line."""
    return shown(os.path.basename(file))


def age(seconds: float) -> str:
    """Return a time in seconds as people say it, in the largest unit of which there are two."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def samples(seconds: float, nap_seconds: float) -> Iterator[None]:
    """Yield for each of many short looks at a thing that should last for a moment only.

    Args:
        seconds: how long to go on, at least. A time in which this process was held up (suspended,
            throttled, stopped with Ctrl-Z) hardly counts, so that many looks are always taken.
        nap_seconds: how long to sleep between two looks.
    """
    counted, last = 0.0, Clock.monotonic()
    yield
    while counted < seconds:
        time.sleep(nap_seconds)
        now = Clock.monotonic()
        counted += min(now - last, _NAPS * nap_seconds)
        last = now
        yield
