"""strace's log of a workload, as operations on one directory.

What the log says of the directory and the model has no operation for is an error, never left out.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

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

__all__ = ["TRACED", "UnknownCall", "parse"]

# What changes a file, a name, or what a descriptor stands for; and what is on the disk.
TRACED: Final = (
    *("open openat openat2 creat close dup dup2 dup3 lseek mmap chdir fchdir".split()),
    *("write pwrite64 writev pwritev pwritev2 sendfile copy_file_range splice".split()),
    *("truncate ftruncate fallocate mkdir mkdirat rmdir unlink unlinkat".split()),
    *("rename renameat renameat2 link linkat symlink symlinkat mknod mknodat".split()),
    *("fsync fdatasync sync_file_range sync syncfs".split()),
)

_CALL: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (.*)")
_UNFINISHED: Final = re.compile(r"(\d+) +(\w+)\((.*?),? <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(?:, )?(.*)\) += (.*)")
_NO_CALL: Final = re.compile(r"\d+ +(?:---|\+\+\+) ")
_DESCRIPTOR: Final = re.compile(r"(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class UnknownCall(Exception):
    """The log holds something about the directory that the model does not know."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A system call that succeeded, with the lines where it began and ended."""

    began: int
    ended: int
    process: str
    name: str
    arguments: list[str]
    result: str

    @property
    def instant(self) -> int:
        """The line that the call stands at: each took effect between its two lines."""
        return self.ended if "sync" in self.name or self.only_opens else self.began

    @property
    def only_opens(self) -> bool:
        """Whether it is an open that changes nothing, so that its file is there when it returns."""
        flags = "|".join(self.arguments)
        return self.name in ("open", "openat") and not re.search("O_CREAT|O_TRUNC", flags)

    def __str__(self) -> str:
        arguments = ", ".join(argument[:80] for argument in self.arguments)
        return f"line {self.ended}: {self.name}({arguments}) = {self.result}"


@dataclass(slots=True)
class _Open:
    file: int
    position: int = 0


def parse(log: Iterable[str], directory: str, marks: str) -> list[Operation]:
    """Return the operations on a directory and the marks, in their order.

    What changes something stands where it was called, as it may be on the disk from then on;
    a sync stands where it returned, and so does an open that changes nothing: another process
    may have made the file while the open was at work. It may also have removed it meanwhile.

    Args:
        log: of ``strace -f -y -xx`` with `TRACED`, of processes with one thread each.
        directory: absolute; empty in the beginning, and on the disk.
        marks: path of the file that the workload writes its marks to.

    Raises:
        UnknownCall: there is something that the model does not know.
    """
    calls = list(_calls(log))
    calls.sort(key=lambda call: call.instant)
    reader = _Reader(directory, marks)
    for call in calls:
        reader.take(call)
    return reader.operations


def _calls(log: Iterable[str]) -> Iterator[_Call]:
    unfinished: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(log):
        line = line.rstrip("\n")
        if call := _CALL.fullmatch(line):
            process, name, arguments, result = call.groups()
            began = number
        elif call := _UNFINISHED.fullmatch(line):
            unfinished[call[1]] = (number, call[2], call[3])
            continue
        elif call := _RESUMED.fullmatch(line):
            process, rest, result = call.groups()
            began, name, arguments = unfinished.pop(process)
            arguments = ", ".join(filter(None, (arguments, rest)))
        elif _NO_CALL.match(line):
            continue
        else:
            raise UnknownCall(f"line {number} is no system call: {line[:200]}")
        if not result.startswith(("-", "?")):
            yield _Call(began, number, process, name, arguments.split(", "), result)
    # Whose process was killed in the middle of it may have been done, or not: nobody was told.
    for number, name, arguments in unfinished.values():
        raise UnknownCall(f"line {number}: {name}({arguments[:200]} never returned")


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


