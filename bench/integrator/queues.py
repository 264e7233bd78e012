"""Coord's merge queue in the model, and three others."""

from collections import deque
from collections.abc import Sequence

from coord_integrator.estimates import Estimates, rates
from coord_integrator.evidence import Evidence, Trial
from coord_integrator.trials import Entry, decide

from bench.integrator.model import Changes, World

# What went before, so that the estimate is a running one.
_HISTORY = 50
_KIND = "code"


class ScreenAndCertify:
    """Coord's: the decisions are those of the service."""

    def __init__(self, world: World, slots: int, history: Sequence[bool]) -> None:
        self._world = world
        self._slots = slots
        self._estimates = Estimates((_KIND, failed) for failed in history)
        self._evidence = Evidence("0", proven=True)
        self._contents: dict[str, set[int]] = {"0": set()}
        self._line: dict[str, int] = {}
        self._running: dict[int, Trial] = {}
        self._numbers = 0

    def arrive(self, change: int) -> None:
        self._line[str(change)] = change

    def end(self, ended: Sequence[tuple[int, bool]], now: float) -> None:
        del now
        for number, passed in sorted(ended, key=lambda pair: not pair[1]):
            if number in self._running:
                self._evidence.ended(self._running.pop(number), passed=passed)

    def begin(self, now: float) -> list[tuple[int, bool]]:
        started: list[tuple[int, bool]] = []
        while True:
            self._evidence.keep_only(self._line)
            risk = self._estimates.risk(_KIND)
            line = [Entry(name, risk) for name in self._line]
            running = list(self._running.values())
            decision = decide(line, self._evidence, running, self._slots, rates(0, 0))
            if decision.land:
                self._land(decision.land, now)
            for name in decision.reject:
                self._estimates.ended(_KIND, failed=True)
                self._world.reject(self._line.pop(name), now)
            for number in [key for key, one in self._running.items() if one in decision.stop]:
                del self._running[number]
            started += [self._start(trial) for trial in decision.start]
            if not (decision.land or decision.reject or decision.stop):
                return [one for one in started if one[0] in self._running]

    def _start(self, trial: Trial) -> tuple[int, bool]:
        self._numbers += 1
        self._running[self._numbers] = trial
        tested = self._contents[trial.base] | {int(name) for name in trial.changes}
        return self._numbers, self._world.passes(tested)

    def _land(self, names: tuple[str, ...], now: float) -> None:
        self._world.land([self._line.pop(name) for name in names], now)
        for _ in names:
            self._estimates.ended(_KIND, failed=False)
        base = str(len(self._contents))
        self._contents[base] = set(self._world.landed)
        self._evidence.landed(base, names)


class Train:
    """A merge train: each change is tested behind all before it; a red one is tried once more.

    What is behind a change that has failed is tested anew.
    """

    def __init__(self, world: World, slots: int) -> None:
        self._world = world
        self._slots = slots
        self._line: list[int] = []
        self._runs: dict[int, tuple[Changes, bool | None]] = {}
        self._retried: set[int] = set()
        self._numbers = 0

    def arrive(self, change: int) -> None:
        self._line.append(change)

    def begin(self, now: float) -> list[tuple[int, bool]]:
        del now
        known = {changes for changes, _ in self._runs.values()}
        started = []
        for size in range(1, min(self._slots, len(self._line)) + 1):
            changes = tuple(self._line[:size])
            if changes not in known and len(self._runs) < self._slots:
                self._numbers += 1
                self._runs[self._numbers] = (changes, None)
                passed = self._world.passes({*self._world.landed, *changes})
                started.append((self._numbers, passed))
        return started

    def end(self, ended: Sequence[tuple[int, bool]], now: float) -> None:
        for number, passed in ended:
            if number in self._runs:
                self._runs[number] = (self._runs[number][0], passed)
        while self._land(now) or self._blame(now):
            pass

    def _land(self, now: float) -> bool:
        greens = [changes for changes, passed in self._runs.values() if passed]
        if not greens:
            return False
        size = len(max(greens, key=len))
        self._world.land(self._line[:size], now)
        self._line = self._line[size:]
        self._runs = {
            number: (changes[size:], passed)
            for number, (changes, passed) in self._runs.items()
            if len(changes) > size
        }
        return True

    def _blame(self, now: float) -> bool:
        if not any(
            passed is False and changes == (self._line[0],)
            for changes, passed in self._runs.values()
        ):
            return False
        head = self._line[0]
        if head in self._retried:
            self._world.reject(self._line.pop(0), now)
        self._retried.add(head)
        self._runs.clear()
        return True


class Bisect:
    """One run at a time: a batch of those in line; a red one is halved, a red change tried again.

    With batches of one it is the serial queue.
    """

    def __init__(self, world: World, size: int) -> None:
        self._world = world
        self._size = size
        self._line: deque[int] = deque()
        self._batches: list[Changes] = []
        self._current: Changes = ()
        self._retried: set[int] = set()

    def arrive(self, change: int) -> None:
        self._line.append(change)

    def begin(self, now: float) -> list[tuple[int, bool]]:
        del now
        if self._current:
            return []
        if self._line and not self._batches:
            size = min(self._size, len(self._line))
            self._batches.append(tuple(self._line.popleft() for _ in range(size)))
        if not self._batches:
            return []
        self._current = self._batches.pop()
        return [(0, self._world.passes({*self._world.landed, *self._current}))]

    def end(self, ended: Sequence[tuple[int, bool]], now: float) -> None:
        ((_, passed),) = ended
        batch, self._current = self._current, ()
        if passed:
            self._world.land(batch, now)
        elif len(batch) > 1:
            half = len(batch) // 2
            self._batches += [batch[half:], batch[:half]]
        elif batch[0] in self._retried:
            self._world.reject(batch[0], now)
        else:
            self._retried.add(batch[0])
            self._batches.append(batch)


def history(share: float) -> list[bool]:
    """Return as many endings as the estimate looks at, evenly mixed, with a share of failures."""
    return [int((one + 1) * share) > int(one * share) for one in range(_HISTORY)]
