"""What the driver raises."""


class DemoError(Exception):
    """The demo can't go on; the message says why and, where there is one, names the remedy."""


class RefusedError(DemoError):
    """The list's mail server did not take a mail."""
