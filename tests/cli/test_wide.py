"""A table on a terminal has a line for each row, however long a key is, and reads no more of it."""

import json
import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from rich.cells import cell_len

from lamson_sqlite_state import SQLiteStorage
from lamson_sqlite_state.cli._tables import shortened
from lamson_sqlite_state.keys.rows import format_key, format_state
from lamson_sqlite_state.maintenance import (
    CountExcerpt,
    Excerpt,
    Order,
    Selection,
    _counting,
    check,
    count_excerpts,
    count_states,
    excerpts,
    observe_excerpts,
    summary,
    summary_excerpts,
)
from lamson_sqlite_state.maintenance._excerpts import LONGEST_BYTES
from lamson_sqlite_state.sqlite.bulk import scan
from tests.helpers.commands import on_terminal, run_in_process
from tests.helpers.insides import connection_of

MODULE = "app.handlers.subscription"
LONG = "x" * 1_000_000
ORDERS: tuple[Order, ...] = ("sender", "since", "state")

LONG_KEYS: list[object] = [
    f"a{LONG}@example.com",
    f"b{LONG}@example.com",
    f"nul\0{LONG}@example.com",
    "\N{SNOWMAN}" * 400_000,
    f"\N{SNOWMAN}{LONG}\N{SNOWMAN}",
    b"\xff" + LONG.encode(),
    (LONG, None),
    f"bad\udcff{LONG}",
]
ODD_KEYS: list[object] = [
    "ann@example.com",
    f"{'b' * 100}@example.com",
    f"{'c' * 300}@example.com",
    "\x1b]0;title\x07\r\n\u202e\x9b\u2028" * 20,
    "漢字" * 60,
    "e\u0301" * 100,
    "\u0301" * 500,
    "\U0001f468\u200d\U0001f469" * 30,
    None,
]


@pytest.fixture
def store_path(path: str) -> str:
    with SQLiteStorage(path, synchronous="NORMAL") as store:
        for key in (*LONG_KEYS, *ODD_KEYS):
            store.set(MODULE, key, "CONFIRMING")
        store.set("m" * 300, "zoe@example.com", "S" * 300)
    return path


