"""What a person at a terminal sees of the commands, and is asked by them."""

import re
import subprocess
from pathlib import Path

from lamson_sqlite_state import SQLiteStorage
from tests.helpers.commands import PROGRAM, on_terminal


class TestTerminal:
    def test_results_are_tables_and_errors_are_red(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ERROR")
        with on_terminal("--store", path, "list") as terminal:
            assert terminal.wait() == 0
        assert re.search(r"module +sender +state +since +for", terminal.text)
        assert "\x1b[1;31mERROR" in terminal.screen

    def test_no_color_is_honoured(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "ERROR")
        with on_terminal("--store", path, "list", NO_COLOR="1") as terminal:
            assert terminal.wait() == 0
        assert "ERROR" in terminal.screen
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.screen)

    def test_what_a_sender_wrote_is_shown_and_not_obeyed(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "[red]ann[/red]\x1b]0;title\x07\r\n", "[bold]A1")
        with on_terminal("--store", path, "list") as terminal:
            assert terminal.wait() == 0
        assert "[red]ann[/red]\\x1b]0;title\\x07" in terminal.screen
        assert "[bold]A1" in terminal.screen
        assert "\x1b]0;" not in terminal.screen

    def test_restore_asks_first(self, path: str, tmp_path: Path) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        copy = str(tmp_path / "copy")
        subprocess.run([*PROGRAM, "--store", path, "backup", copy], check=True)
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A2")
            for answer, status, state in (("n\n", 1, "A2"), ("y\n", 0, "A1")):
                with on_terminal("--store", path, "restore", copy) as terminal:
                    terminal.read_until(lambda screen: "[y/N]" in screen)
                    terminal.type(answer)
                    assert terminal.wait() == status
                assert store.get("m", "ann") == state
