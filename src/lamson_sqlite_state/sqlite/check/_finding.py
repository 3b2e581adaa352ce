"""What a check has found: one defect, in one line each what it is and what to do about it."""

from dataclasses import dataclass

from ...errors import StorageError


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


def age(seconds: float) -> str:
    """Return a time in seconds as people say it, in the largest unit of which there are two."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"


def shown(text: str) -> str:
    """Return a text as it can be printed on one line: as it is, or as a Python literal."""
    return text if text.isprintable() else repr(text)


def from_error(subject: str, error: StorageError, *, before: str = "") -> Finding:
    """Return a finding that says what an error of this package says.

    Args:
        subject: of the finding.
        error: the error.
        before: what is put before its problem.
    """
    return Finding(subject, shown(before + error.problem), shown(error.remedy), error.path)
