"""The commands that show and change states: what they do, and what they print."""

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.commands import Ended, on_terminal, run_in_process

Call = Callable[..., Ended]

DAY_MS = 86_400_000


@pytest.fixture
def lamson_state(path: str, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command, called for a store in which ann, bob and nobody are."""
    with SQLiteStorage(path) as store:
        store.set("app.news", "ann@example.com", "POSTING")
        store.set("app.talk", "ann@example.com", "ERROR")
        store.set("app.talk", "bob@example.com", "CONFIRMING")
        store.set("app.talk", None, "START")
    now_ms = time.time_ns() // 1_000_000
    with closing(sqlite3.connect(path)) as connection, connection:
        for state, days in (("ERROR", 1), ("CONFIRMING", 40), ("POSTING", 10), ("START", 100)):
            since = now_ms - days * DAY_MS
            connection.execute("UPDATE states SET since = ? WHERE state = ?", (since, state))
    return lambda *arguments: run_in_process(capfd, "--store", path, *arguments)


class TestSummary:
    def test_counts_senders_per_module_and_state(self, lamson_state: Call) -> None:
        cells = [cells for cells in lamson_state("summary").cells if cells[0] == "state"]
        assert [row[1:4] for row in cells] == [
            ["app.news", "POSTING", "1"],
            ["app.talk", "CONFIRMING", "1"],
            ["app.talk", "ERROR", "1"],
            ["app.talk", "START", "1"],
        ]

    def test_object_has_totals_files_version_and_limits(
        self, lamson_state: Call, path: str
    ) -> None:
        found = json.loads(lamson_state("summary", "--json").out)
        assert found["path"] == path
        assert (found["pairs"], found["senders"]) == (4, 3)
        assert found["oldest"] == min(each["oldest"] for each in found["states"])
        assert found["files"][path] > 0
        assert found["sqlite"] == sqlite3.sqlite_version
        assert isinstance(found["wal_reset_race"], bool)
        assert found["limits"]["timeout_seconds"] == 30.0

    def test_versions_with_the_race_are_warned_of(
        self, path: str, lamson_state: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with on_terminal("--store", path, "summary") as terminal:
            assert terminal.wait() == 0
        has_race = json.loads(lamson_state("summary", "--json").out)["wal_reset_race"]
        assert ("walresetbug" in terminal.text) == has_race
        assert re.search(r"4 pairs of 3 senders, the oldest since \d{4}-", terminal.text)


class TestList:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ([], ["app.news ann", "app.talk ann", "app.talk bob", "app.talk None"]),
            (["--module", "app.news"], ["app.news ann"]),
            (["--module", "*.t?lk", "--state", "ERROR"], ["app.talk ann"]),
            (["--sender", "ann@*"], ["app.news ann", "app.talk ann"]),
            (["--sender", "None"], ["app.talk None"]),
            (["--sender", "N*"], ["app.talk None"]),
            (["--older-than", "20d"], ["app.talk bob", "app.talk None"]),
            (["--newer-than", "1d1h"], ["app.talk ann"]),
            (["--older-than", "2d", "--newer-than", "6w"], ["app.news ann", "app.talk bob"]),
            (
                ["--sort", "since"],
                ["app.talk None", "app.talk bob", "app.news ann", "app.talk ann"],
            ),
            (["--sort", "since", "--reverse", "--limit", "1"], ["app.talk ann"]),
            (["--sort", "state", "--limit", "2"], ["app.talk bob", "app.talk ann"]),
            (["--limit", "0"], ["app.news ann", "app.talk ann", "app.talk bob", "app.talk None"]),
        ],
    )
    def test_rows_are_chosen_and_sorted(
        self, options: list[str], expected: list[str], lamson_state: Call
    ) -> None:
        ended = lamson_state("list", *options)
        assert ended.status == 0
        assert [f"{cells[0]} {cells[1].partition('@')[0]}" for cells in ended.cells] == expected

    def test_nothing_matched_is_status_1(self, lamson_state: Call) -> None:
        ended = lamson_state("list", "--state", "POSTED")
        assert ended == (1, "", "lamson-state: nothing matched\n")
        assert lamson_state("list", "--state", "POSTED", "--json")[:2] == (1, "[]\n")

    def test_array_has_one_form_of_a_row(self, lamson_state: Call) -> None:
        found = json.loads(lamson_state("list", "--json", "--module", "app.talk").out)
        assert [set(row) for row in found] == [{"module", "sender", "state", "since"}] * 3
        assert found[-1]["sender"] == {"literal": "None"}
        assert all(type(row["since"]) is int for row in found)

    def test_script_gets_all_and_a_person_a_thousand(self, path: str, lamson_state: Call) -> None:
        with SQLiteStorage(path, synchronous="NORMAL") as store:
            for number in range(1_100):
                store.get("app.many", f"person-{number}")
        assert len(lamson_state("list").cells) == 1_104
        assert len(json.loads(lamson_state("list", "--json").out)) == 1_104
        with on_terminal("--store", path, "list") as terminal:
            assert terminal.wait() == 0
        assert len(re.findall(r"\d{4}-\d\d-\d\d", terminal.text)) == 1_000
        assert "--limit 0 shows all" in terminal.text
        with on_terminal("--store", path, "list", "--limit", "0") as terminal:
            assert terminal.wait() == 0
        assert len(re.findall(r"\d{4}-\d\d-\d\d", terminal.text)) == 1_104


class TestGet:
    def test_script_gets_the_state_alone(self, lamson_state: Call) -> None:
        assert lamson_state("get", "app.news", "ann@example.com") == (0, "POSTING\n", "")

    def test_unknown_pair_is_status_1_and_stays_unknown(self, lamson_state: Call) -> None:
        for _ in range(2):
            ended = lamson_state("get", "app.news", "bob@example.com")
            assert ended.status == 1
            assert "unknown" in ended.err
            assert lamson_state("get", "app.news", "bob@example.com", "--json").out == "null\n"
        assert len(lamson_state("list").cells) == 4

    def test_literal_that_was_meant_as_text_is_pointed_out(
        self, path: str, lamson_state: Call
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("app.sms", "4711", "POSTING")
        ended = lamson_state("get", "app.sms", "4711")
        assert ended.status == 1
        assert "'4711'" in ended.err
        assert lamson_state("get", "app.sms", "'4711'").out == "POSTING\n"

    def test_keys_that_are_no_text_are_given_as_they_are_shown(
        self, path: str, lamson_state: Call
    ) -> None:
        keys = [None, b"raw", 7, ("a", None), "None", " ", "caf\udce9", "tab\t", ""]
        with SQLiteStorage(path) as store:
            for number, key in enumerate(keys):
                store.set("app.odd", key, f"S{number}")
        shown = {row[2]: row[1] for row in lamson_state("list", "--module", "app.odd").cells}
        assert len(set(shown.values())) == len(keys)
        for state, sender in shown.items():
            assert lamson_state("get", "app.odd", sender).out == f"{state}\n"
            assert len(lamson_state("list", "--sender", sender, "--state", state).cells) == 1
            assert lamson_state("forget", sender, "--module", "app.odd").status == 0


class TestChanges:
    def test_set_changes_one_pair(self, path: str, lamson_state: Call) -> None:
        with SQLiteStorage(path) as store:
            assert store.get("app.talk", "ann@example.com") == "ERROR"
            assert lamson_state("set", "app.talk", "ann@example.com", "POSTING").cells == [
                ["changed", "1"]
            ]
            assert store.get("app.talk", "ann@example.com") == "POSTING"
            assert store.get("app.talk", "bob@example.com") == "CONFIRMING"

    def test_set_all_changes_one_sender(self, path: str, lamson_state: Call) -> None:
        assert lamson_state("set-all", "ann@example.com", "BOUNCED").cells == [["matched", "2"]]
        assert lamson_state("set-all", "eve@example.com", "BOUNCED").status == 1
        with SQLiteStorage(path) as store:
            assert store.get("app.news", "ann@example.com") == "BOUNCED"
            assert store.get("app.talk", "ann@example.com") == "BOUNCED"

    def test_forgotten_sender_starts_anew(self, path: str, lamson_state: Call) -> None:
        with SQLiteStorage(path) as store:
            assert store.get("app.talk", "ann@example.com") == "ERROR"
            ended = lamson_state("forget", "ann@example.com", "--module", "app.talk")
            assert ended.cells == [["removed", "1"]]
            assert store.get("app.news", "ann@example.com") == "POSTING"
            assert lamson_state("forget", "ann@example.com").cells == [["removed", "1"]]
            assert store.get("app.news", "ann@example.com") == "START"
            assert lamson_state("forget", "eve@example.com").status == 1

    def test_renamed_state_keeps_its_time(self, lamson_state: Call) -> None:
        (before,) = lamson_state("list", "--state", "CONFIRMING").cells
        ended = lamson_state("rename-state", "app.talk", "CONFIRMING", "PENDING")
        assert ended.cells == [["renamed", "1"]]
        (after,) = lamson_state("list", "--state", "PENDING").cells
        assert after[:2] + after[3:] == before[:2] + before[3:]
        assert lamson_state("rename-state", "app.news", "CONFIRMING", "PENDING").status == 1

    def test_prune_passes_over_times_from_before_lamson_and_says_so(
        self, lamson_state: Call, path: str
    ) -> None:
        """While the clock stood at 1970, a worker may have set them a minute ago."""
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE states SET since = 60000 WHERE state = 'POSTING'")
        words = ("prune", "--older-than", "30d")
        for yes in ((), ("--yes",)):
            ended = lamson_state(*words, *yes)
            assert ended.status == 0
            assert "passed over 1 whose time is from before 2009" in ended.err
            assert "--before-2009" in ended.err
        assert lamson_state("get", "app.news", "ann@example.com").out == "POSTING\n"
        ended = lamson_state(*words, "--yes")
        assert ended.status == 1, "nothing else matches"
        assert "passed over 1" in ended.err
        ended = lamson_state("prune", "--state", "POSTING")
        assert (ended.status, ended.err) == (0, ""), "no age is asked for"
        ended = lamson_state(*words, "--before-2009", "--yes", "--json")
        found = json.loads(ended.out)
        assert (found["removed"], found["passed_over"], ended.err) == (1, 0, "")
        assert lamson_state(*words, "--before-2009").status == 1

    def test_prune_shows_first_and_removes_with_yes(self, lamson_state: Call) -> None:
        conditions = ["--older-than", "30d"]
        ended = lamson_state("prune", *conditions)
        assert ended.cells == [["matched", "2"], ["removed", "0"]]
        assert len(lamson_state("list").cells) == 4
        found = json.loads(lamson_state("prune", *conditions, "--yes", "--json").out)
        assert (found["matched"], found["removed"]) == (2, 2)
        assert {each["state"] for each in found["states"]} == {"CONFIRMING", "START"}
        assert len(lamson_state("list").cells) == 2
        assert lamson_state("prune", *conditions, "--yes").status == 1


class TestWatch:
    def test_once_prints_counts_rate_and_newest(self, lamson_state: Call) -> None:
        found = json.loads(lamson_state("watch", "--once", "--json").out)
        assert sum(each["pairs"] for each in found["states"]) == 4
        assert found["changes_per_second"] == 0
        assert found["newest"][0]["state"] == "ERROR"
        cells = lamson_state("watch", "--once").cells
        assert [row[0] for row in cells] == ["state"] * 4 + ["changes_per_second"] + ["newest"] * 4

    def test_live_screen_shows_changes_until_ctrl_c(self, path: str, lamson_state: Call) -> None:
        with (
            SQLiteStorage(path) as store,
            on_terminal("--store", path, "watch", "--interval", "0.1") as terminal,
        ):
            terminal.read_until(lambda screen: "4 pairs" in screen)
            store.set("app.talk", "cid@example.com", "ARRIVED")
            terminal.read_until(lambda screen: "5 pairs" in screen)
            terminal.read_until(lambda screen: "ARRIVED" in screen)
            terminal.type("\x03")
            assert terminal.wait() == 0
        assert "Traceback" not in terminal.screen

    def test_small_screen_shows_the_newest_besides_many_counts(self, path: str) -> None:
        """And no line is lost below the screen."""
        senders = [*(f"s{number}" for number in range(30)), "ann"]
        with SQLiteStorage(path) as store:
            for number, sender in enumerate(senders):
                store.set("app.talk", sender, f"STATE_{number % 30:02}")
        # Two pairs that were set in one millisecond would have no certain order.
        now_ms = time.time_ns() // 1_000_000
        since = [(now_ms - 100 + number, sender) for number, sender in enumerate(senders)]
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany("UPDATE states SET since = ? WHERE sender = ?", since)
        with on_terminal(
            "--store", path, "watch", COLUMNS="80", LINES="24", TERM="xterm"
        ) as terminal:
            terminal.read_until(lambda screen: "and 21 more" in screen)
            terminal.read_until(lambda screen: "STATE_28" in screen)
            terminal.type("\x03")
            assert terminal.wait() == 0
        shown = terminal.text
        assert "31 pairs" in shown
        assert "STATE_08" in shown
        assert "ann" in shown

    def test_store_that_goes_away_is_an_error_in_one_line(
        self, path: str, lamson_state: Call
    ) -> None:
        import shutil
        from pathlib import Path

        with on_terminal("--store", path, "watch", "--interval", "0.1") as terminal:
            terminal.read_until(lambda screen: "4 pairs" in screen)
            shutil.rmtree(Path(path).parent)
            assert terminal.wait() == 3
        assert f"lamson-state: {path}: no such file" in terminal.text
        assert "Traceback" not in terminal.screen
        assert not Path(path).parent.exists()


class TestCheck:
    def test_finding_has_its_remedy_and_makes_the_status_1(
        self, path: str, lamson_state: Call
    ) -> None:
        assert lamson_state("check") == (0, "", "")
        assert json.loads(lamson_state("check", "--json").out) == []
        os.chmod(path, 0o604)
        ended = lamson_state("check")
        assert ended.status == 1
        (cells,) = ended.cells
        assert cells[:2] == ["permissions", path]
        assert "chmod" in cells[3]
        (found,) = json.loads(lamson_state("check", "--json").out)
        assert found == {
            "subject": cells[0],
            "path": cells[1],
            "problem": cells[2],
            "remedy": cells[3],
        }

    def test_remedy_can_be_copied_from_a_narrow_terminal(
        self, path: str, lamson_state: Call
    ) -> None:
        os.chmod(path, 0o604)
        ((_, _, _, remedy),) = lamson_state("check").cells
        with on_terminal("--store", path, "check", COLUMNS="20") as terminal:
            assert terminal.wait() == 1
        assert f"    {remedy}\r\n" in terminal.text

    def test_sound_store_is_said_to_be(self, path: str, lamson_state: Call) -> None:
        assert lamson_state("check").out == ""
        with on_terminal("--store", path, "check") as terminal:
            assert terminal.wait() == 0
        assert terminal.text == "All is well.\r\n"
