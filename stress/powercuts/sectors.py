"""Writes and truncations, sector by sector: what can be on the disk of which.

A mask has a bit for each sector that an operation writes to, the first first; a truncation has one.
"""

from collections.abc import Iterator, Sequence

from .fates import SECTOR_BYTES, Fate
from .operations import Truncate, Write

__all__ = ["all_sectors", "apply", "masks_of", "size_after"]


def _first_sector(operation: Write) -> int:
    return operation.offset // SECTOR_BYTES


def _sectors(operation: Write | Truncate) -> int:
    if isinstance(operation, Truncate) or not operation.data:
        return 1
    end = operation.offset + len(operation.data)
    return -(-end // SECTOR_BYTES) - _first_sector(operation)


def all_sectors(operation: Write | Truncate) -> int:
    """Return the mask of an operation of which all is on the disk."""
    return int((1 << _sectors(operation)) - 1)


def masks_of(pending: Sequence[tuple[int, Write | Truncate]], fate: Fate) -> Iterator[int]:
    """Yield which sectors of each operation are on the disk, as bits."""
    old = 0  # sectors that were written, and are not on the disk as they were then
    for time, operation in pending:
        mask = fate.mask(time, _sectors(operation))
        if isinstance(operation, Truncate):
            if mask:
                old &= (1 << -(-operation.size // SECTOR_BYTES)) - 1
            else:
                # What was written behind it later is in blocks that the file does not have yet.
                old |= (-1) << (operation.size // SECTOR_BYTES)
            yield mask
        else:
            first = _first_sector(operation)
            mask &= ~(old >> first)
            old |= (all_sectors(operation) & ~mask) << first
            yield mask


def apply(content: bytearray, operation: Write | Truncate, mask: int = -1) -> None:
    """Do to a content what the mask says is on the disk of an operation; by default all of it."""
    if not mask:
        return
    if isinstance(operation, Truncate):
        del content[operation.size :]
        content.extend(bytes(operation.size - len(content)))
        return
    if mask == -1 or mask == all_sectors(operation):
        _write(content, operation.offset, operation.data)
        return
    sector = _first_sector(operation)
    end = operation.offset + len(operation.data)
    while mask:
        if mask & 1:
            start = max(sector * SECTOR_BYTES, operation.offset)
            stop = min((sector + 1) * SECTOR_BYTES, end)
            part = operation.data[start - operation.offset : stop - operation.offset]
            _write(content, start, part)
        mask >>= 1
        sector += 1


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def size_after(size: int, operation: Write | Truncate) -> int:
    """Return a file's size after an operation."""
    if isinstance(operation, Truncate):
        return operation.size
    return max(size, operation.offset + len(operation.data))
