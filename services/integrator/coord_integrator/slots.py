"""The trials under way, each in a slot of its own."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from coord.environment import Environment
from coord.times import timestamp
from coord.v1 import integrator_pb2

from coord_integrator.evidence import Trial
from coord_integrator.verdicts import Judge


@dataclass(eq=False)
class _UnderWay:
    trial: Trial
    since_ns: int
    run: "asyncio.Task[integrator_pb2.CheckRun]"


class Slots:
    """Runs trials beside one another.

    Args:
        judge: Runs the check.
        environment: Time.
    """

    def __init__(self, judge: Judge, environment: Environment) -> None:
        self._judge = judge
        self._environment = environment
        self._under_way: list[_UnderWay] = []
        self._wake: Callable[[], None] = lambda: None

    def when_ended(self, wake: Callable[[], None]) -> None:
        """Have something called whenever a trial has ended by itself."""
        self._wake = wake

    @property
    def trials(self) -> list[Trial]:
        """What is under way, or has ended and is not harvested yet."""
        return [one.trial for one in self._under_way]

    def start(self, trial: Trial, commit: str) -> None:
        """Start a trial on the commit that its changes merge to."""
        run = asyncio.create_task(self._judge.run(commit, trial))
        self._under_way.append(_UnderWay(trial, self._environment.now_ns(), run))
        run.add_done_callback(self._tell)

    async def stop(self, trials: Collection[Trial]) -> None:
        """Stop trials; when it returns, what they have started has ended."""
        stopped = [one for one in self._under_way if one.trial in trials]
        self._under_way = [one for one in self._under_way if one not in stopped]
        for one in stopped:
            one.run.cancel()
        await asyncio.gather(*(one.run for one in stopped), return_exceptions=True)

    async def stop_all(self) -> None:
        """Stop all trials."""
        await self.stop(self.trials)

    def harvest(self) -> list[tuple[Trial, integrator_pb2.CheckRun]]:
        """Return the trials that have ended, the green ones first.

        Raises:
            CoordError: see `Judge.run`; the trial counts for nothing then.
            OSError: likewise.
        """
        ended = [one for one in self._under_way if one.run.done()]
        self._under_way = [one for one in self._under_way if one not in ended]
        failures = [error for one in ended if (error := one.run.exception()) is not None]
        if failures:
            raise failures[0]
        found = [(one.trial, one.run.result()) for one in ended]
        return sorted(found, key=lambda pair: not pair[1].passed)

    def told(self) -> list[integrator_pb2.TrialUnderWay]:
        """Return what is under way, oldest first, as the contract tells of it."""
        trials = [
            integrator_pb2.TrialUnderWay(
                change_ids=one.trial.changes,
                base_commit=one.trial.base,
                started_at=timestamp(one.since_ns),
            )
            for one in self._under_way
            if not one.run.done()
        ]
        if self._judge.on_target is not None:
            trials.append(self._judge.on_target)
        return trials

    def _tell(self, run: "asyncio.Task[integrator_pb2.CheckRun]") -> None:
        if not run.cancelled():
            self._wake()
