"""What the tests of the tools share."""

from pathlib import Path

import pytest

from reporting.page import write_report
from reporting.run import Run
from tests.tools.read_reports import Written


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Return what writes the page of a run, and returns it."""

    def write(run: Run) -> str:
        path = tmp_path / "report.html"
        write_report(path, run)
        return path.read_text(encoding="utf-8")

    return write
