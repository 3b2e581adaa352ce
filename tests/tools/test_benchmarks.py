"""The benchmarks run and print every row. What they measure is no business of a test."""

import dataclasses
import io
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from benchmarks import __main__ as command
from benchmarks import _environment, _markdown
from benchmarks._comparison import Cell, PeerRow
from benchmarks._contention import Crowd, Waiting, waiting_rows
from benchmarks._peers import OURS, OURS_UNCACHED
from benchmarks._plots import draw
from benchmarks._report import only_in_full, ratios_table
from benchmarks._results import RESULTS, Results
from benchmarks._rows import Row, duration, spread
from click.testing import CliRunner
from rich.console import Console

ROOT = pathlib.Path(__file__).parent.parent.parent

OPERATIONS = [
    "get, cached",
    "get, cached, 100 senders beside 3 writers",
    "get, cached, 1 senders beside 3 writers",
    "get, cached, 1,000 senders beside 3 writers",
    "get, not cached",
    "get, cache switched off",
    "set, unchanged, cached",
    "set, changing, NORMAL",
    "set, changing, FULL",
    "get, unknown pair, FULL",
    "set_all of 5 pairs, NORMAL",
    "open and get, others have it open",
    "open and get, nobody else has",
    "import, beyond sqlite3 and filelock",
    "p99 of a set, 8 writers",
    "slowest of 8 writers to the mean",
]
PEERS = [
    *["lamson-sqlite-state", "the same, cache off", "MemoryStorage", "ShelveStorage"],
    *["bare sqlite3", "diskcache", "sqlitedict", "LMDB", "Redis"],
]
PICTURES = ["contention.png", "operations.png", "rows.png"]


def test_quick_run_prints_every_row_and_ends_well(tmp_path: pathlib.Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert process.returncode == 0, process.stderr
    results = Results.load(str(tmp_path / "smoke.json"))
    assert [row.label for row in results.rows][: len(OPERATIONS)] == OPERATIONS
    assert {row.name for row in results.rows if row.rows} >= {
        *["get, cached", "get, not cached", "set, unchanged, cached", "set, changing, NORMAL"],
        *["set, changing, FULL", "get, unknown pair, FULL", "set_all of 5 pairs, NORMAL"],
        *["get, not cached: growth", "file size", "file size, filled in order"],
    }
    for row in results.rows:
        assert row.label in process.stdout
    for peers in results.peers:
        assert [cell.peer for cell in peers.cells] == PEERS
        for cell in peers.cells:
            assert cell.seconds or cell.setting in ("does not offer it", "no server here")
    assert {crowd.peer for crowd in results.crowds if crowd.rounds} >= {OURS.name, "LMDB"}
    missed = results.missed
    last = "Limits missed: " + ", ".join(missed) if missed else "All limits kept"
    assert last in " ".join(process.stdout.split())
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        f"smoke-{name}" for name in PICTURES
    ]


def row_of(ours: float, bare: float, limit: float | None, **more: Any) -> Row:
    return dataclasses.replace(
        Row("an operation", [ours] * 3, [bare] * 3, "a yardstick", limit=limit), **more
    )


@pytest.fixture
def results() -> Results:
    """Return a tiny run, in which one limit is missed and some peers are absent."""
    waiting = {
        name: [Waiting(1.0, [4, 6], {"50": 1.0, "99": p99, "100": 90.0}, [(90.0, 0.1), (1.0, 1.0)])]
        for name, p99 in ((OURS.name, 2.0), ("sqlite3 under FileLock", 80.0))
    }
    peers = [
        PeerRow(
            name,
            "not synced",
            [
                Cell(OURS.name, "NORMAL", [2e-6, 3e-6, 9e-6]),
                Cell(OURS_UNCACHED.name, "NORMAL", [1e-6]),
                Cell("MemoryStorage", "none", [1e-6]),
                Cell("ShelveStorage", "does not offer it"),
            ],
        )
        for name in ("read, stored pair", "changing write", "changing write, synced")
    ]
    sizes = [
        row_of(size * 1e-6, 1e-6, limit, name=name, rows=size)
        for name in ("get, not cached", "set, changing, NORMAL")
        for size, limit in ((10_000, None), (10_000_000, 1.6))
    ]
    growth = [
        row_of(3e-6, 1e-6, 3.5, name=f"{name}: growth", rows=10_000_000)
        for name in ("get, not cached", "set, changing, NORMAL")
    ]
    crowds = [
        Crowd(OURS.name, "FULL", 8, waiting[OURS.name]),
        Crowd("Redis", "no server here", 8, []),
    ]
    where = "date, processor, cores, kernel, file system, load before, Python, SQLite, dbm"
    packages = "filelock, salmon-mail, diskcache, sqlitedict, lmdb, redis, redis-server"
    return Results(
        "full",
        dict.fromkeys(f"{where}, {packages}".split(", "), "1.0"),
        [row_of(2.0, 1.0, 1.5), *waiting_rows(waiting), *sizes, *growth],
        waiting,
        peers,
        crowds,
    )


