"""Mistakes that people make with the command, and what the command must not do then."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import click
import pytest

from lamson_sqlite_state import SQLiteStorage, maintenance
from lamson_sqlite_state.cli._group import lamson_state
from lamson_sqlite_state.keys.rows import format_state
from lamson_sqlite_state.maintenance import Selection, check
from tests.helpers.bulk import raw_rows
from tests.helpers.commands import on_terminal, run_in_process


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "states")
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
    return path


class TestNumbers:
    @pytest.mark.parametrize("option", ["--older-than", "--newer-than"])
    def test_age_beyond_all_times_is_refused(
        self, option: str, path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ended = run_in_process(capfd, "--store", path, "list", option, f"{10**20}d")
        assert (ended.status, ended.err.count("\n")) == (2, 1)

    def test_age_of_ten_thousand_years_is_an_age(
        self, path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert run_in_process(capfd, "--store", path, "list", "--newer-than", "3650000d").cells

    @pytest.mark.parametrize("order", ["sender", "since"])
    def test_limit_beyond_all_numbers_is_none(
        self, order: str, path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        words = ("list", "--limit", str(10**20), "--sort", order)
        assert len(run_in_process(capfd, "--store", path, *words).cells) == 1

    @pytest.mark.parametrize(
        "words", [("--timeout", "nan", "summary"), ("watch", "--interval=nan")]
    )
    def test_nan_is_no_number_of_seconds(
        self, words: tuple[str, ...], path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ended = run_in_process(capfd, "--store", path, *words)
        assert (ended.status, ended.err.count("\n")) == (2, 1)

    @pytest.mark.parametrize("command", ["summary", "check"])
    def test_memory_is_no_store(self, command: str, capfd: pytest.CaptureFixture[str]) -> None:
        ended = run_in_process(capfd, "--store", ":memory:", command)
        assert (ended.status, ended.err.count("\n")) == (2, 1)


class TestStates:
    @pytest.mark.parametrize("state", ["=x", "'q'", "-y", " sp", "a\tb", "\x1b[2J", "é", "None"])
    def test_state_is_given_as_it_is_shown(
        self, state: str, path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "bob", state)
            shown = format_state(state)
            ended = run_in_process(capfd, "--store", path, "get", "m", "bob")
            assert ended.out == f"{shown}\n"
            ended = run_in_process(capfd, "--store", path, "list", f"--state={shown}")
            assert ended.cells[0][:3] == ["m", "bob", shown]
            run_in_process(capfd, "--store", path, "set", "--", "m", "ann", shown)
            assert store.get("m", "ann") == state

    @pytest.mark.parametrize(
        "words", [("set", "m", "ann"), ("set-all", "ann"), ("rename-state", "m", "A1")]
    )
    def test_no_command_makes_a_state_that_check_complains_of(
        self, words: tuple[str, ...], path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for empty in ("", "''"):
            ended = run_in_process(capfd, "--store", path, *words, empty)
            assert (ended.status, ended.err.count("\n")) == (2, 1)
        assert [row[2] for row in raw_rows(path)] == ["A1"]


class TestExportTo:
    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock", ".versions"])
    def test_the_store_is_refused(
        self, suffix: str, path: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        before = raw_rows(path)
        ended = run_in_process(capfd, "--store", path, "export", "--force", path + suffix)
        assert (ended.status, ended.err.count("\n")) == (2, 1)
        assert raw_rows(path) == before

    def test_the_store_by_another_name_is_refused(
        self, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        link = tmp_path / "link"
        link.symlink_to(path)
        for store, target in ((path, str(link)), (str(link), path)):
            assert run_in_process(capfd, "--store", store, "export", "--force", target).status == 2
        assert len(raw_rows(path)) == 1

    def test_a_device_writes_into_it(self, path: str, capfd: pytest.CaptureFixture[str]) -> None:
        """Root could otherwise put a file in the place of /dev/null."""
        before = os.stat("/dev/null")
        for force in ([], ["--force"]):
            assert run_in_process(capfd, "--store", path, "export", "/dev/null", *force).status == 0
        after = os.stat("/dev/null")
        assert stat.S_ISCHR(after.st_mode)
        assert after.st_ino == before.st_ino

    def test_a_link_replaces_the_link_and_not_what_it_leads_to(
        self, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Another user may have put the link there."""
        (tmp_path / "precious").write_text("mine")
        for leads_to in ("precious", "nowhere"):
            (tmp_path / "link").symlink_to(tmp_path / leads_to)
            words = ("export", str(tmp_path / "link"))
            assert run_in_process(capfd, "--store", path, *words).status == 2
            assert run_in_process(capfd, "--store", path, *words, "--force").status == 0
            assert not (tmp_path / "link").is_symlink()
            assert (tmp_path / "link").read_text().count("\n") == 1
            (tmp_path / "link").unlink()
        assert (tmp_path / "precious").read_text() == "mine"
        assert "nowhere" not in os.listdir(tmp_path)

    def test_a_directory_is_refused(
        self, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ended = run_in_process(capfd, "--store", path, "export", "--force", str(tmp_path))
        assert (ended.status, ended.err.count("\n")) == (2, 1)


class TestMistypedPath:
    def test_shelf_that_is_none_makes_no_store(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        words = ("import-shelve", "--create", str(tmp_path / "nosuch"))
        assert run_in_process(capfd, "--store", str(tmp_path / "new"), *words).status == 2
        assert os.listdir(tmp_path) == []

    def test_check_says_nothing_of_how_another_file_is_to_be_kept(self, tmp_path: Path) -> None:
        """`chmod o-rwx /etc/passwd` would be a remedy to remember."""
        other = tmp_path / "passwd"
        other.write_text("root:x:0:0:root:/root:/bin/bash\n" * 100)
        other.chmod(0o644)
        (found,) = check(other)
        assert (found.subject, found.path) == ("integrity", str(other))


def test_a_path_is_judged_by_who_opens_it_and_not_by_click() -> None:
    """Click names no remedy for a store that may not be read, and exits with 2."""
    every = [lamson_state, *lamson_state.commands.values()]
    types = [parameter.type for command in every for parameter in command.params]
    paths = [each for each in types if isinstance(each, click.Path)]
    assert len(paths) == 6
    assert not any(each.readable or each.exists for each in paths)


def test_remedy_on_a_terminal_can_be_copied(tmp_path: Path) -> None:
    directory = tmp_path / ("a long name with spaces " * 5).strip()
    path = str(directory / "states")
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
    os.chmod(path, 0o666)
    with on_terminal("--store", path, "check", COLUMNS="40") as terminal:
        assert terminal.wait() == 1
    assert f"    chmod o-rwx '{path}'\r\n" in terminal.text


def test_rows_take_any_limit(path: str) -> None:
    with SQLiteStorage(path) as store:
        for is_reversed in (False, True):
            found = maintenance.rows(store, Selection(), is_reversed=is_reversed, limit=10**30)
            assert len(list(found)) == 1


def test_watching_counts_no_change_that_is_still_to_come(path: str) -> None:
    """Otherwise every look would count the pairs that a wrong clock dated ahead."""
    with SQLiteStorage(path) as store:
        assert maintenance.observe(store, 0).changed == 1
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE states SET since = since + 3600000")
        assert maintenance.observe(store, 0).changed == 0
