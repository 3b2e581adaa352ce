"""The mailing list in a directory of its own, where it may leave what it likes."""

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DemoError

SOURCE = Path(__file__).resolve().parent.parent


@contextmanager
def installed(keep: Path | None) -> Iterator[Path]:
    """Copy the application somewhere, work there, and remove it, unless it's to be kept.

    This process works in that directory in the meantime, since "run/states" and the like
    are relative paths.
    """
    before = os.getcwd()
    home = _own_directory(keep)
    try:
        for package in ("app", "config"):
            shutil.copytree(
                SOURCE / package, home / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        for directory in ("run", "logs"):
            (home / directory).mkdir()
        os.chdir(home)
        sys.path.insert(0, str(home))
        yield home
    finally:
        os.chdir(before)
        if str(home) in sys.path:
            sys.path.remove(str(home))
        if keep is None:
            shutil.rmtree(home)


def boot(relay_port: int) -> None:
    """Import config.boot, which makes the application ready to take mail."""
    settings = importlib.import_module("config.settings")
    settings.relay_config["port"] = relay_port
    importlib.import_module("config.boot")
    # The Router only logs a handler module that it can't import.
    missing = [name for name in settings.handlers if name not in sys.modules]
    if missing:
        raise DemoError(f"{missing[0]} can't be imported; use --keep DIR and see DIR/logs")


def _own_directory(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="mailing-list-"))
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise DemoError(f"{keep} is in use; give --keep a new or empty directory")
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()
