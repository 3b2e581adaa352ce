"""The exit statuses of ``lamson-state``, as its help documents them."""

from typing import Final

__all__ = ["DONE", "INTERRUPTED", "NOTHING", "PIPE_CLOSED", "UNUSABLE", "USAGE"]

DONE: Final = 0

NOTHING: Final = 1
"""Nothing matched, or there was a finding."""

USAGE: Final = 2
"""The command, or a file that was given to it, is not as it should be."""

UNUSABLE: Final = 3
"""The store could not be used."""

INTERRUPTED: Final = 130
"""As a shell reports a SIGINT."""

PIPE_CLOSED: Final = 141
"""As a shell reports a SIGPIPE."""