def test_results_come_back_as_they_were_saved(results: Results, tmp_path: pathlib.Path) -> None:
    results.save(str(tmp_path / "full.json"))
    again = Results.load(str(tmp_path / "full.json"))
    again.save(str(tmp_path / "again.json"))
    assert (tmp_path / "full.json").read_bytes() == (tmp_path / "again.json").read_bytes()
    assert again.missed == results.missed
    assert _markdown.results_page(again) == _markdown.results_page(results)


def test_median_decides_whether_a_limit_is_missed() -> None:
    assert not row_of(2.0, 1.0, None).is_missed
    assert not row_of(2.0, 1.0, 2.0).is_missed
    assert row_of(2.0, 1.0, 1.9).is_missed
    assert not dataclasses.replace(row_of(2.0, 1.0, 2.0), ours=[1.0, 2.0, 9.0]).is_missed
    assert row_of(0.7, 0.1, 0.8, unit="share", is_floor=True).is_missed
    assert not row_of(0.9, 0.1, 0.8, unit="share", is_floor=True).is_missed
    assert row_of(0.006, 0.001, 4.9, unit="ms").is_missed
    assert not row_of(0.006, 0.001, 5.1, unit="ms").is_missed


def test_missed_limit_is_shown_as_such_everywhere(results: Results) -> None:
    assert results.missed[0] == "an operation"
    console = Console(width=200, record=True, file=io.StringIO(), color_system="standard")
    console.print(ratios_table(results.rows))
    line = next(line for line in console.export_text(styles=True).splitlines() if "an op" in line)
    assert "missed" in line
    assert "\x1b[31m" in line
    for page in (_markdown.readme_block(results), _markdown.results_page(results)):
        line = next(line for line in page.splitlines() if line.startswith("| an operation"))
        assert "**2.00 x (2.00..2.00)** | ≤ 1.5 x **missed**" in line


def test_pages_say_who_is_quicker(results: Results) -> None:
    assert "- read, stored pair: MemoryStorage\n" in _markdown.readme_block(results)


def test_readme_names_each_limit_missed_among_ten_million_rows(results: Results) -> None:
    page = _markdown.readme_block(results)
    assert "among ten million rows, missed: get, not cached, 10^7 rows (10000000.00 x)" in page
    kept = [row for row in results.rows if not row.is_missed]
    assert "none is missed." in _markdown.readme_block(dataclasses.replace(results, rows=kept))


def test_rows_for_ten_million_are_taken_from_the_last_full_run(results: Results) -> None:
    quick = dataclasses.replace(results, effort="quick", rows=results.rows[:1])
    labels = [row.label for row in only_in_full(quick, results)]
    assert "get, not cached, 10^7 rows" in labels
    assert "an operation" not in labels
    assert only_in_full(quick, None) == []


def test_pictures_are_drawn(results: Results, tmp_path: pathlib.Path) -> None:
    draw(results, str(tmp_path))
    for name in PICTURES:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_missed_limit_is_an_exit_status_only_where_asked(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_measure_all", lambda *_arguments: results)
    assert CliRunner().invoke(command.main, ["--quick"]).exit_code == 0
    assert CliRunner().invoke(command.main, ["--quick", "--strict"]).exit_code == 1
    kept = dataclasses.replace(results, rows=[row for row in results.rows if not row.is_missed])
    monkeypatch.setattr(command, "_measure_all", lambda *_arguments: kept)
    assert CliRunner().invoke(command.main, ["--quick", "--strict"]).exit_code == 0


def test_full_run_writes_the_pages_anew(
    results: Results, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    monkeypatch.setattr(_markdown, "README", str(tmp_path / "README.md"))
    monkeypatch.setattr(_markdown, "RESULTS_PAGE", str(tmp_path / "results.md"))
    for _ in range(2):  # and can be written again
        _markdown.rewrite_pages(results)
        assert _markdown.in_readme() == _markdown.readme_block(results)
    assert (tmp_path / "results.md").read_text() == _markdown.results_page(results)


def test_readme_has_the_table_of_the_last_full_run() -> None:
    """Else ``make bench-full`` was not run to its end, or somebody has changed a number by hand."""
    committed = Results.committed()
    assert _markdown.in_readme() == _markdown.readme_block(committed)
    if committed:
        page = pathlib.Path(_markdown.RESULTS_PAGE).read_text()
        assert page == _markdown.results_page(committed)
        assert all((pathlib.Path(RESULTS) / name).exists() for name in PICTURES)


def test_file_system_is_unknown_in_a_chroot_whose_mounts_are_all_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mounts = "proc /proc proc rw 0 0\n"
    monkeypatch.setattr("builtins.open", lambda _path: io.StringIO(mounts))
    assert _environment._file_system("/srv") == "unknown file system"
    mounts += "/dev/sda1 / ext4 rw 0 0\ntmpfs /srv tmpfs rw 0 0\n"
    assert _environment._file_system("/srv") == "tmpfs"


def test_times_are_written_with_the_unit_that_suits_them() -> None:
    assert [duration(x) for x in (3e-7, 1.234e-6, 0.4567, 2.0)] == [
        *["300 ns", "1.23 us", "457 ms", "2 s"],
    ]
    assert spread([2e-7, 1.5e-6]) == "0.2..1.5 us"
