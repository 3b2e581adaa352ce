"""Opens an SQLite database by URI. No other module does, so that all are opened alike."""

from __future__ import annotations

import os
import sqlite3
from typing import TypeVar
from urllib.parse import quote

C = TypeVar("C", bound=sqlite3.Connection)


def connect(
    path: str,
    parameters: str,
    *,
    factory: type[C],
    timeout_seconds: float = 0,
) -> C:
    """Return a connection in autocommit mode that any thread may use, one after the other.

    The factory is called, because a tracing library may have replaced `sqlite3.connect`.

    Args:
        path: the file, which no parameter creates.
        parameters: of the URI, as ``mode=ro`` (https://www.sqlite.org/uri.html).
        factory: the class of the connection.
        timeout_seconds: for how long SQLite waits for a lock.

    Raises:
        sqlite3.Error: the file could not be opened.
    """
    return factory(
        f"file:{quote(os.fsencode(os.path.abspath(path)))}?{parameters}",
        uri=True,
        timeout=timeout_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
