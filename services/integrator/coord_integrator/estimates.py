"""How likely changes are to fail, learned from those that have ended."""

from collections import deque
from collections.abc import Iterable

from coord_integrator.evidence import Rates

# What is taken for granted before anything has ended counts as much as this many changes, or runs.
_CHANGES_PRIOR, _RUNS_PRIOR = 5, 50
_RISK_PRIOR = 0.1
# Older ones say little of the agents and prompts of today.
_LOOKED_AT = 50


class Estimates:
    """What has come of the latest changes of each kind of task.

    Args:
        endings: The category of each task, and whether its change was rejected for a red check;
            oldest first.
    """

    def __init__(self, endings: Iterable[tuple[str, bool]] = ()) -> None:
        self._kinds: dict[str, deque[bool]] = {}
        for kind, failed in endings:
            self.ended(kind, failed=failed)

    def ended(self, kind: str, *, failed: bool) -> None:
        """Take in a change that has landed, or was rejected for a red check."""
        self._kinds.setdefault(kind, deque(maxlen=_LOOKED_AT)).append(failed)

    def risk(self, kind: str) -> float:
        """Return how likely a change is to fail alone: the share that did, smoothed."""
        seen = self._kinds.get(kind, ())
        return (sum(seen) + _RISK_PRIOR * _CHANGES_PRIOR) / (len(seen) + _CHANGES_PRIOR)


def rates(runs: int, flakes: int) -> Rates:
    """Return how often runs are red for other reasons, from how many there were and were flaky."""
    usual = Rates()
    return Rates((flakes + usual.flake * _RUNS_PRIOR) / (runs + _RUNS_PRIOR), usual.clash)