class TestExcerpts:
    def test_no_row_of_a_table_brings_more_of_a_key_than_its_ends(
        self, store_path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []

        def measure(module: Any, name: str) -> None:
            read = getattr(module, name)

            def measured(*arguments: Any) -> list[Any]:
                found: list[Any] = read(*arguments)
                sizes.extend(
                    len(value) for row in found for value in row if isinstance(value, str | bytes)
                )
                return found

            monkeypatch.setattr(module, name, measured)

        measure(scan, "read")
        measure(_counting, "_count_chunk")
        with SQLiteStorage(store_path) as store:
            store.set(LONG, None, LONG)
            store.set((LONG, 1), None, "S")
            for order in ORDERS:
                for is_reversed in (False, True):
                    found = list(excerpts(store, order=order, is_reversed=is_reversed))
                    assert len(found) == len(LONG_KEYS) + len(ODD_KEYS) + 3
            observe_excerpts(store, 0)
            summary_excerpts(store)
        assert max(sizes) <= LONGEST_BYTES

    def test_tells_both_ends_and_how_much_is_between(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            for key in LONG_KEYS:
                store.set("m", key, "S")
            found = {each.sender.begin[:3]: each.sender for each in excerpts(store)}
        for begin, size in {"axx": 1_000_013, "nul": 1_000_016, "b'\\": 1_000_007}.items():
            begun, end, left_out = found[begin]
            text = begun + end
            assert len(text.replace("\\x00", "\0")) + left_out == size
        assert found["axx"].end.endswith("x@example.com")
        assert found["nul"].end.endswith("x@example.com")
        snowmen = found["\N{SNOWMAN}" * 3]
        assert set(snowmen.begin + snowmen.end) == {"\N{SNOWMAN}"}
        shown = len((snowmen.begin + snowmen.end).encode())
        assert shown + snowmen.left_out_bytes == 1_200_000

    def test_is_whole_up_to_its_bound(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            for size in (LONGEST_BYTES, LONGEST_BYTES + 1):
                store.set("m", "x" * size, "S")
            whole, cut = (each.sender for each in excerpts(store))
        assert whole == Excerpt("x" * LONGEST_BYTES)
        assert cut.left_out_bytes == LONGEST_BYTES + 1 - len(cut.begin) - len(cut.end) > 0

    def test_counts_what_is_short_as_if_it_were_read_whole(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            for key in ODD_KEYS:
                store.set(key, "ann@example.com", "S")
                store.set(key, "bob@example.com", "odd\x9b")
            counts = count_states(store)
            assert count_excerpts(store) == tuple(
                CountExcerpt(
                    Excerpt(format_key(each.module)), Excerpt(format_state(each.state)), *each[2:]
                )
                for each in counts
            )
            selection = Selection(state="S")
            assert sum(each.pairs for each in count_excerpts(store, selection)) == len(ODD_KEYS)
            found = summary_excerpts(store)
            assert (found.pairs, found.oldest_ms) == (
                summary(store).pairs,
                min(each.oldest_ms for each in counts),
            )

    def test_counts_long_modules_and_states_apart_where_their_ends_or_lengths_differ(
        self, path: str
    ) -> None:
        modules = [f"{LONG}a", f"{LONG}b", f"a{LONG}", f"{LONG}xa", (LONG, 1), (LONG, 2)]
        with SQLiteStorage(path) as store:
            for module in modules:
                for sender in "ann", "bob":
                    store.set(module, sender, "S")
            store.set("m", "ann", LONG)
            found = count_excerpts(store)
        assert sorted(each.pairs for each in found) == [1, *(2 for _ in modules)]
        assert max(each.state.left_out_bytes for each in found) > 900_000

    def test_summary_has_no_table_of_all_senders_in_memory(self, store_path: str) -> None:
        """In the order of the key, SQLite only compares each sender with the one before it."""
        with SQLiteStorage(store_path) as store:
            store.get("m", "ann")
            connection = connection_of(store)
            assert connection is not None
            asked: list[str] = []
            connection.set_trace_callback(asked.append)
            assert summary(store).senders == len(LONG_KEYS) + len(ODD_KEYS) + 2
            connection.set_trace_callback(None)
            (sql,) = (each for each in asked if "DISTINCT" in each)
            program = [step[1] for step in connection.execute(f"EXPLAIN {sql}")]
        assert "OpenEphemeral" not in program
        assert "SorterOpen" not in program


class TestTable:
    @pytest.mark.parametrize("columns", [30, 40, 80, 200])
    @pytest.mark.parametrize("command", [["list"], ["watch", "--once"]], ids=lambda each: each[0])
    def test_has_one_line_for_each_row_and_none_is_too_wide(
        self, command: list[str], columns: int, store_path: str
    ) -> None:
        with on_terminal("--store", store_path, *command, COLUMNS=str(columns)) as terminal:
            assert terminal.wait() == 0
        lines = [line.rstrip() for line in terminal.text.splitlines()]
        assert max(map(cell_len, lines[-14:])) <= columns
        rule = max(number for number, line in enumerate(lines) if set(line) == {" ", "─"})
        rows = [line for line in lines[rule + 1 :] if line]
        is_list = command == ["list"]
        assert len(rows) == (len(LONG_KEYS) + len(ODD_KEYS) + 1 if is_list else 10)

    @pytest.mark.parametrize(
        "command",
        [["summary"], ["watch", "--once"], ["prune", "--older-than", "0s"]],
        ids=lambda each: each[0],
    )
    def test_counts_a_long_module_by_its_ends(self, command: list[str], path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set(f"a{LONG}", "ann@example.com", "S")
        with on_terminal("--store", path, *command, COLUMNS="80") as terminal:
            assert terminal.wait() == 0
        assert re.search(r" ax+…97[0-9.]+ KiB…x+ +S ", terminal.text)

    def test_shows_ordinary_addresses_whole_and_both_ends_of_long_ones(
        self, store_path: str
    ) -> None:
        with on_terminal("--store", store_path, "list", COLUMNS="80") as terminal:
            assert terminal.wait() == 0
        assert " ann@example.com " in terminal.text
        assert re.search(r" axxx+…97[0-9.]+ KiB…x*[a-z.]*.com ", terminal.text)

    def test_wide_json_and_a_pipe_give_the_whole(
        self, path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        whole = f"{'c' * 10_000}@example.com"
        with SQLiteStorage(path) as store:
            store.set(MODULE, whole, "CONFIRMING")
            store.set(MODULE, "ann@example.com", "CONFIRMING")
        with on_terminal("--store", path, "list", "--wide", COLUMNS="40") as terminal:
            assert terminal.wait() == 0
        assert terminal.text.count("\n") == 2
        assert f"{MODULE}     {whole}\r\n" in terminal.text
        ended = run_in_process(capfd, "--store", path, "list")
        assert f"{MODULE}\t{whole}\tCONFIRMING\t" in ended.out
        ended = run_in_process(capfd, "--store", path, "list", "--json")
        assert whole in [row["sender"] for row in json.loads(ended.out)]

    def test_limit_is_asked_of_the_database(
        self, store_path: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        read = scan.read

        def measured(*arguments: Any) -> list[Any]:
            found = read(*arguments)
            sizes.append(len(found))
            return found

        monkeypatch.setattr(scan, "read", measured)
        run_in_process(capfd, "--store", store_path, "list", "--limit", "2")
        assert sizes == [2]


class TestShortened:
    @pytest.mark.parametrize("key", [each for each in ODD_KEYS if isinstance(each, str)], ids=ascii)
    def test_fits_and_is_whole_where_there_is_room(self, key: str) -> None:
        for width in range(1, 60):
            shown = shortened(Excerpt(key), width)
            assert cell_len(shown) <= width
            assert shown == key or "…" in shown
        assert shortened(Excerpt(key), 10_000) == key

    def test_says_how_many_characters_are_left_out(self) -> None:
        assert shortened(Excerpt("a" * 50 + "b" * 50), 30) == f"{'a' * 15}…75…{'b' * 10}"
        assert shortened(Excerpt("a" * 50, "b" * 50, 10_485_760), 30) == (
            f"{'a' * 12}…10.0 MiB…{'b' * 8}"
        )


def test_a_finding_of_a_long_key_is_named_in_short_and_its_remedy_mends_it(path: str) -> None:
    with SQLiteStorage(path) as store:
        for key in LONG_KEYS[:3]:
            store.set("m", key, "S")
        store.set("m", f"a{LONG}@example.org", "S")
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.execute("UPDATE states SET state = '' WHERE sender NOT GLOB '*.org'")
        tool.commit()
        (finding,) = (each for each in check(path) if each.subject == "rows")
        assert len(finding.problem) < 1000
        assert len(finding.remedy) < 3000
        sql = finding.remedy[finding.remedy.index("DELETE") : -1].replace("'\"'\"'", "'")
        tool.execute(sql)
        assert tool.execute("SELECT count(*) FROM states").fetchone() == (1,)
