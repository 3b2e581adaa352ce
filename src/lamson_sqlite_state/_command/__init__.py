"""The commands of ``lamson-state``: they parse arguments, and print what comes of it."""

from ._group import run
from ._session import PipeClosed

__all__ = ["PipeClosed", "run"]
