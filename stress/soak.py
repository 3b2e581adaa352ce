"""Try the promises to destruction: forked workers under load, faults, and a verdict.

    python stress/soak.py --seconds 45 --seed 7
    python stress/soak.py --minutes 30 --workers 16 --faults kill,stop,fork-storm

Exits with 0 only if nothing is wrong. What was found is in the report, one page to open in a
browser: stress/report.html.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Literal

import click
from rich.console import Console

from faults import FAULTS, NEVER
from powercuts.real import RealCut, RealCuts, cut_for_real
from powercuts.survey import SABOTAGES as POWER_SABOTAGES
from powercuts.survey import Survey, SurveyedWorkload
from powercuts.survey import survey as survey_all
from powercuts.workloads import UNTIL_CUT
from reporting.display import Display, print_summary
from reporting.run import Run
from soaking import interruption
from soaking.campaign import Campaign
from soaking.sabotages import POWER_CUT, SABOTAGES
from workers.crew import adopt_orphans

_REPORT: Final = Path(__file__).parent / "report.html"

# What is piped into a file or a CI log is not to be wrapped.
_PIPED_WIDTH: Final = 150


_ALL: Final = (*FAULTS, POWER_CUT)

# Of the time, where there are power cuts and rounds.
_POWER_CUT_SHARE: Final = 0.3
_REAL_SHARE: Final = 0.25

_LEFT_SECONDS: Final = 5.0


def _named_faults(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    names = list(_ALL) if value == "all" else [name.strip() for name in value.split(",")]
    for name in names:
        if name not in _ALL:
            raise click.BadParameter(f"{name!r} is none of: all, {', '.join(_ALL)}")
    return names


def _listed_faults(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        for name, fault in FAULTS.items():
            click.echo(f"{name}\n    {fault.about}\n    allows: {fault.allows}")
        click.echo(f"{POWER_CUT}\n    the power is cut, on a model of a disk and on a real ext4")
        click.echo("    allows: at NORMAL, the loss of the last states")
        click.echo(f"Never allowed: {NEVER}.")
        context.exit()


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1.0), help="How long, about: 70 if not given.")
@click.option("--minutes", type=click.FloatRange(min=0.1), help="The same in minutes.")
@click.option("--seed", type=int, help="Of all choices; by default another each time.")
@click.option("--workers", default=8, show_default=True, help="Processes to fork in a round.")
@click.option("--threads", default=2, show_default=True, help="Threads in each of them.")
@click.option(
    "--faults",
    default="all",
    show_default=True,
    callback=_named_faults,
    help="Which faults strike, separated by commas.",
)
@click.option(
    "--list-faults",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_listed_faults,
    help="Say what each fault does and allows, and exit.",
)
@click.option(
    "--synchronous",
    type=click.Choice(["FULL", "NORMAL"]),
    default="FULL",
    show_default=True,
    help="Whether each write waits for the disk.",
)
@click.option(
    "--sabotage",
    type=click.Choice(list(SABOTAGES)),
    help="Switch one defence off: the run must fail, and ends when it does.",
)
@click.option("--keep", type=click.Path(path_type=Path), help="A new directory for all records.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=_REPORT,
    show_default="stress/report.html",
    help="The page to write.",
)
@click.option("--no-report", is_flag=True, help="Write no page, and need nothing to draw it with.")
def main(
    seconds: float | None,
    minutes: float | None,
    seed: int | None,
    workers: int,
    threads: int,
    faults: list[str],
    synchronous: Literal["FULL", "NORMAL"],
    sabotage: str | None,
    keep: Path | None,
    report: Path,
    no_report: bool,
) -> None:
    """Use one store from many processes and threads while faults strike, and judge all of it."""
    if seconds is not None and minutes is not None:
        raise click.UsageError("give --seconds or --minutes, not both")
    if not no_report:
        _refuse_unwritable(report)
    seconds = minutes * 60 if minutes is not None else seconds or 70.0
    seed = random.randrange(10**6) if seed is None else seed
    directory = _new_directory(keep)
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
    console.print(f"seed {seed}, {directory}")

    interruption.listen()
    if sabotage:
        SABOTAGES[sabotage].apply()
    adopt_orphans()
    in_rounds = [name for name in faults if name != POWER_CUT]
    cut_share = 0.0 if POWER_CUT not in faults else _POWER_CUT_SHARE if in_rounds else 1.0
    campaign = Campaign(
        directory,
        seconds * (1 - cut_share),
        seed,
        in_rounds,
        workers,
        threads,
        synchronous,
        is_hunt=bool(sabotage),
    )
    with Display(console, seconds) as display:
        survey, cuts = _try(campaign, seconds * cut_share, sabotage, display)
    run = Run(
        campaign,
        survey=survey,
        cuts=cuts,
        command=_command_line(seed),
        sabotage=SABOTAGES[sabotage].about if sabotage else None,
        is_interrupted=interruption.has_come(),
    )
    _tell(console, run, None if no_report else report)
    if run.is_bad:
        console.print(f"the records are kept: {directory}", soft_wrap=True)
    elif keep is None:
        shutil.rmtree(directory)
    sys.exit(1 if run.is_bad or run.is_empty else 130 if run.is_interrupted else 0)


def _tell(console: Console, run: Run, report: Path | None) -> None:
    if report is not None:
        from reporting.page import write_report  # what it draws with is not needed otherwise

        write_report(report, run)
    print_summary(console, run, report)


def _refuse_unwritable(report: Path) -> None:
    try:
        report.open("a").close()
    except OSError as error:
        raise click.BadParameter(f"{report} cannot be written: {error}") from error


def _new_directory(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="soak-"))
    if keep.exists():
        raise click.BadParameter(f"{keep} exists: a soak starts with a new directory")
    keep.mkdir()
    return keep


def _try(
    campaign: Campaign, cut_seconds: float, sabotage: str | None, display: Display
) -> tuple[Survey | None, RealCuts | None]:
    """Run the rounds, then cut the power; where a Ctrl-C ends that, return what there is by then.

    `interruption` remembers the Ctrl-C.
    """

    def heeding(name: str, done: float) -> None:
        interruption.heed()
        display.show_cut(name, done)

    surveyed: list[SurveyedWorkload] = []
    cut: list[RealCut] = []
    skipped = None
    try:
        if campaign.faults:
            try:
                campaign.run(display.show)
            finally:
                _demand_that_nobody_is_left(campaign)
        if cut_seconds:
            of_disk = sabotage if sabotage in POWER_SABOTAGES else None
            seed, real_seconds = campaign.seed, cut_seconds * _REAL_SHARE
            survey_all(
                seed, cut_seconds - real_seconds, sabotage=of_disk, tick=heeding, done=surveyed
            )
            skipped = cut_for_real(
                seed, real_seconds, sabotage=of_disk, tick=heeding, done=cut
            ).skipped
    except KeyboardInterrupt:
        pass
    survey = Survey(campaign.seed, surveyed) if surveyed else None
    is_cut = cut or skipped
    return survey, RealCuts(campaign.seed, UNTIL_CUT.processes, cut, skipped) if is_cut else None


def _demand_that_nobody_is_left(campaign: Campaign) -> None:
    # Adopted are also the fork servers of multiprocessing, which end a moment after their programs.
    until = time.monotonic() + _LEFT_SECONDS
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            if time.monotonic() > until:
                break
            time.sleep(0.01)
    if campaign.rounds:
        campaign.rounds[-1].problem = "a process is still at work when all rounds are over"


def _command_line(seed: int) -> str:
    """Return what runs the same again."""
    context = click.get_current_context()
    words = ["python stress/soak.py"]
    given: dict[str, Any] = {
        **context.params,
        "seed": seed,
        "keep": None,
        "report": None,
        "no_report": None,
    }
    for parameter in context.command.params:
        name = parameter.name or ""
        value = given.get(name)
        if name == "faults" and value == list(_ALL):
            value = None
        if value is not None and value != parameter.default:
            text = ",".join(value) if isinstance(value, list) else f"{value}"
            words.append(f"{parameter.opts[0]} {text}")
    return " ".join(words)


if __name__ == "__main__":
    main()
