"""The model of a disk: what a power cut may leave, and what it may not."""

import itertools
import random
from pathlib import Path

from powercuts.disk import Disk
from powercuts.fates import Fate, fates
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

NOTHING = Fate("nothing")
NAMES = Fate("names", names=True)
A, B = b"a" * 512, b"b" * 512


def left(
    *operations: Operation, fate: Fate, heeds_directory_syncs: bool = True
) -> dict[str, bytes]:
    """Return the files after these operations and a cut."""
    disk = Disk({}, heeds_directory_syncs=heeds_directory_syncs)
    for operation in operations:
        disk.do(operation)
    return {path: content.bytes() for path, content in disk.after(fate).files.items()}


def ever_left(*operations: Operation) -> set[tuple[tuple[str, bytes], ...]]:
    """Return all that was left in some hundred cuts after these operations."""
    disk = Disk({})
    for operation in operations:
        disk.do(operation)
    return {
        tuple(sorted((path, each.bytes()) for path, each in disk.after(fate).files.items()))
        for fate in fates(disk.pending_times(), random.Random(1), 400)
    }


MADE = (Make(1, 1, "states"), Sync(2, ROOT))


def test_what_was_synced_is_there_whatever_happens() -> None:
    left_behind = ever_left(*MADE, Write(3, 1, 0, A), Sync(4, 1))
    assert left_behind == {(("states", A),)}


def test_what_was_not_synced_may_be_there_or_not() -> None:
    left_behind = ever_left(*MADE, Write(3, 1, 0, A))
    assert left_behind == {(("states", b""),), (("states", A),), (("states", bytes(512)),)}


def test_a_write_that_had_not_ended_when_the_sync_began_is_not_synced() -> None:
    overlapping = (*MADE, Write(5, 1, 0, A), Sync(4, 1))
    assert left(*overlapping, fate=NOTHING) == {"states": b""}


def test_a_write_is_torn_at_512_bytes() -> None:
    contents = {dict(each)["states"] for each in ever_left(*MADE, Write(3, 1, 0, A + B + A))}
    sectors = ((A, bytes(512)), (B, bytes(512)), (A, bytes(512)))
    whole = {b"".join(parts) for parts in itertools.product(*sectors)}
    assert contents <= {part[:size] for part in whole for size in (0, 512, 1024, 1536)}
    assert {A + B + A, A, bytes(512) + B, A + bytes(512) + A} <= contents


def test_a_sector_never_holds_a_second_write_without_the_first() -> None:
    twice = (*MADE, Write(3, 1, 0, b"header"), Write(4, 1, 6, b"data"))
    assert {dict(each)["states"] for each in ever_left(*twice)} <= {
        *(b"", b"header", b"headerdata", bytes(10), b"header" + bytes(4))
    }


def test_nothing_is_behind_the_end_of_a_file_that_was_not_cut_short() -> None:
    written = (*MADE, Write(3, 1, 0, A + A), Sync(4, 1))
    cut = (*written, Truncate(5, 1, 512), Write(6, 1, 512, B))
    assert {dict(each)["states"] for each in ever_left(*cut)} == {
        *(A + A, A, A + B, A + bytes(512))
    }


def test_what_was_cut_off_need_not_have_been_written() -> None:
    cut = (*MADE, Write(3, 1, 0, A + A), Truncate(4, 1, 0), Write(5, 1, 0, B))
    assert left(*cut, fate=Fate("all but the first", density=8, without=3)) == {"states": B}


def test_a_name_is_there_only_once_its_directory_was_synced() -> None:
    made = (Make(1, 1, "states"), Write(2, 1, 0, A), Sync(3, 1))
    assert left(*made, fate=NOTHING) == {}
    assert left(*made, Sync(4, ROOT), fate=NOTHING) == {"states": A}
    lying = left(*made, Sync(4, ROOT), fate=NOTHING, heeds_directory_syncs=False)
    assert lying == {}


def test_a_new_name_may_lead_to_an_empty_file() -> None:
    assert left(Make(1, 1, "states"), Write(2, 1, 0, A), fate=NAMES) == {"states": b""}


def test_a_renaming_is_one_change() -> None:
    both = (
        *(Make(1, 1, "states"), Write(2, 1, 0, A), Sync(3, 1)),
        *(Make(4, 2, "copy"), Write(5, 2, 0, B), Sync(6, 2), Sync(7, ROOT)),
    )
    assert ever_left(*both, Rename(8, "copy", "states")) == {
        (("copy", B), ("states", A)),
        (("states", B),),
    }


def test_names_are_changed_in_any_order_but_each_in_its_own() -> None:
    made = (*MADE, Make(3, 2, "log"), Sync(4, ROOT))
    removed = (*made, Remove(5, "log"), Remove(6, "states"), Make(7, 3, "states"))
    names = {frozenset(dict(each)) for each in ever_left(*removed)}
    assert names == {
        *(frozenset({"log", "states"}), frozenset({"states"}), frozenset({"log"}), frozenset()),
    }


def test_a_removed_file_that_is_still_open_takes_nothing_with_it() -> None:
    assert left(*MADE, Remove(3, "states"), Write(4, 1, 0, A), fate=NOTHING) == {"states": b""}
    everything = Fate.everything()
    assert left(*MADE, Remove(3, "states"), Write(4, 1, 0, A), fate=everything) == {}


def test_a_mapped_file_holds_anything() -> None:
    disk = Disk({"states-shm": [A, B]})
    for operation in (Make(1, 1, "states-shm"), Map(1), Sync(2, ROOT)):
        disk.do(operation)
    seen = {
        disk.after(Fate("", mapped=kind)).files["states-shm"].bytes()
        for kind in ("nothing", "zeros", "seen", *(f"seen {seed}" for seed in range(8)), "noise 1")
    }
    assert {b"", bytes(512), A, B} <= seen
    assert len(seen) == 5


def test_equal_directories_have_equal_keys_and_others_have_not() -> None:
    disk = Disk({})
    for operation in (*MADE, Write(3, 1, 0, A), Mark("called 0 0")):
        disk.do(operation)
    everything, nothing = Fate.everything(), NOTHING
    before = disk.after(everything).key
    assert disk.after(nothing).key != before
    disk.do(Sync(4, 1))
    assert disk.after(everything).key == disk.after(nothing).key == before


def test_the_same_seed_leaves_the_same(tmp_path: Path) -> None:
    disk = Disk({})
    for operation in (*MADE, Write(3, 1, 0, A * 20)):
        disk.do(operation)
    first, second = (list(fates(disk.pending_times(), random.Random(7), 9)) for _ in range(2))
    assert first == second
    assert [disk.after(fate).key for fate in first] == [disk.after(fate).key for fate in second]
    disk.after(Fate.everything()).write(str(tmp_path))
    assert (tmp_path / "states").read_bytes() == A * 20
