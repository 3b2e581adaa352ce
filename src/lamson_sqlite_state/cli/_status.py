"""The exit statuses of ``lamson-state``. Its help and its page in the docs explain each."""

import signal
from typing import Final

DONE: Final = 0
"""All went well."""

NOTHING: Final = 1
"""Nothing matched, or there is a finding."""

USAGE: Final = 2
"""The command, or a file given to it, is not as it should be."""

UNUSABLE: Final = 3
"""The store could not be used."""


def of_signal(number: int) -> int:
    """Return the status that a shell reports for a program ended by this signal."""
    return 128 + number


INTERRUPTED: Final = of_signal(signal.SIGINT)
PIPE_CLOSED: Final = of_signal(signal.SIGPIPE)
