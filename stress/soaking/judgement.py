"""The verdict on a round: independent looks at what it left in its directory.

Each check stands for itself. The linearizability of the history is judged twice, by methods that
share nothing; what was acknowledged is looked up a third time, without either; and what the
file, the processes and the clock say does not depend on the history at all.
"""

from . import answers, conduct
from .allowances import excused
from .checks import Check, shortened
from .evidence import Evidence

__all__ = ["judged"]


def judged(evidence: Evidence) -> list[Check]:
    """Return all checks of a round, those of its end among them."""
    history = excused(evidence.history, evidence.events, evidence.pairs.count)
    return [
        answers.linearizable(history),
        answers.second_opinion(history),
        answers.acknowledged(evidence, history),
        answers.since(evidence),
        answers.errors(evidence),
        answers.duration(evidence),
        conduct.held(evidence),
        conduct.fairness(evidence),
        conduct.sizes(evidence),
        conduct.something_happened(evidence),
        *(
            Check(name, shortened(problems))
            for name, problems in evidence.record["findings"].items()
        ),
    ]
