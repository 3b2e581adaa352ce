"""A Redis server of our own, on a Unix socket, where the machine has the program."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["redis_server"]

_START_SECONDS = 10.0


@contextmanager
def redis_server(directory: str, *, synced: bool) -> Iterator[str | None]:
    """Run a server with an append-only file there, and yield its socket; None without a server.

    Args:
        directory: for its files.
        synced: whether each write is synced before it is answered, or once a second.
    """
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    # A socket's path is 107 bytes at most, and the directory's may be longer.
    own = tempfile.mkdtemp(prefix="redis-")
    socket = os.path.join(own, "redis.sock")
    settings = {
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "700",
        "dir": directory,
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always" if synced else "everysec",
        "auto-aof-rewrite-percentage": "0",
        "logfile": "redis.log",
    }
    arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
    process = subprocess.Popen(
        [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not os.path.exists(socket):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start; see redis.log in {directory}")
            time.sleep(0.01)
        yield socket
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(own)
