"""Writes command lines that one can copy from an error or a finding of a check into a shell."""

from __future__ import annotations

import os


def command(*words: str) -> str:
    """Return a command line for a POSIX shell; for bash, if a word holds unprintable bytes."""
    import shlex  # here, because the import is costly, and only errors and findings need it

    return " ".join(
        shlex.quote(word)
        if word.isprintable()
        else "$'" + "".join(f"\\x{byte:02x}" for byte in os.fsencode(word)) + "'"
        for word in words
    )
