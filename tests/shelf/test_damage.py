"""Damaged and hostile files end in an error or a refusal: no hang, no crash, no flood of memory."""

import os
import pickle
import sqlite3
import struct
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamson_sqlite_state import StorageError
from lamson_sqlite_state.errors import NotAShelf
from lamson_sqlite_state.shelf import Entry, Refused, Shelf
from tests.helpers.shelf_files import EVERY_SHELF, SHELVES, copied, read, write_dumb

STATE: Final = pickle.dumps("POSTING")

fuzzed = settings(
    deadline=None,  # the machine is shared; a hang is what pytest's own timeout is for
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def damages(draw: st.DrawFn) -> Any:
    """Return a function that damages a file's bytes: some changed, some moved, some missing."""
    changes = draw(
        st.lists(
            st.tuples(
                st.integers(0, 700) | st.integers(0),  # headers more often than by chance
                st.sampled_from([b"\0", b"\1", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 8, bytes(8)])
                | st.binary(min_size=1, max_size=8),
            ),
            max_size=5,
        )
    )
    kept = draw(st.none() | st.floats(0, 1))

    def damage(content: bytes) -> bytes:
        damaged = bytearray(content)
        for where, new in changes:
            at = where % len(content)
            damaged[at : at + len(new)] = new
        return bytes(damaged if kept is None else damaged[: int(len(content) * kept)])

    return damage


def judge(path: Path, size: int) -> None:
    """Demand that reading ends, in entries and refusals or in an error of ours."""
    found: list[Entry | Refused] = []
    said = ""
    try:
        with Shelf(path) as shelf:
            assert shelf.count is None or shelf.count <= size
            found.extend(shelf)
    except StorageError as error:
        said = str(error)
    assert "\n" not in said
    assert len(found) <= size
    for each in found:
        assert not isinstance(each, Refused) or (each.key + each.reason).isprintable()


@pytest.mark.parametrize(
    "name", [made.name for made in EVERY_SHELF if made.name not in ("gnu", "berkeley")]
)
class TestDamage:
    @fuzzed
    @given(damage=damages())
    def test_any_damage_ends_in_entries_refusals_or_an_error(
        self, name: str, damage: Any, tmp_path: Path
    ) -> None:
        (made,) = [made for made in EVERY_SHELF if made.name == name]
        content = damage((SHELVES / made.files[0]).read_bytes())
        (tmp_path / made.files[0]).write_bytes(content)
        judge(tmp_path / made.files[0], len(content) + 1)


@fuzzed
@given(damage=damages(), of_the_index=st.booleans())
def test_any_damage_to_a_dumb_shelf_ends_in_entries_refusals_or_an_error(
    damage: Any, of_the_index: bool, tmp_path: Path
) -> None:
    write_dumb(str(tmp_path / "dumb"), {f"[b'm', '{i}é']".encode(): STATE for i in range(30)})
    damaged = tmp_path / ("dumb.dir" if of_the_index else "dumb.dat")
    damaged.write_bytes(damage(damaged.read_bytes()))
    judge(tmp_path / "dumb", 30 * 100)


@pytest.mark.parametrize("made", EVERY_SHELF, ids=[made.name for made in EVERY_SHELF])
def test_a_file_cut_anywhere_is_damaged(made: Any, tmp_path: Path) -> None:
    path = Path(copied(made, tmp_path)).parent / made.files[0]
    size = path.stat().st_size
    for kept in (0.9, 0.5, 0.1, 0.01):
        os.truncate(path, int(size * kept))
        with pytest.raises(NotAShelf):
            read(path)


def test_a_tree_that_contains_itself_is_damaged(tmp_path: Path) -> None:
    """Of 4 levels, each page of which leads to the same page a hundred times: 10^8 rows."""
    with closing(sqlite3.connect(tmp_path / "states", isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("CREATE TABLE Dict (key BLOB NOT NULL, value BLOB NOT NULL)")
        connection.execute("INSERT INTO Dict VALUES (x'00', x'00')")
    content = bytearray((tmp_path / "states").read_bytes())
    leaf = len(content) // 512
    page = content[-512:]
    for level in range(4):  # the root becomes a page of pointers, and the last one the leaf
        below = leaf + level + 1 if level < 3 else leaf + 4
        pointers = bytes([5]) + struct.pack(">HHHB", 0, 60, 212, 0) + struct.pack(">I", below)
        cells = b"".join(struct.pack(">I", below) + b"\1" for _ in range(60))
        places = b"".join(struct.pack(">H", 212 + 5 * i) for i in range(60))
        made = (pointers + places).ljust(212, b"\0") + cells
        made = made.ljust(512, b"\0")
        if level == 0:
            content[-512:] = made
        else:
            content += made
    content += page
    struct.pack_into(">I", content, 28, len(content) // 512)
    (tmp_path / "states").write_bytes(content)
    with pytest.raises(NotAShelf, match="damaged"):
        read(tmp_path / "states")


def test_memory_does_not_grow_with_the_shelf(tmp_path: Path) -> None:
    """Twenty thousand entries, each with a state of its own, and an index of 10 MiB."""
    with open(tmp_path / "dumb.dir", "w") as index, open(tmp_path / "dumb.dat", "wb") as values:
        for i in range(20_000):
            key = f"[b'app.handlers.{'long' * 120}', 'user{i}@example.com']"
            value = pickle.dumps(f"STATE_{i}_{'long' * 40}")
            index.write(f"{key!r}, {(values.tell(), values.write(value))}\n")
    tracemalloc.start()
    try:
        with Shelf(tmp_path / "dumb") as shelf:
            assert sum(isinstance(each, Entry) for each in shelf) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
