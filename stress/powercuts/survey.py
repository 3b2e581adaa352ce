"""Every cut point of every workload, as far as the time allows."""

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from .disk import Disk, Key, Remains
from .fates import fates
from .operations import Mark
from .recording import Recording, Unavailable, WorkloadFailed, record, scratch_directory
from .strace_log import UnknownCall
from .verdicts import Finding, Progress, examine, loss
from .workloads import STORE, WORKLOADS

__all__ = ["SABOTAGES", "Survey", "SurveyedWorkload", "Tick", "cut_everywhere", "passes", "survey"]

SABOTAGES: Final = ("synchronous-off", "no-directory-syncs", "normal-as-full")
"""What makes a survey fail: connections that never sync, behind the library's back; a disk that
forgets to sync names; stores at NORMAL, of which what FULL promises is asked."""

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

Tick: TypeAlias = Callable[[str, float], None]
"""Called now and then with the workload and how much of it is done, from 0 to 1."""

# Of a pass over the recording, that is. The first is coarse, the others lie between: so a short
# run's cut points lie evenly.
_POINTS: Final = 8

# Of a workload's time, at least, however long the recording took.
_CUTTING_SHARE: Final = 0.25

_LOSSES: Final = 20
_CHANCES: Final = 4


@dataclass(frozen=True)
class SurveyedWorkload:
    """What became of one workload.

    Args:
        name: of the workload.
        synchronous: what its stores were opened with.
        calls: how many operations on the directory, and marks, were recorded.
        acknowledgements: how many of its calls returned.
        cut_points: moments between two operations at which the power was cut.
        directories: different directories that were rebuilt, opened and judged.
        losses: what was found to be wrong, a paragraph each; the first twenty.
        skipped: what is missing to record it here, or None.
        seconds: how long all of it took.
    """

    name: str
    synchronous: Synchronous
    calls: int = 0
    acknowledgements: int = 0
    cut_points: int = 0
    directories: int = 0
    losses: Sequence[str] = ()
    skipped: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Survey:
    """What became of all of them."""

    seed: int
    workloads: Sequence[SurveyedWorkload]

    @property
    def losses(self) -> list[str]:
        """All losses, with the workload."""
        return [
            f"{each.name}, {each.synchronous}: {text}"
            for each in self.workloads
            for text in each.losses
        ]


def survey(
    seed: int,
    seconds: float,
    *,
    workloads: Sequence[str] = tuple(WORKLOADS),
    levels: Sequence[Synchronous] = ("FULL", "NORMAL"),
    sabotage: str | None = None,
    keep: str | None = None,
    tick: Tick = lambda _name, _done: None,
    done: list[SurveyedWorkload] | None = None,
) -> Survey:
    """Record the workloads, cut the power everywhere, and judge what is left.

    Args:
        seed: of all choices: the workloads', and what is left after a cut.
        seconds: how long all of it may take, the recording included (and a quarter more where
            that took all). Where the time does not suffice for every cut point, they lie evenly
            over each recording.
        workloads: names of those to survey.
        levels: what their stores are opened with.
        sabotage: one of `SABOTAGES`, or None.
        keep: a directory to be made, with the first that was judged to have lost something.
        tick: is told how far it is.
        done: what became of each workload is added to this list at once, so that it is not lost
            where a Ctrl-C ends the survey.
    """
    done = [] if done is None else done
    end = time.monotonic() + seconds
    runs = [(name, level) for level in levels for name in workloads]
    for number, (name, level) in enumerate(runs):
        start = time.monotonic()
        weights = [WORKLOADS[each].weight for each, _ in runs[number:]]
        until = start + max(end - start, 0) * weights[0] / sum(weights)
        tick(f"{name}, {level}", 0.0)
        recording = _recorded(
            name, level, seed, sabotage if sabotage == "synchronous-off" else None
        )
        if isinstance(recording, SurveyedWorkload):
            done.append(recording)
            continue
        until = max(until, time.monotonic() + (until - start) * _CUTTING_SHARE)
        result = cut_everywhere(recording, seed, until, sabotage=sabotage, keep=keep, tick=tick)
        done.append(replace(result, seconds=round(time.monotonic() - start, 3)))
        if result.losses:
            keep = None
    return Survey(seed, done)


