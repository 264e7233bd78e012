"""What the runs of the check have told about the changes that wait to land.

A run tests a sequence of changes merged onto a base, one after the other. Where some of them land,
the rest of a sequence that begins with them is a sequence on the new base, since landing moves the
target along the very commits that were tested. Other sequences on the old base say what they have
said of their changes, but can land no more.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

RISK_MAX = 0.99


@dataclass(frozen=True)
class Trial:
    """Changes to test together.

    Attributes:
        base: The commit that they are merged onto.
        changes: The changes, by id, in the order in which they are merged.
    """

    base: str
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Rates:
    """How often runs are red for other reasons than a change that fails alone.

    Attributes:
        flake: Share of the runs that are red on a tree that is green.
        clash: Share of the changes, green alone, that fail with others that are green alone.
    """

    flake: float = 0.02
    clash: float = 0.01


@dataclass(frozen=True)
class _Red:
    changes: frozenset[str]
    number: int


class Evidence:
    """What is known of the changes on a base.

    Args:
        base: The commit that the target stands at.
        proven: Whether the check is known to be green on it.
    """

    def __init__(self, base: str, *, proven: bool) -> None:
        self.base = base
        self.greens: set[tuple[str, ...]] = set()
        self.reds: set[tuple[str, ...]] = set()
        self._proven = {base} if proven else set()
        self._landed_since: dict[str, tuple[str, ...]] = {base: ()}
        self._alone: defaultdict[str, list[str]] = defaultdict(list)
        self._cleared: dict[str, int] = {}
        self._suspects: list[_Red] = []
        self._results = 0

    @property
    def is_proven(self) -> bool:
        """Whether the check is known to be green on the base."""
        return self.base in self._proven

    def prove(self) -> None:
        """Take in that the check is green on the base."""
        self._proven.add(self.base)

    def on_base(self, trial: Trial) -> tuple[str, ...] | None:
        """Return what a trial tests on the present base; None where it tests no such thing."""
        landed = self._landed_since.get(trial.base)
        if landed is None or trial.changes[: len(landed)] != landed:
            return None
        return trial.changes[len(landed) :]

    def ended(self, trial: Trial, *, passed: bool) -> None:
        """Take in how a run has ended."""
        self._results += 1
        rest = self.on_base(trial)
        if passed:
            self._green(trial, rest)
        else:
            self._red(trial, rest)

    def landed(self, base: str, changes: tuple[str, ...]) -> None:
        """Take in that changes have landed, and the target stands at a new base by that."""
        for old, since in self._landed_since.items():
            self._landed_since[old] = since + changes
        self._landed_since[base] = ()
        self._proven.add(base)
        self.base = base
        self.greens = {rest for rest in (_after(one, changes) for one in self.greens) if rest}
        reds = self.reds
        self.reds = {rest for rest in (_after(one, changes) for one in reds) if rest}
        for rest in self.reds:
            if len(rest) == 1:
                self._red_alone(rest[0], base)
        gone = frozenset(changes)
        left = (_Red(red.changes - gone, red.number) for red in self._suspects)
        self._suspects = [red for red in left if red.changes]
        self._forget(changes)

    def moved(self, base: str, *, proven: bool) -> None:
        """Take in that somebody else has moved the target: what was tested on it is tested anew."""
        self.base = base
        self._landed_since = {base: ()}
        self._proven = {base} if proven else set()
        self.greens, self.reds = set(), set()

    def keep_only(self, waiting: Collection[str]) -> None:
        """Forget the changes that wait no more: red runs with them are explained, or of no use."""

        def is_waiting(changes: Collection[str]) -> bool:
            return all(change in waiting for change in changes)

        self._suspects = [red for red in self._suspects if is_waiting(red.changes)]
        self.reds = set(filter(is_waiting, self.reds))
        self.greens = set(filter(is_waiting, self.greens))
        self._forget([one for one in (*self._cleared, *self._alone) if one not in waiting])

    def is_cleared(self, change: str) -> bool:
        """Tell whether a change was in a green run, and not red alone since."""
        return change in self._cleared

    def reds_alone(self, change: str) -> int:
        """Return how often a change was red alone on a green base, since it was last green."""
        return sum(base in self._proven for base in self._alone.get(change, ()))

    def suspicion(self, change: str) -> int:
        """Return with how few others a change was in a red run unexplained yet; 0 for in none."""
        sizes = [len(red.changes) for red in self._suspects if change in red.changes]
        return min(sizes, default=0)

    def is_hopeless(self, changes: Collection[str]) -> bool:
        """Tell whether some of the changes, but not all, were red together and nobody knows why."""
        return any(red.changes < set(changes) for red in self._suspects)

    def risks(self, priors: Mapping[str, float], rates: Rates) -> dict[str, float]:
        """Return how likely each change is to fail, after all that the runs have told.

        Each red run raises the risk of its changes by the rule of Bayes, the smallest run first;
        one that contains another red run tells nothing new.

        Args:
            priors: The risk of each change before any run.
            rates: How often runs are red for other reasons.
        """
        risks = {
            change: rates.clash if change in self._cleared else prior
            for change, prior in priors.items()
        }
        told: list[frozenset[str]] = []
        for red in sorted(self._suspects, key=lambda one: len(one.changes)):
            if any(smaller <= red.changes for smaller in told):
                continue
            told.append(red.changes)
            _blame(risks, red.changes, rates.flake)
        return risks

    def _green(self, trial: Trial, rest: tuple[str, ...] | None) -> None:
        for change in trial.changes:
            self._cleared[change] = self._results
            self._alone.pop(change, None)
        tested = frozenset(trial.changes)
        self._suspects = [red for red in self._suspects if not self._is_explained(red, tested)]
        if rest:
            self.greens.add(rest)
            self.reds.discard(rest)

    def _is_explained(self, red: _Red, green: frozenset[str]) -> bool:
        """Tell whether a red run was a flake, or a clash that is to be found anew.

        The one, where all its changes are green together; the other, where each has been since.
        """
        cleared_since = all(self._cleared.get(one, 0) > red.number for one in red.changes)
        return red.changes <= green or cleared_since

    def _red(self, trial: Trial, rest: tuple[str, ...] | None) -> None:
        changes = trial.changes if rest is None else rest
        if not changes:
            return
        if rest:
            self.reds.add(rest)
        self._suspects.append(_Red(frozenset(changes), self._results))
        if len(changes) == 1:
            self._red_alone(changes[0], trial.base if rest is None else self.base)

    def _red_alone(self, change: str, base: str) -> None:
        self._cleared.pop(change, None)
        self._alone[change].append(base)

    def _forget(self, changes: Collection[str]) -> None:
        for change in changes:
            self._cleared.pop(change, None)
            self._alone.pop(change, None)


def _after(sequence: tuple[str, ...], landed: tuple[str, ...]) -> tuple[str, ...]:
    """Return what follows on what has landed; nothing where the sequence began otherwise."""
    size = len(landed)
    return sequence[size:] if sequence[:size] == landed else ()


def _blame(risks: dict[str, float], changes: frozenset[str], flake: float) -> None:
    known = [change for change in changes if change in risks]
    red = 1 - (1 - flake) * math.prod(1 - risks[change] for change in known)
    for change in known:
        risks[change] = min(risks[change] / red, RISK_MAX)
