"""The faults that a soak throws at the store, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ._fault import NEVER, Fault
from .files import (
    DatabaseDeleted,
    DatabaseReplaced,
    DirectoryDeleted,
    LockFile,
    LogDeleted,
    VersionsDeleted,
    VersionsTruncated,
)
from .inside import Clock, Signals
from .other_tools import Edits, HeldLock, Housekeeping, OpenTransaction, Restore
from .processes import Crowd, ForkStorm, Kill, Multiprocessing, Orphan, ShortLived, Stop
from .shortages import Descriptors, FailingSyncs, FailingWrites, FullDisk

__all__ = ["FAULTS", "NEVER", "Calm", "Fault"]


class Calm(Fault):
    """No fault."""

    name = "calm"
    about = "nothing happens: what the others are compared with"
    is_alone = True
    is_even = True


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Calm(),
            Kill(),
            Stop(),
            ForkStorm(),
            Orphan(),
            ShortLived(),
            Multiprocessing(),
            Crowd(),
            Signals(),
            Clock(),
            LockFile(),
            VersionsDeleted(),
            VersionsTruncated(),
            LogDeleted(),
            DatabaseDeleted(),
            DirectoryDeleted(),
            DatabaseReplaced(),
            Restore(),
            Edits(),
            Housekeeping(),
            OpenTransaction(),
            HeldLock(),
            FullDisk(),
            Descriptors(),
            FailingSyncs(),
            FailingWrites(),
        )
    }
)
"""All of them, in the order in which a soak goes through them."""