def _recorded(
    name: str, level: Synchronous, seed: int, sabotage: str | None
) -> Recording | SurveyedWorkload:
    """Return the recording of a workload; or what became of the workload, if there is none."""
    try:
        return record(name, level, seed, sabotage)
    except Unavailable as error:
        return SurveyedWorkload(name, level, skipped=str(error))
    except (UnknownCall, WorkloadFailed, subprocess.TimeoutExpired) as error:
        # Not recorded is not surveyed: that must fail, too.
        return SurveyedWorkload(name, level, losses=(f"it could not be recorded: {error}",))


def cut_everywhere(
    recording: Recording,
    seed: int,
    until: float,
    *,
    sabotage: str | None = None,
    keep: str | None = None,
    tick: Tick = lambda _name, _done: None,
) -> SurveyedWorkload:
    """Cut the power in a recording, until all cut points are done, or a time by `time.monotonic`.

    The arguments are as those of `survey`.
    """
    name = f"{recording.workload}, {recording.synchronous}"
    judge = _Judge(recording, sabotage, keep)
    moments = len(recording.operations) + 1
    cut_points = 0
    with scratch_directory() as scratch:
        for chosen in passes(moments):
            disk = Disk(recording.sightings, heeds_directory_syncs=sabotage != "no-directory-syncs")
            progress = Progress.of(recording.histories)
            for moment in range(moments):
                if moment in chosen:
                    if time.monotonic() > until or len(judge.losses) >= _LOSSES:
                        break
                    judge.cut(disk, progress, random.Random(f"{seed} {moment}"), scratch)
                    cut_points += 1
                    tick(name, cut_points / moments)
                if moment < len(recording.operations):
                    operation = recording.operations[moment]
                    disk.do(operation)
                    if isinstance(operation, Mark):
                        progress.hear(operation.text, recording.histories)
            else:
                continue
            break
    tick(name, 1.0)
    return SurveyedWorkload(
        recording.workload,
        recording.synchronous,
        len(recording.operations),
        recording.acknowledgements,
        cut_points,
        len(judge.findings),
        judge.losses,
    )


def passes(moments: int) -> Iterator[range]:
    """Divide the moments into passes over all of them, each as far from the earlier as can be."""
    bits = max(moments // _POINTS, 1).bit_length() - 1
    for number in range(1 << bits):
        # 0, 4, 2, 6, 1, 5, 3, 7: the number's bits in the opposite order.
        step = sum(1 << (bits - 1 - bit) for bit in range(bits) if number >> bit & 1)
        yield range(step, moments, 1 << bits)


class _Judge:
    """Rebuilds and judges; each directory is opened once, though it may be judged often."""

    def __init__(self, recording: Recording, sabotage: str | None, keep: str | None) -> None:
        self.losses: list[str] = []
        self.findings: dict[Key, Finding] = {}
        self._recording = recording
        self._rule: Synchronous = "FULL" if sabotage == "normal-as-full" else recording.synchronous
        self._keep = keep

    def cut(self, disk: Disk, progress: Progress, rng: random.Random, scratch: str) -> None:
        histories = self._recording.histories
        for fate in fates(disk.pending_times(), rng, _CHANCES):
            remains = disk.after(fate)
            finding = self.findings.get(remains.key)
            if finding is None:
                finding = self.findings[remains.key] = self._find(remains, scratch)
            problem = loss(finding, histories, progress, self._rule)
            if problem is not None:
                self.losses.append(
                    f"cut after operation {disk.time} of {len(self._recording.operations)}, "
                    f"{fate.name}: {problem}"
                )
                if self._keep:
                    os.makedirs(self._keep)
                    remains.write(self._keep)
                    self._keep = None
                return  # the same again, probably

    def _find(self, remains: Remains, scratch: str) -> Finding:
        directory = tempfile.mkdtemp(dir=scratch)
        remains.write(directory)
        finding = examine(os.path.join(directory, STORE), self._recording.histories)
        shutil.rmtree(directory)
        return finding
