"""One short run of each stress program: the long ones, and their judges, are tests of tools/."""

import subprocess
import sys
from pathlib import Path

import pytest

from powercuts.survey import survey

STRESS = Path(__file__).parent.parent / "stress"

pytestmark = pytest.mark.timeout(150)


def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, STRESS / "soak.py", "--no-report", f"--keep={tmp_path / 'records'}"),
            *("--seconds=3", "--workers=3", "--faults=calm,kill,fork-storm"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "NOTHING WRONG WAS FOUND, BUT NOT EVERYTHING WAS JUDGED" in ended.stdout
    assert "no power cut loses what was acknowledged: the power was not cut" in ended.stdout
    assert ended.stderr == ""


def test_no_power_cut_of_a_short_survey_loses_a_state() -> None:
    (found,) = survey(1, 2, workloads=["first use"], levels=["FULL"]).workloads
    if found.skipped:
        pytest.skip(found.skipped)
    assert not found.losses, "\n".join(found.losses)
    assert found.cut_points
    assert found.directories
