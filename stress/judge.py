"""Judge one round of a soak by what it left in its directory.

    python stress/judge.py DIRECTORY

Prints what is wrong, writes the verdict and the round's numbers to verdict.json, and exits with 0
only if nothing is wrong. The soak judges each round so, in a process of its own while the next one
is under way. A round's directory that was kept may be judged again at any time.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from soaking.evidence import evidence_in
from soaking.judgement import judged
from soaking.statistics import numbers_of

_NICE = 5  # the round that is under way meanwhile is to have the processors


def main(directory: Path) -> int:
    """Judge, and return the exit status."""
    os.nice(_NICE)
    evidence = evidence_in(directory)
    checks = judged(evidence)
    verdict = {
        "checks": [asdict(check) for check in checks],
        "faults": evidence.record["faults"],
        "numbers": numbers_of(evidence),
    }
    (directory / "verdict.json").write_text(json.dumps(verdict))
    bad = [check for check in checks if check.problems]
    for check in bad:
        print(f"NOT SO: {check.name}", *check.problems, sep="\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
