"""Decides by real runs of the check whether a merged tree may land.

A tree is green when one run on exactly that tree is green; greens are remembered, reds never.
Before a change is blamed, its tree has been red twice, and the tree that it merges into green.
"""

import asyncio
from dataclasses import dataclass, replace
from enum import Enum, auto

from coord.environment import Environment
from coord.errors import unavailable
from coord.times import SECOND, timestamp
from coord.v1 import integrator_pb2

from coord_integrator.checks import Checker
from coord_integrator.commands import STOPPED, CommandResult
from coord_integrator.metrics import IntegratorMetrics
from coord_integrator.store import IntegratorStore

FLAKY = "the check was red and then green on the same tree: it is flaky"


class Outcome(Enum):
    """What the runs say."""

    GREEN = auto()
    RED = auto()
    TARGET_RED = auto()


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a merged tree.

    Attributes:
        outcome: Whether it may land; if not, whose fault that is.
        message: For people; empty for a plain green.
        output: The end of what the last red run printed.
    """

    outcome: Outcome
    message: str = ""
    output: str = ""


@dataclass(frozen=True)
class _Judgement:
    """What a run is made for: a change (empty: none), a tree of the target's, and since when."""

    change_id: str
    of_target: bool
    begun_ns: int


class CheckStoppedError(Exception):
    """The change has ended while its check ran."""


class Judge:
    """Runs the check, and keeps the runs."""

    def __init__(
        self,
        store: IntegratorStore,
        checker: Checker,
        environment: Environment,
        metrics: IntegratorMetrics,
    ) -> None:
        self._store = store
        self._checker = checker
        self._environment = environment
        self._metrics = metrics
        self._current: tuple[str, asyncio.Task[CommandResult]] | None = None

    async def is_vouched_for(self, commit: str) -> bool:
        """Tell whether the check is known to be green on a commit's tree, or there is no check."""
        tree = await self._checker.repository.tree(commit)
        command = self._checker.command
        return not command or self._store.is_green(tree, command)

    async def judge(self, change_id: str, merged: str, tip: str) -> Verdict:
        """Judge a merged commit.

        Args:
            change_id: The change that it is for; empty for none.
            merged: The merged commit.
            tip: The commit that was merged into; the same one for a judgement of the target alone.

        Raises:
            CheckStoppedError: where `stop` was called for the change.
            CoordError: UNAVAILABLE with reason DISK_FULL where that may be why the check is red.
        """
        if await self.is_vouched_for(merged):
            return Verdict(Outcome.GREEN)
        part = _Judgement(change_id, merged == tip, self._environment.now_ns())
        first = await self._run(part, merged)
        if first.passed:
            return Verdict(Outcome.GREEN)
        second = await self._run(part, merged)
        if second.passed:
            return Verdict(Outcome.GREEN, FLAKY)
        if merged == tip or not await self._is_green(replace(part, of_target=True), tip):
            return Verdict(Outcome.TARGET_RED, _how("the target", second), second.output)
        return Verdict(Outcome.RED, _how("the merged tree", second), second.output)

    def stop(self, change_id: str) -> None:
        """Stop the check where it runs for this change."""
        if self._current is not None and self._current[0] == change_id:
            self._current[1].cancel()

    async def _is_green(self, part: _Judgement, commit: str) -> bool:
        return await self.is_vouched_for(commit) or (await self._run(part, commit)).passed

    async def _run(self, part: _Judgement, commit: str) -> CommandResult:
        tree = await self._checker.repository.tree(commit)
        begin_ns, begin = self._environment.now_ns(), self._environment.monotonic_ns()
        result = await self._stoppable(part.change_id, commit)
        if not result.passed and (full := self._checker.repository.full_disk()):
            raise unavailable("DISK_FULL", full, retry_after_ns=SECOND)
        seconds = (self._environment.monotonic_ns() - begin) / SECOND
        self._metrics.check_seconds.labels("green" if result.passed else "red").observe(seconds)
        run = integrator_pb2.CheckRun(
            tree=tree,
            passed=result.passed,
            exit_status=result.exit_status,
            output=result.output,
            started_at=timestamp(begin_ns),
            ended_at=timestamp(self._environment.now_ns()),
            command=self._checker.command,
            of_target=part.of_target,
            judged_at=timestamp(part.begun_ns),
        )
        await self._store.add_run(part.change_id, run)
        return result

    async def _stoppable(self, change_id: str, commit: str) -> CommandResult:
        task = asyncio.create_task(self._checker.run(commit))
        self._current = (change_id, task)
        try:
            await asyncio.wait({task})
        finally:
            self._current = None
            # Cancelled from outside: what the check has started must end before we do.
            task.cancel()
            await asyncio.wait({task})
        if task.cancelled():
            raise CheckStoppedError
        return task.result()


def _how(what: str, result: CommandResult) -> str:
    if result.exit_status == STOPPED:
        return f"the check ran into its time limit on {what}"
    return f"the check failed on {what}, exit status {result.exit_status}"
