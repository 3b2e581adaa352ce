"""strace's log of a workload, read: what is understood, and that nothing else is passed over."""

import pytest

from powercuts.operations import (
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
from powercuts.strace_log import UnknownCall, parse


def hexed(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def named(path: str) -> str:
    return f'"{hexed(path)}"'


def opened(number: int, path: str) -> str:
    return f"{number}<{hexed(path)}>"


CWD = f"AT_FDCWD<{hexed('/')}>"
STATES = opened(3, "/d/states")
DATA = named("data")
CREATE = f"7 openat({CWD}, {named('/d/states')}, O_RDWR|O_CREAT|O_CLOEXEC, 0600) = {STATES}"
OPEN = f"7 openat({CWD}, {named('/d/states')}, O_RDWR|O_CLOEXEC) = {STATES}"


def operations(*lines: str) -> list[Operation]:
    return parse(lines, "/d", "/marks")


def test_each_call_is_understood() -> None:
    directory = opened(4, "/d")
    assert operations(
        CREATE,
        f"7 write({STATES}, {DATA}, 4) = 4",
        f"7 write({STATES}, {DATA}, 4) = 2",
        f"7 pwrite64({STATES}, {DATA}, 4, 100) = 4",
        f"7 ftruncate({STATES}, 50)           = 0",
        f"7 fdatasync({STATES}) = 0",
        f"7 mmap(NULL, 32768, PROT_READ|PROT_WRITE, MAP_SHARED, {STATES}, 0) = 0x7fb2",
        f"7 rename({named('/d/states')}, {named('/d/other')}) = 0",
        f"7 openat({CWD}, {named('/d')}, O_RDONLY|O_CLOEXEC) = {directory}",
        f"7 fsync({directory}) = 0",
        f"7 unlink({named('/d/other')}) = 0",
        f"7 write(9<{hexed('/marks')}>, {named('acked 0 1')}, 9) = 9",
    ) == [
        Make(0, 1, "states"),
        *(Write(1, 1, 0, b"data"), Write(2, 1, 4, b"da"), Write(3, 1, 100, b"data")),
        *(Truncate(4, 1, 50), Sync(5, 1), Map(1), Rename(7, "states", "other")),
        *(Sync(9, ROOT), Remove(10, "other"), Mark("acked 0 1")),
    ]


def test_a_write_counts_from_its_call_on_and_a_sync_from_its_return() -> None:
    other = opened(5, "/d/states")
    assert operations(
        CREATE,
        f"8 openat({CWD}, {named('/d/states')}, O_RDWR) = {other}",
        f"7 fdatasync({STATES} <unfinished ...>",
        f"8 pwrite64({other}, {DATA}, 4, 0 <unfinished ...>",
        "7 <... fdatasync resumed>) = 0",
        "8 <... pwrite64 resumed>) = 4",
    ) == [Make(0, 1, "states"), Write(5, 1, 0, b"data"), Sync(2, 1)]


OTHER_OPEN = f"8 openat({CWD}, {named('/d/states')}, O_RDWR|O_CLOEXEC"


def test_a_file_that_another_process_removes_meanwhile_was_there_to_be_opened() -> None:
    """Of two calls at once, the log has the beginnings in order, not the effects."""
    for removal, change in (
        (f"unlink({named('/d/states')}", Remove(3, "states")),
        (f"rename({named('/d/states')}, {named('/d/other')}", Rename(3, "states", "other")),
    ):
        assert operations(
            CREATE,
            f"7 {removal} <unfinished ...>",
            f"{OTHER_OPEN}) = {opened(5, '/d/states')}",
            f"7 <... {removal.partition('(')[0]} resumed>) = 0",
            f"8 close({opened(5, '/d/states')}) = 0",
        ) == [Make(0, 1, "states"), change]


def test_a_file_that_another_process_makes_meanwhile_is_there_to_be_opened() -> None:
    assert operations(
        f"{OTHER_OPEN} <unfinished ...>",
        CREATE,
        f"8 <... openat resumed>) = {opened(5, '/d/states')}",
        f"8 pwrite64({opened(5, '/d/states')}, {DATA}, 4, 0) = 4",
    ) == [Make(1, 1, "states"), Write(3, 1, 0, b"data")]


def test_a_file_that_was_removed_before_cannot_be_opened() -> None:
    with pytest.raises(UnknownCall, match="no such file"):
        operations(
            CREATE,
            f"7 unlink({named('/d/states')}) = 0",
            f"{OTHER_OPEN}) = {opened(5, '/d/states')}",
        )


def test_what_failed_or_lies_elsewhere_is_nothing() -> None:
    elsewhere = opened(3, "/elsewhere")
    assert not operations(
        f"7 openat({CWD}, {named('/d/states')}, O_RDWR) = -1 ENOENT (No such file or directory)",
        f"7 openat({CWD}, {named('/elsewhere')}, O_RDWR|O_CREAT, 0600) = {elsewhere}",
        f"7 write({elsewhere}, {DATA}, 4) = 4",
        f"7 write({elsewhere}, {named('/d/states')}, 9) = 9",
        f"7 close({elsewhere}) = 0",
        "7 --- SIGCHLD {si_signo=SIGCHLD} ---",
        "7 +++ exited with 0 +++",
    )


def test_a_file_without_a_name_is_known_by_its_descriptor() -> None:
    gone = f"{STATES}(deleted)"
    assert operations(
        CREATE, f"7 unlink({named('/d/states')}) = 0", f"7 pwrite64({gone}, {DATA}, 4, 0) = 4"
    )[-1] == Write(2, 1, 0, b"data")
    with pytest.raises(UnknownCall, match="lost its name"):
        operations(
            CREATE, f"7 unlink({named('/d/states')}) = 0", f"8 pwrite64({gone}, {DATA}, 4, 0) = 4"
        )


@pytest.mark.parametrize(
    "line",
    [
        f"7 link({named('/d/states')}, {named('/d/again')}) = 0",
        f"7 fallocate({STATES}, 0, 0, 4096) = 0",
        f"7 pwritev({STATES}, [], 1, 0) = 4",
        f"7 sendfile({STATES}, {opened(4, '/elsewhere')}, NULL, 10) = 10",
        f"7 sync_file_range({STATES}, 0, 0, SYNC_FILE_RANGE_WRITE) = 0",
        f"7 dup({STATES}) = {opened(4, '/d/states')}",
        f"7 rename({named('/d/states')}, {named('/elsewhere')}) = 0",
        f"7 renameat2({CWD}, {named('/d/states')}, {CWD}, {named('/d/b')}, RENAME_EXCHANGE) = 0",
        f"7 openat({CWD}, {named('/d/states')}, O_RDWR|O_APPEND) = {opened(4, '/d/states')}",
        f"7 openat({CWD}, {named('/d/unheard-of')}, O_RDWR) = {opened(4, '/d/unheard-of')}",
        f'7 pwrite64({STATES}, "{hexed("da")}"..., 4, 0) = 4',
        f"7 chdir({named('/d')}) = 0",
        "7 sync() = 0",
        f"7 fdatasync({STATES} <unfinished ...>",
        "7 what is this",
    ],
    ids=lambda line: line.split("(")[0],
)
def test_what_the_model_does_not_know_is_an_error(line: str) -> None:
    with pytest.raises(UnknownCall):
        operations(CREATE, line)