class _Reader:
    """Follows which name and which descriptor stands for which file."""

    def __init__(self, directory: str, marks: str) -> None:
        self.operations: list[Operation] = []
        self._directory = directory
        self._marks = marks
        self._names = {"": ROOT}
        self._removed: dict[str, tuple[int, int]] = {}
        self._directories = {ROOT}
        self._made = ROOT
        self._open: dict[tuple[str, str], _Open] = {}
        self._readers: dict[str, Callable[[_Call], None]] = {
            **dict.fromkeys(("open", "openat", "openat2", "creat"), self._opening),
            **dict.fromkeys(("mkdir", "mkdirat"), self._mkdir),
            **dict.fromkeys(("rename", "renameat", "renameat2"), self._rename),
            **dict.fromkeys(("unlink", "unlinkat", "rmdir"), self._remove),
            **dict.fromkeys(("write", "pwrite64"), self._write),
            **dict.fromkeys(("fsync", "fdatasync"), self._sync),
            "ftruncate": self._ftruncate,
            "lseek": self._lseek,
            "mmap": self._mmap,
            "close": self._close,
        }

    def take(self, call: _Call) -> None:
        """Add what a call did to the operations."""
        if call.name == "write" and self._is_mark(call.arguments[0]):
            self.operations.append(Mark(self._string(call, 1).decode()))
        elif call.name in ("chdir", "fchdir", "sync") or self._is_about_directory(call):
            reader = self._readers.get(call.name)
            if reader is None:
                raise UnknownCall(str(call))
            reader(call)

    def _is_mark(self, argument: str) -> bool:
        found = _DESCRIPTOR.fullmatch(argument)
        return found is not None and os.fsdecode(_unhex(found[2])) == self._marks

    def _is_about_directory(self, call: _Call) -> bool:
        return any(self._inside(path) is not None for path in self._paths(call)) or (
            (call.process, call.arguments[0].partition("<")[0]) in self._open
        )

    def _paths(self, call: _Call) -> Iterator[str]:
        """Yield the paths among the arguments. Relative ones are the caller's: it is in "/"."""
        base = "/"
        for argument in [*call.arguments, call.result]:
            if found := _DESCRIPTOR.match(argument):
                base = os.fsdecode(_unhex(found[2]))
                yield base
            elif "write" not in call.name and (found := _STRING.match(argument)):
                yield os.path.join(base, os.fsdecode(_unhex(found[1])))

    def _inside(self, path: str) -> str | None:
        if path == self._directory:
            return ""
        start = self._directory + "/"
        return path.removeprefix(start) if path.startswith(start) else None

    def _named(self, call: _Call, which: int = -1) -> str:
        """Return one of the paths that are no descriptor's."""
        base, found = "/", []
        for argument in call.arguments:
            if descriptor := _DESCRIPTOR.match(argument):
                base = os.fsdecode(_unhex(descriptor[2]))
            elif string := _STRING.match(argument):
                found.append(self._inside(os.path.join(base, os.fsdecode(_unhex(string[1])))))
        path = found[which]
        if path is None:
            raise UnknownCall(f"{call} reaches out of the directory")
        return path

    def _string(self, call: _Call, which: int) -> bytes:
        found = _STRING.fullmatch(call.arguments[which])
        if found is None:
            raise UnknownCall(f"{call} was cut short by strace")
        return _unhex(found[1])

    def _descriptor(self, call: _Call, which: int = 0) -> _Open:
        found = _DESCRIPTOR.match(call.arguments[which])
        if found is None:
            raise UnknownCall(str(call))
        number, hexed, deleted = found.groups()
        path = self._inside(os.fsdecode(_unhex(hexed)))
        known = self._open.get((call.process, number))
        if deleted is None and path is not None:
            named = self._names.get(path)
            if named is None or (known is not None and known.file != named):
                raise UnknownCall(f"{call}: another file than the model has there")
            if known is None:  # inherited from the process that forked this one
                known = self._open[call.process, number] = _Open(named)
        if known is None:
            raise UnknownCall(f"{call}: a file that lost its name, opened by nobody knows whom")
        return known

    def _make(self, call: _Call, path: str, *, is_directory: bool) -> int:
        self._made += 1
        self._names[path] = self._made
        if is_directory:
            self._directories.add(self._made)
        self.operations.append(Make(call.ended, self._made, path, is_directory))
        return self._made

    def _opening(self, call: _Call) -> None:
        path = self._named(call)
        flags = call.name + "|" + "|".join(call.arguments)
        if "O_TMPFILE" in flags or "O_APPEND" in flags or "openat2" in flags:
            raise UnknownCall(str(call))
        file = self._names.get(path)
        if file is None and call.only_opens:
            removal_ended, file = self._removed.get(path, (-1, ROOT))
            if removal_ended < call.began:
                raise UnknownCall(f"{call}: there is no such file in the model")
        elif file is None:
            file = self._make(call, path, is_directory=False)
        elif "O_TRUNC" in flags or call.name == "creat":
            self.operations.append(Truncate(call.ended, file, 0))
        self._open[call.process, call.result.partition("<")[0]] = _Open(file)

    def _mkdir(self, call: _Call) -> None:
        self._make(call, self._named(call), is_directory=True)

    def _rename(self, call: _Call) -> None:
        old, new = self._named(call, 0), self._named(call, 1)
        is_plain = call.name != "renameat2" or call.arguments[-1] in ("0", "RENAME_NOREPLACE")
        if not is_plain or self._names[old] in self._directories:
            raise UnknownCall(str(call))
        self._removed[old] = call.ended, self._names[old]
        self._names[new] = self._names.pop(old)
        self.operations.append(Rename(call.ended, old, new))

    def _remove(self, call: _Call) -> None:
        path = self._named(call)
        self._removed[path] = call.ended, self._names.pop(path)
        self.operations.append(Remove(call.ended, path))

    def _write(self, call: _Call) -> None:
        opened = self._descriptor(call)
        data = self._string(call, 1)[: int(call.result)]
        if call.name == "pwrite64":
            offset = int(call.arguments[3])
        else:
            offset = opened.position
            opened.position += len(data)
        self.operations.append(Write(call.ended, opened.file, offset, data))

    def _ftruncate(self, call: _Call) -> None:
        size = int(call.arguments[1])
        self.operations.append(Truncate(call.ended, self._descriptor(call).file, size))

    def _lseek(self, call: _Call) -> None:
        self._descriptor(call).position = int(call.result)

    def _sync(self, call: _Call) -> None:
        self.operations.append(Sync(call.began, self._descriptor(call).file))

    def _mmap(self, call: _Call) -> None:
        if "MAP_SHARED" in call.arguments[3] and "PROT_WRITE" in call.arguments[2]:
            self.operations.append(Map(self._descriptor(call, 4).file))

    def _close(self, call: _Call) -> None:
        self._open.pop((call.process, call.arguments[0].partition("<")[0]), None)
