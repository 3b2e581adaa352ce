"""A mark that tells at the cost of reading one byte whether this process is a forked copy.

Python's fork hooks do not see a fork by C code (uWSGI). So each call of a store asks whether the
process is still the one that the store belongs to. Linux can wipe a page of memory in the child of
each fork (MADV_WIPEONFORK), and reading that page takes an eighth of the time of getpid(2).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from typing import Final, TypeAlias

_MADV_WIPEONFORK: Final = 18  # linux/mman.h, from Linux 4.14 on; Python has no name for it

_pid = os.getpid()


class _AskedMark:
    """Asks the kernel for the process id each time, where the kernel wipes no page."""

    def __getitem__(self, _index: int) -> int:
        return is_own_process()


Mark: TypeAlias = "memoryview | _AskedMark"
"""Its first item is 0 in a process that was forked and not adopted yet."""


def _new_mark() -> Mark:
    if sys.platform == "linux":
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            page.madvise(-1)  # an emulator that takes any advice follows none (old QEMU)
        except OSError:
            with contextlib.suppress(OSError):
                page.madvise(_MADV_WIPEONFORK)
                page[0] = 1
                return memoryview(page)
    return _AskedMark()


MARK: Final[Mark] = _new_mark()
"""The mark of this process. 0 in a child, however the child was forked, until `adopt`."""

NO_PROCESS: Final[Mark] = memoryview(bytearray(1))
"""The mark of a store that no process may use any more: always 0."""


def is_own_process() -> bool:
    """Whether this process was adopted, asked of the kernel."""
    return _pid == os.getpid()


def adopt() -> None:
    """Set the mark for this process. Whatever depends on the old one is in order by now."""
    global _pid
    mark = MARK if isinstance(MARK, memoryview) else None
    _pid = os.getpid()
    if mark is not None:  # no call in between: a process that owns its id is not adopted again
        mark[0] = 1
