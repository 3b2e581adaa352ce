"""Records of rounds that never took place, for the checks to judge."""

from collections.abc import Mapping, Sequence
from typing import Any

from faults import FAULTS
from judges.history import Kind, Operation, new_value
from soaking.checks import Check
from soaking.evidence import Evidence
from soaking.judgement import judged
from workers.caller import Pairs

__all__ = ["MS", "OWN", "PAIRS", "SECOND", "check", "evidence", "member", "op", "problems", "value"]

PAIRS = Pairs(shared=1, own=2, modules=2)
OWN = PAIRS.first_of(0)

MS = 1_000_000
SECOND = 1_000 * MS


def op(
    called: int,
    returned: int | None,
    kind: Kind,
    *,
    key: int = 0,
    span: int = 1,
    value: int = 0,
    result: int = 0,
    process: int = 1,
    expected: int = 0,
) -> Operation:
    return Operation(process, 0, kind, key, span, value, expected, result, called, returned)


def value(number: int, process: int = 1) -> int:
    return new_value(process, 0, number)


def member(number: int, **more: Any) -> dict[str, Any]:
    return {
        "number": number,
        "role": "worker",
        "started_ns": 0,
        "ended_ns": 9 * SECOND,
        "exit_code": 0,
        "killed_by": None,
        "stops": [],
        **more,
    }


def evidence(
    history: Sequence[Operation] = (),
    *,
    faults: Sequence[str] = ("calm",),
    errors: Sequence[Mapping[str, Any]] = (),
    events: Sequence[dict[str, Any]] = (),
    members: Sequence[dict[str, Any]] = (),
    largest: Mapping[str, int] | None = None,
    timeout: float = 1.0,
    since_ns: Mapping[int, int] | None = None,
) -> Evidence:
    record = {
        "setting": {"pairs": vars(PAIRS), "timeout": timeout},
        "members": members,
        "workers": len(members),
        "started_ns": 0,
        "ended_ns": 9 * SECOND,
        "until_ns": 8 * SECOND,
        "largest": largest or {},
        "findings": {},
    }
    return Evidence(
        record, [FAULTS[name] for name in faults], history, errors, events, since_ns or {}
    )


def check(name: str, found: Evidence) -> Check:
    return next(check for check in judged(found) if check.name == name)


def problems(name: str, found: Evidence) -> tuple[str, ...]:
    return check(name, found).problems
