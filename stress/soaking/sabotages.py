"""One defence of the library switched off inside a run: what the checks must catch.

Each sabotage patches the library in the process that forks the workers, before it forks any. A
sabotage that no check catches means that a check is missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from . import checks, switched_off

__all__ = ["POWER_CUT", "SABOTAGES", "Sabotage"]

POWER_CUT: Final = "power-cut"
"""The fault that strikes by itself, not in a round."""


@dataclass(frozen=True)
class Sabotage:
    """A defence that is switched off.

    Args:
        about: which one, in words.
        apply: switches it off, for good, in this process and all that it forks.
        faults: by which the loss shows.
        caught_by: the checks of which at least one must fail.
    """

    about: str
    apply: Callable[[], None]
    faults: tuple[str, ...]
    caught_by: tuple[str, ...]


SABOTAGES: Final[Mapping[str, Sabotage]] = MappingProxyType(
    {
        "no-file-lock": Sabotage(
            "writers do not lock the lock file",
            switched_off.no_file_lock,
            ("held-lock",),
            (checks.HELD,),
        ),
        "lock-outlives-its-holder": Sabotage(
            "the lock is a file that exists, which nobody deletes when its holder dies",
            switched_off.lock_outlives_its_holder,
            ("kill",),
            (checks.ERRORS,),
        ),
        "keep-connection-over-fork": Sabotage(
            "connections and locks are taken across forks",
            switched_off.keep_connection_over_fork,
            ("fork-storm",),
            # A process may also crash: SQLite is not made for one connection in two processes.
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED, checks.SOUND, checks.ERRORS, checks.ENDS),
        ),
        "cache-ignores-versions": Sabotage(
            "each process has counters of its own",
            switched_off.cache_ignores_versions,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "version-read-late": Sabotage(
            "what was read is kept under a version that is read after it",
            switched_off.version_read_late,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "clear-tells-nobody": Sabotage(
            "clear moves no counters",
            switched_off.clear_tells_nobody,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "no-look-before-writing": Sabotage(
            "writers do not look whether the files have kept their names",
            switched_off.no_look_before_writing,
            ("database-replaced",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED),
        ),
        "no-look-for-edits": Sabotage(
            "nobody asks whether another tool has written",
            switched_off.no_look_for_edits,
            ("edits",),
            (checks.LINEARIZABLE,),
        ),
        "reopen-beside-a-deleted-log": Sabotage(
            "where the log was deleted, the database is just opened anew",
            switched_off.reopen_beside_a_deleted_log,
            ("log-deleted",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED, checks.SOUND, checks.ERRORS),
        ),
        "reads-take-the-lock": Sabotage(
            "readers lock the lock file, too",
            switched_off.reads_take_the_lock,
            ("stop",),
            (checks.HELD,),
        ),
        "endless-patience": Sabotage(
            "no call gives up waiting", switched_off.endless_patience, ("stop",), (checks.HELD,)
        ),
        "timeout-comes-late": Sabotage(
            "calls give up long after their timeout",
            switched_off.timeout_comes_late,
            ("held-lock",),
            (checks.DURATION,),
        ),
        "crash": Sabotage(
            "now and then a read ends the process (abort)",
            switched_off.now_and_then_a_crash,
            ("calm",),
            (checks.ENDS,),
        ),
        "unequal-patience": Sabotage(
            "half of the processes wait longer before they try again",
            switched_off.unequal_patience,
            ("calm",),
            (checks.SHARES,),
        ),
        "start-overwrites": Sabotage(
            "the first get of a pair overwrites what another process has just set",
            switched_off.start_overwrites,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "compare-then-set": Sabotage(
            "compare_and_set is a get and a set",
            switched_off.compare_then_set,
            ("calm",),
            (checks.LINEARIZABLE,),
        ),
        "errors-swallowed": Sabotage(
            "set returns although nothing could be written",
            switched_off.errors_swallowed,
            ("full-disk",),
            (checks.LINEARIZABLE, checks.ACKNOWLEDGED),
        ),
        "driver-errors-come-through": Sabotage(
            "errors of SQLite are not translated",
            switched_off.driver_errors_come_through,
            ("failing-syncs",),
            (checks.ERRORS,),
        ),
        "no-checkpoints": Sabotage(
            "the log is never written back", switched_off.no_checkpoints, ("calm",), (checks.SIZES,)
        ),
        "close-closes-nothing": Sabotage(
            "close leaves everything open",
            switched_off.close_closes_nothing,
            ("calm",),
            (checks.LEFT,),
        ),
        "since-in-seconds": Sabotage(
            "the time of a change is written in another unit",
            switched_off.since_in_seconds,
            ("calm",),
            (checks.SOUND,),
        ),
        "since-with-every-set": Sabotage(
            "a set to the same state writes its time, too",
            switched_off.since_with_every_set,
            ("calm",),
            (checks.SINCE,),
        ),
        # What follows is done by the power cuts themselves, to the stores and disks they make.
        "synchronous-off": Sabotage(
            "connections never sync, behind the library's back",
            switched_off.nothing,
            (POWER_CUT,),
            (checks.POWER,),
        ),
        "normal-as-full": Sabotage(
            "stores are opened at NORMAL, and what FULL promises is asked of them",
            switched_off.nothing,
            (POWER_CUT,),
            (checks.POWER,),
        ),
        "no-directory-syncs": Sabotage(
            "the disk forgets the names that were synced",
            switched_off.nothing,
            (POWER_CUT,),
            (checks.POWER,),
        ),
    }
)
"""All of them, by name."""
