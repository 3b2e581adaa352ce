"""The benchmarks run and print every row. What they measure is no business of a test."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent


def test_quick_run_prints_every_row_and_ends_well(tmp_path: pathlib.Path) -> None:
    found = tmp_path / "ratios.json"
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.ratios", "--quick", "--json", str(found)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert process.returncode == 0, process.stderr
    rows = json.loads(found.read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "get, stored pair",
        "set, changing, NORMAL",
        "set, changing, FULL",
        "get, unknown pair, FULL",
        "open and get, others have it open",
        "open and get, nobody else has",
        "import, beyond sqlite3 and filelock",
        "p99 of a set, 8 writers",
        "slowest of 8 writers to the mean",
    ]
    for row in rows:
        assert row["name"] in process.stdout
    missed = [row["name"] for row in rows if row["is_missed"]]
    last = "Limits missed: " + ", ".join(missed) if missed else "All limits kept"
    assert last in " ".join(process.stdout.split())
