"""The model of a disk: what a power cut may leave of the operations so far.

What was synced is there. Of what was not, all, nothing or any part may be there:

- A file's content: each 512-byte sector by itself, in some state that the page cache had it in
  since the last sync. (A sector that holds the second of two writes to it holds the first, too.)
  Where the file has grown, the new part may be there as zeros only. A file that was not cut
  short was not written behind the cut either.
- A directory's names: each by itself, in their order. A renaming is one change: there is no moment
  with both names or none. Names and contents are independent: a new name may lead to an
  empty file. An fsync of a new file does not bring its name to the disk. (POSIX promises no
  more. Journals, as ext4's, keep the order of all names; these cuts are tried as well.)
- A file that was mapped to be written holds anything: nothing, zeros, what was seen in it, noise.

Not modelled: disks that lose what was synced, or garble sectors that nobody was writing.
"""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from .fates import Fate
from .operations import (
    ROOT,
    Make,
    Map,
    Mark,
    Operation,
    Remove,
    Rename,
    Sync,
    Truncate,
    Write,
)
from .sectors import all_sectors, apply, masks_of, size_after

__all__ = ["Disk", "Key", "Remains"]

Key: TypeAlias = tuple[tuple[str, object], ...]
"""Tells what a cut has left from what others have."""

_PAGE_BYTES: Final = 4096


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    generation: int = 0
    """How many changes are in `durable`."""
    pending: list[tuple[int, Write | Truncate]] = field(default_factory=list)
    is_mapped: bool = False


@dataclass
class _Directory:
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[tuple[int, int, dict[str, int | None]]] = field(default_factory=list)
    """When each began and ended, and the names it changed, all at one instant."""


@dataclass(frozen=True)
class Remains:
    """What a cut has left.

    Args:
        key: equal to another's where the directories are equal.
        directories: paths relative to the recorded directory, parents first.
        files: likewise, with what says how to make their contents.
    """

    key: Key
    directories: Sequence[str]
    files: Mapping[str, "_Content"]

    def write(self, directory: str) -> None:
        """Write it into an empty directory."""
        for path in self.directories:
            os.mkdir(os.path.join(directory, path))
        for path, content in self.files.items():
            descriptor = os.open(os.path.join(directory, path), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, content.bytes())
            finally:
                os.close(descriptor)


