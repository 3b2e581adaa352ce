"""Standard streams that are closed, full, ASCII or a terminal, and signals."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamson_sqlite_state import SQLiteStorage, cli, transfer
from tests.cli.test_every_command import call, commands, files
from tests.helpers.commands import PROGRAM, on_terminal

__all__ = ["files"]  # a fixture

CLOSED = "standard output is closed: give it a file, or /dev/null"
ODD_SENDER = "jürgen@пример.example"


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "states")
    with SQLiteStorage(path) as store:
        store.set("m", "ann", "A1")
        store.set("m", ODD_SENDER, "A1")
    return path


def in_a_shell(words: list[str], redirection: str, **environment: str) -> tuple[int, bytes, bytes]:
    ended = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *PROGRAM, *words],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


class TestClosedStreams:
    def test_closed_output_is_one_line(self, path: str) -> None:
        status, _, err = in_a_shell(["--store", path, "set", "m", "ann", "A2"], ">&-")
        assert (status, err) == (2, f"lamson-state: {CLOSED}\n".encode())
        with SQLiteStorage(path) as store:
            assert store.get("m", "ann") == "A1"

    @commands
    def test_closed_output_is_noticed_before_anything_is_done(
        self,
        command: str,
        files: dict[str, str],
        path: str,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys, "stdout", None)  # as the interpreter leaves it then
        status = cli.main(call(command, files, path))
        sys.stdout.close()  # what takes its place, so that nothing else gets its number
        monkeypatch.undo()
        assert (status, capfd.readouterr().err) == (2, f"lamson-state: {CLOSED}\n")
        with SQLiteStorage(path) as store:
            assert store.get("m", "ann") == "A1"

    def test_errors_do_not_get_into_the_output_when_theirs_is_closed(self, path: str) -> None:
        assert in_a_shell(["--store", path, "get", "m", "bob"], "2>&-") == (1, b"", b"")

    def test_closed_input_is_an_empty_one(self, path: str) -> None:
        status, out, err = in_a_shell(["--store", path, "import", "-"], "<&-")
        assert (status, out.splitlines()[0], err) == (1, b"read\t0", b"")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    @pytest.mark.parametrize(
        "command",
        [
            "summary",
            "export",
            "watch",
            *(pytest.param(name, marks=pytest.mark.long) for name in ("list", "set")),
        ],
    )
    def test_full_disk_under_the_output_is_said_with_its_name(
        self, command: str, files: dict[str, str], path: str
    ) -> None:
        status, _, err = in_a_shell(call(command, files, path), ">/dev/full")
        assert (status, err) == (2, b"lamson-state: standard output: No space left on device\n")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
    def test_full_disk_under_a_file_is_said_with_its_name(self, path: str) -> None:
        status, _, err = in_a_shell(["--store", path, "export", "/dev/full"], "")
        assert (status, err) == (2, b"lamson-state: /dev/full: No space left on device\n")


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.long)])
    def test_pipes_get_utf_8_whatever_the_locale(self, path: str, encoding: str) -> None:
        for words in (["list", "--json"], ["list"], ["export"]):
            status, out, _ = in_a_shell(
                ["--store", path, *words], "", PYTHONIOENCODING=encoding, PYTHONUTF8="0"
            )
            assert status == 0
            assert ODD_SENDER in out.decode()

    def test_json_on_a_terminal_without_the_letters_is_json(self, path: str) -> None:
        with on_terminal(
            "--store", path, "list", "--json", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
        ) as terminal:
            assert terminal.wait() == 0
        assert {row["sender"] for row in json.loads(terminal.text)} == {"ann", ODD_SENDER}


class TestOneLine:
    def test_error_about_a_path_with_line_ends_and_escapes_is_one_harmless_line(
        self, tmp_path: Path
    ) -> None:
        status, _, err = in_a_shell(["--store", f"{tmp_path}/a\nb\x1b[31m", "summary"], "")
        assert (status, err.count(b"\n")) == (3, 1)
        assert rb"a\nb\x1b[31m" in err

    def test_summary_in_a_pipe_keeps_its_lines_where_the_path_has_a_tab(
        self, tmp_path: Path
    ) -> None:
        path = str(tmp_path / "a\tb\n")
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        _, out, _ = in_a_shell(["--store", path, "summary"], "")
        lines = [line.split(b"\t") for line in out.splitlines()]
        assert {len(cells) for cells in lines if cells[0] == b"file"} == {3}


class TestNoUtf8:
    @pytest.mark.skipif(sys.platform == "darwin", reason="its file systems have no such names")
    @pytest.mark.parametrize("command", ["summary", "check"])
    def test_path_that_is_none_is_printed_all_the_same(self, tmp_path: Path, command: str) -> None:
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A1")
        os.chmod(path, 0o604)
        status, out, err = in_a_shell(["--store", path, command, "--json"], "")
        assert (status, err) == (0 if command == "summary" else 1, b"")
        assert path in json.dumps(json.loads(out), ensure_ascii=False)


class TestUnprintable:
    """A sender chooses the address, and could write to the terminal, or turn round its text."""

    SENDERS = ("\x9b31mann", "bob\x7f", "\u202ecid", "dan\u2028", "\ue000", "\U000e0001", "ünïs")

    @pytest.mark.parametrize(
        "words", [["list", "--json"], ["export", "-"], ["watch", "--once", "--json"]]
    )
    def test_is_escaped_in_json_on_a_terminal_and_means_the_same(
        self, words: list[str], path: str
    ) -> None:
        with SQLiteStorage(path) as store:
            store.clear()
            for sender in self.SENDERS:
                store.set("m\x85", sender, "A\u2066")
        with on_terminal("--store", path, *words, PYTHONUTF8="1") as terminal:
            assert terminal.wait() == 0
        shown = terminal.screen.replace("\r\n", "\n")
        assert shown.replace("\n", "").isprintable()
        assert "ünïs" in shown
        if words[0] == "export":
            found = [json.loads(line) for line in shown.splitlines()]
        else:
            found = json.loads(shown)
            found = found["newest"] if words[0] == "watch" else found
        assert {row["sender"] for row in found} == set(self.SENDERS)
        assert {(row["module"], row["state"]) for row in found} == {("m\x85", "A\u2066")}

    def test_stands_as_it_is_in_a_pipe(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "\u202eann", "A1")
        for words in (["list", "--json"], ["export", "-"]):
            _, out, _ = in_a_shell(["--store", path, *words], "")
            assert "\u202eann" in out.decode()


class TestEnded:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    def test_watch_leaves_the_terminal_as_it_was(self, path: str, number: int) -> None:
        with on_terminal("--store", path, "watch", "--interval", "0.1") as terminal:
            terminal.read_until(lambda screen: "2 pairs" in screen)
            os.kill(terminal.pid, number)
            assert terminal.wait() == 128 + number
        assert terminal.screen.rindex("\x1b[?25h") > terminal.screen.rindex("\x1b[?25l")
        assert terminal.screen.rindex("\x1b[?1049l") > terminal.screen.rindex("\x1b[?1049h")

    def test_export_leaves_no_file(
        self, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ended(*_args: object, **_kwargs: object) -> int:
            assert any(name.endswith(".unfinished") for name in os.listdir(tmp_path))
            signal.raise_signal(signal.SIGTERM)
            return 0

        monkeypatch.setattr(transfer, "export_rows", ended)
        with pytest.raises(SystemExit) as error:
            cli.main(["--store", path, "export", str(tmp_path / "rows")])
        assert error.value.code == 128 + signal.SIGTERM
        assert not [name for name in os.listdir(tmp_path) if name.startswith("rows")]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_who_ignores_a_signal_goes_on_to(self, path: str) -> None:
        """nohup ignores SIGHUP."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            assert cli.main(["--store", path, "get", "m", "ann"]) == 0
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_watch_says_what_it_needs_on_a_terminal_that_cannot_show_it(self, path: str) -> None:
        with on_terminal("--store", path, "watch", TERM="dumb") as terminal:
            assert terminal.wait() == 2
        assert "give --once" in terminal.text


def test_log_of_the_library_is_not_printed_beside_the_command() -> None:
    """Python prints the warnings of a library that nobody listens to."""
    code = (
        "import sys, logging\n"
        "from lamson_sqlite_state import cli\n"
        "cli.main(['--version'])\n"
        "logging.getLogger('lamson_sqlite_state').warning('nobody listens')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
