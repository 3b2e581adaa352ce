"""Commands that are to be copied into a shell: in errors, and in what a check finds."""

import os


def command(*words: str) -> str:
    """Return a command line for a POSIX shell, or for bash where a name holds odd bytes."""
    import shlex  # costly to import, and needed only where something is wrong

    return " ".join(
        shlex.quote(word)
        if word.isprintable()
        else "$'" + "".join(f"\\x{byte:02x}" for byte in os.fsencode(word)) + "'"
        for word in words
    )