class Disk:
    """A disk with one empty directory.

    Args:
        sightings: what was seen, by whoever looked, in the files that are mapped; by their path.
        heeds_directory_syncs: False: it forgets to sync names. For showing that they matter.
    """

    def __init__(
        self, sightings: Mapping[str, Sequence[bytes]], *, heeds_directory_syncs: bool = True
    ) -> None:
        self._sightings = sightings
        self._heeds_directory_syncs = heeds_directory_syncs
        self._time = 0
        self._files: dict[int, _File] = {}
        self._directories = {ROOT: _Directory()}
        self._live: dict[str, int] = {"": ROOT}

    @property
    def time(self) -> int:
        """How many operations there were."""
        return self._time

    def do(self, operation: Operation) -> None:
        """Do the next operation."""
        self._time += 1
        match operation:
            case Make(ended, file, path, is_directory):
                if is_directory:
                    self._directories[file] = _Directory()
                else:
                    self._files[file] = _File()
                self._live[path] = file
                self._change_names(ended, {path: file})
            case Rename(ended, old, new):
                file = self._live[new] = self._live.pop(old)
                self._change_names(ended, {old: None, new: file})
            case Remove(ended, path):
                del self._live[path]
                self._change_names(ended, {path: None})
            case Write(_, number) | Truncate(_, number):
                self._files[number].pending.append((self._time, operation))
            case Sync(began, number) if number in self._files:
                self._sync(self._files[number], began)
            case Sync(began, number) if self._heeds_directory_syncs:
                directory = self._directories[number]
                while directory.pending and directory.pending[0][1] < began:
                    _rename(directory.durable, directory.pending.pop(0)[2])
            case Map(number):
                self._files[number].is_mapped = True
            case Sync() | Mark():
                pass

    def after(self, fate: Fate) -> Remains:
        """Return what a cut at this moment leaves that is decided like this."""
        directories: list[str] = []
        files: dict[str, _Content] = {}
        waiting = [("", ROOT)]
        while waiting:
            path, number = waiting.pop()
            for name, child in self._names(self._directories[number], fate).items():
                child_path = f"{path}/{name}" if path else name
                if child in self._directories:
                    directories.append(child_path)
                    waiting.append((child_path, child))
                else:
                    files[child_path] = self._content(child, child_path, fate)
        key: list[tuple[str, object]] = [(path, None) for path in directories]
        key += [(path, content.key) for path, content in files.items()]
        return Remains(tuple(sorted(key, key=lambda item: item[0])), directories, files)

    def contents(self) -> dict[str, bytes | None]:
        """Return what is in the live directory; None for what was mapped, which nobody knows."""
        everything = Fate.everything()
        return {
            path: None if content.is_mapped else content.bytes()
            for path, content in self.after(everything).files.items()
        }

    def pending_times(self) -> list[int]:
        """Return when all the operations were done that a cut may undo."""
        files = (time for file in self._files.values() for time, _ in file.pending)
        names = (time for each in self._directories.values() for time, _, _ in each.pending)
        return sorted((*files, *names))

    def _change_names(self, ended: int, changes: dict[str, int | None]) -> None:
        (parent,) = {os.path.dirname(path) for path in changes}  # moved elsewhere: no such model
        names = {os.path.basename(path): file for path, file in changes.items()}
        self._directories[self._live[parent]].pending.append((self._time, ended, names))

    def _sync(self, file: _File, began: int) -> None:
        done = 0
        for _, operation in file.pending:
            if operation.ended >= began:
                break
            apply(file.durable, operation)
            done += 1
        file.generation += done
        del file.pending[:done]

    def _names(self, directory: _Directory, fate: Fate) -> dict[str, int]:
        names = dict(directory.durable)
        undone: set[str] = set()
        for time, _, changes in directory.pending:
            if undone.isdisjoint(changes) and fate.mask(time, 1, is_name=True):
                _rename(names, changes)
            else:
                undone.update(changes)
        return names

    def _content(self, number: int, path: str, fate: Fate) -> "_Content":
        file = self._files[number]
        if file.is_mapped:
            return _Content(file, (number, fate.mapped), [], self._seen(path, fate.mapped))
        masks = list(masks_of(file.pending, fate))
        whole = 0
        for (_, operation), mask in zip(file.pending, masks, strict=True):
            if mask != all_sectors(operation):
                break
            whole += 1
        rest = masks[whole:]
        grows = bool(rest) and fate.grows
        while rest and not rest[-1]:
            rest.pop()
        choice = (number, file.generation + whole, tuple(rest), grows)
        return _Content(file, choice, masks[: whole + len(rest)], None, grows=grows)

    def _seen(self, path: str, mapped: str) -> bytes:
        sightings = self._sightings.get(path) or [bytes(32 * 1024)]
        kind, _, seed = mapped.partition(" ")
        rng = random.Random(seed)
        if kind == "nothing":
            return b""
        if kind == "zeros":
            return bytes(len(sightings[-1]))
        if kind == "seen":
            return rng.choice(sightings) if seed else sightings[-1]
        pages = (
            rng.choice(
                (bytes(_PAGE_BYTES), b"\xff" * _PAGE_BYTES, rng.randbytes(_PAGE_BYTES), None)
            )
            or rng.choice(sightings)[start : start + _PAGE_BYTES]
            for start in range(0, len(sightings[-1]), _PAGE_BYTES)
        )
        return b"".join(pages)


@dataclass(frozen=True)
class _Content:
    file: _File
    key: object
    masks: Sequence[int]
    seen: bytes | None
    grows: bool = False

    @property
    def is_mapped(self) -> bool:
        return self.seen is not None

    def bytes(self) -> bytes:
        """Make the content. Only before the disk does its next operation."""
        if self.seen is not None:
            return self.seen
        content = bytearray(self.file.durable)
        for (_, operation), mask in zip(self.file.pending, self.masks, strict=False):
            apply(content, operation, mask)
        if self.grows:
            size = len(content)
            for _, operation in self.file.pending:
                size = size_after(size, operation)
            content.extend(bytes(max(0, size - len(content))))
        return bytes(content)


def _rename(names: dict[str, int], changes: Mapping[str, int | None]) -> None:
    for name, file in changes.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file
