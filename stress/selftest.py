"""Show that a soak can fail: switch off one defence after the other, and demand that it is noticed.

    python stress/selftest.py
    python stress/selftest.py --only no-file-lock,cache-ignores-versions

Each sabotage runs with the faults by which it shows, until a check that is meant to catch it has.
Before that, the same faults run without a sabotage, and must find nothing. Exits with 0 only
if every sabotage was caught that could be tried here; the last lines name those that could not.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from faults import FAULTS
from soaking.sabotages import POWER_CUT, SABOTAGES

_SOAK: Final = Path(__file__).parent / "soak.py"

_SOUND_SECONDS: Final = 20.0
_HUNT_SECONDS: Final = 30.0
_CUT_SECONDS: Final = 25.0
_LIMIT_SECONDS: Final = 120.0

_BROKEN: Final = re.compile(r"^(?:Round \d+ \(.*\)|Power cuts): not so: (.*)$", re.MULTILINE)

_PIPED_WIDTH: Final = 150


@dataclass(frozen=True)
class _Outcome:
    """What a soak said in the end."""

    broken: Sequence[str]
    seconds: float
    text: str


def _named(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    names = list(SABOTAGES) if value == "all" else value.split(",")
    for name in names:
        if name not in SABOTAGES:
            raise click.BadParameter(f"{name!r} is none of: all, {', '.join(SABOTAGES)}")
    return names


@click.command()
@click.option("--only", default="all", callback=_named, help="Sabotages, separated by commas.")
@click.option("--seed", default=1, show_default=True, help="Of all choices.")
def main(only: list[str], seed: int) -> None:
    """Sabotage the store in every way known here, and see that each is caught."""
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    table = Table(title="Sabotages", title_justify="left")
    for heading in ("switched off", "faults", "caught by", "after"):
        table.add_column(heading)
    failures = [] if _is_sound_without(only, seed, console, table) else ["the sound store"]
    skipped: list[str] = []
    for name in only:
        faults = SABOTAGES[name].faults
        reason = _missing(faults)
        if reason:
            skipped.append(name)
            table.add_row(name, ", ".join(faults), f"[yellow]skipped: {reason}[/yellow]", "")
        elif not _is_caught(name, seed, console, table):
            failures.append(name)
    console.print(table)
    tried = len(only) - len(skipped)
    if not tried:
        failures.append("nothing could be tried here")
    if failures:
        console.print(f"[bold red]NOT AS IT SHOULD BE: {', '.join(failures)}[/bold red]")
        sys.exit(1)
    console.print(f"[bold green]{_success(tried, len(SABOTAGES))}[/bold green]")
    if skipped:
        console.print(f"[yellow]Not tried: {', '.join(skipped)}[/yellow]")


def _success(tried: int, known: int) -> str:
    """Return what may be said where each sabotage that was tried was caught."""
    if tried == known:
        return "Every sabotage was caught"
    return f"Every sabotage that was tried was caught: {tried} of {known}"


def _is_sound_without(only: Sequence[str], seed: int, console: Console, table: Table) -> bool:
    """Let the faults of the sabotages strike a sound store; return whether nothing was found."""
    faults = sorted({fault for name in only for fault in SABOTAGES[name].faults})
    with console.status("nothing is switched off"):
        sound = _soaked(faults, None, _SOUND_SECONDS, seed)
    if sound.broken:
        console.print("[red]With nothing switched off, this was found:[/red]")
        console.print(sound.text, markup=False)
    table.add_row("nothing", ", ".join(faults), "; ".join(sound.broken), f"{sound.seconds:.1f} s")
    return not sound.broken


def _is_caught(name: str, seed: int, console: Console, table: Table) -> bool:
    """Try one sabotage, and return whether a check caught it that is meant to."""
    sabotage = SABOTAGES[name]
    with console.status(f"{name}: {sabotage.about}"):
        is_cut = POWER_CUT in sabotage.faults  # which does not end with the first loss
        seconds = _CUT_SECONDS if is_cut else _HUNT_SECONDS
        outcome = _soaked(sabotage.faults, name, seconds, seed)
    caught = [check for check in outcome.broken if check in sabotage.caught_by]
    if not caught:
        console.print(f"[red]{name} was not caught as it should be:[/red]")
        console.print(outcome.text, markup=False)
    verdict = "\n".join(caught) or "[red]not caught[/red]"
    table.add_row(name, ", ".join(sabotage.faults), verdict, f"{outcome.seconds:.1f} s")
    return bool(caught)


def _missing(faults: Sequence[str]) -> str | None:
    """Return what is missing here for the faults, or None."""
    reasons = [FAULTS[name].missing() for name in faults if name in FAULTS]
    if POWER_CUT in faults and shutil.which("strace") is None:
        reasons.append("strace is not installed, which records system calls")
    return next(filter(None, reasons), None)


def _soaked(faults: Sequence[str], sabotage: str | None, seconds: float, seed: int) -> _Outcome:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="selftest-") as scratch:
        command = [
            *[sys.executable, str(_SOAK), "--faults", ",".join(faults), "--seed", str(seed)],
            *["--seconds", str(seconds), "--report", f"{scratch}/report.html"],
            *["--keep", f"{scratch}/records", *(["--sabotage", sabotage] if sabotage else [])],
        ]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    text = ended.stdout + ended.stderr
    broken = list(dict.fromkeys(_BROKEN.findall(text)))
    if ended.returncode not in (0, 1) or bool(broken) != bool(ended.returncode):
        broken.append(f"the soak ended with {ended.returncode}")
    return _Outcome(broken, time.monotonic() - start, text)


if __name__ == "__main__":
    main()
