"""Runs the check, and keeps what the runs have shown.

A tree is green when one run on exactly that tree is green; greens are remembered for the tree, the
command and the environment, reds never. Of the target alone, two red runs make a verdict.
"""

import asyncio
from dataclasses import dataclass

from coord.environment import Environment
from coord.errors import unavailable
from coord.times import SECOND, timestamp
from coord.v1 import integrator_pb2

from coord_integrator.checks import Checker
from coord_integrator.commands import STOPPED
from coord_integrator.evidence import Trial
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.store import IntegratorStore

_NOTHING = Trial("", ())


@dataclass(frozen=True)
class Verdict:
    """What the runs say of the target alone.

    Attributes:
        green: Whether changes may land on it.
        message: For people; empty where it is green.
    """

    green: bool
    message: str = ""


class Judge:
    """Runs the check, at most so many times at once, and keeps the runs.

    Attributes:
        on_target: The judgement of the target alone that is under way; None without one.
    """

    def __init__(
        self,
        store: IntegratorStore,
        checker: Checker,
        environment: Environment,
        metrics: IntegratorMetrics,
        slots: int,
    ) -> None:
        self._store = store
        self._checker = checker
        self._environment = environment
        self._metrics = metrics
        self._slots = asyncio.Semaphore(slots)
        self.on_target: integrator_pb2.TrialUnderWay | None = None

    async def is_vouched_for(self, commit: str) -> bool:
        """Tell whether the check is known to be green on a commit's tree, or there is no check."""
        command = self._checker.command
        if not command:
            return True
        tree = await self._checker.repository.tree(commit)
        return self._store.is_green(tree, command, self._checker.environment)

    async def judge(self, commit: str) -> Verdict:
        """Judge a commit of the target alone.

        Raises:
            CoordError: UNAVAILABLE with reason DISK_FULL where that may be why the check is red.
        """
        if await self.is_vouched_for(commit):
            return Verdict(green=True)
        begun_ns = self._environment.now_ns()
        self.on_target = integrator_pb2.TrialUnderWay(
            base_commit=commit, started_at=timestamp(begun_ns)
        )
        try:
            run = await self.run(commit, _NOTHING, begun_ns)
            if not run.passed:
                run = await self.run(commit, _NOTHING, begun_ns)
        finally:
            self.on_target = None
        return Verdict(run.passed, "" if run.passed else how(run, "the target"))

    async def run(
        self, commit: str, trial: Trial, begun_ns: int | None = None
    ) -> integrator_pb2.CheckRun:
        """Run the check once.

        Args:
            commit: What is tested.
            trial: What was merged to make it; nothing where it is the target's.
            begun_ns: When the judgement began that the run is part of; by default now.

        Raises:
            CoordError: UNAVAILABLE with reason DISK_FULL where that may be why it is red.
            OSError: where there cannot be a folder for it.
        """
        async with self._slots:
            with self._metrics.slots_busy.track_inprogress():
                run = await self._run(commit, trial, begun_ns)
        name = "green" if run.passed else "red"
        seconds = _nanoseconds(run) / SECOND
        self._metrics.check_seconds.labels(name).observe(seconds)
        if await self._store.add_run(run, self._checker.environment):
            self._metrics.flakes.inc()
        return run

    async def _run(
        self, commit: str, trial: Trial, begun_ns: int | None
    ) -> integrator_pb2.CheckRun:
        tree = await self._checker.repository.tree(commit)
        start_ns = self._environment.now_ns()
        result = await self._checker.run(commit)
        if not result.passed and (full := self._checker.repository.full_disk()):
            raise unavailable("DISK_FULL", full, retry_after_ns=SECOND)
        return integrator_pb2.CheckRun(
            tree=tree,
            passed=result.passed,
            exit_status=result.exit_status,
            output=result.output,
            started_at=timestamp(start_ns),
            ended_at=timestamp(self._environment.now_ns()),
            command=self._checker.command,
            of_target=not trial.changes,
            judged_at=timestamp(start_ns if begun_ns is None else begun_ns),
            change_ids=trial.changes,
            base_commit=trial.base,
        )


def how(run: integrator_pb2.CheckRun, what: str) -> str:
    """Say how a run was red, for people."""
    if run.exit_status == STOPPED:
        return f"the check ran into its time limit on {what}"
    return f"the check failed on {what}, exit status {run.exit_status}"


def _nanoseconds(run: integrator_pb2.CheckRun) -> int:
    return run.ended_at.ToNanoseconds() - run.started_at.ToNanoseconds()
