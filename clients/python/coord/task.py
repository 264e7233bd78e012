"""A task, as the code that works at it sees it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc

from coord.admission import Admitting
from coord.calls import Estimate
from coord.environment import Environment
from coord.errors import CoordError
from coord.process import run_process
from coord.questions import Questions
from coord.session import Report
from coord.v1 import (
    admission_pb2,
    claims_pb2,
    common_pb2,
    coordinator_pb2,
    integrator_pb2,
    ledger_pb2,
    limiter_pb2,
    queue_pb2,
)


class TaskFailed(Exception):  # noqa: N818 - it tells the outcome of work, not an error of Coord's.
    """To be raised by a handler whose attempt has failed.

    Attributes:
        message: For people: what happened.
        detail: What the next attempt should know.
        reason: Decides what follows; by default the attempt is used up.
        not_before: The earliest time for the next attempt, such as the reset of a limit.
    """

    def __init__(
        self,
        message: str,
        *,
        detail: str = "",
        reason: queue_pb2.FailureReason = queue_pb2.FAILURE_REASON_AGENT_ERROR,
        not_before: datetime | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.detail = message, detail
        self.reason, self.not_before = reason, not_before


class TaskReleased(Exception):  # noqa: N818 - likewise.
    """To be raised by a handler that gives its task back unfinished: no attempt is used up."""


class RateUse:
    """A call to a model that was granted. What is not settled counts at its estimate.

    Attributes:
        actual: What counts; None where the call was not made.
    """

    def __init__(self, estimate: limiter_pb2.Quantities) -> None:
        self.actual: limiter_pb2.Quantities | None = estimate

    def settle(
        self, *, requests: int = 1, tokens: int = 0, input_tokens: int = 0, output_tokens: int = 0
    ) -> None:
        """Tell what the call has used, which may be above the estimate."""
        self.actual = limiter_pb2.Quantities(
            requests=requests, tokens=tokens, input_tokens=input_tokens, output_tokens=output_tokens
        )

    def give_back(self) -> None:
        """Tell that the call was not made."""
        self.actual = None


class Task(Admitting):
    """One attempt at a task. It is cancelled when the attempt has to stop.

    Args:
        assigned: What the coordinator has told.
        send: Says something to the coordinator.
        questions: Asks the coordinator.
        environment: Ids.

    Attributes:
        ref: The attempt, with its fencing token.
        spec: What is to be done.
        number: Which attempt at the task this is, from 1 on.
        folder: Its worktree; None where the project has no repository.
        worktree: Branch and base of the worktree.
        previous: The attempt before, with what it left to know; empty for the first.
        budget: The most that it may spend; None where it has no cap.
        warning: The balance that is nearly spent, once there is one.
        conflicting: With whom what is in the worktree conflicts, as far as the worker was told; it
            is told as it changes. `conflicts` looks now.
    """

    def __init__(
        self,
        assigned: coordinator_pb2.Assigned,
        send: Callable[[Report], asyncio.Future[None]],
        questions: Questions,
        environment: Environment,
    ) -> None:
        lease = assigned.lease
        self.spec: queue_pb2.TaskSpec = lease.spec
        self.ref = common_pb2.AttemptRef(
            task_id=lease.spec.id, fencing_token=lease.attempt.fencing_token
        )
        self.number: int = lease.attempt.number
        self.previous: queue_pb2.Attempt = lease.previous
        self.worktree: integrator_pb2.Worktree = assigned.worktree
        self.folder = Path(assigned.worktree.path) if assigned.worktree.path else None
        self.budget = assigned.budget if assigned.HasField("budget") else None
        self.warning: ledger_pb2.Balance | None = None
        self.conflicting: list[coordinator_pb2.ConflictWith] = []
        self._send = send
        self._questions = questions
        self._environment = environment
        self._claims: dict[str, asyncio.Task[Any] | None] = {}
        self._lost: set[str] = set()

    @property
    def id(self) -> str:
        """The task's id."""
        return self.spec.id

    @property
    def title(self) -> str:
        """One line for people."""
        return self.spec.title

    @property
    def prompt(self) -> str:
        """What to do, in words."""
        return self.spec.prompt

    def progress(self, summary: str, fraction: float = 0.0) -> None:
        """Tell how far the work has come; the next attempt gets to know it.

        Args:
            summary: One line.
            fraction: Share of the work done, 0 to 1; 0 where that is unknown.
        """
        progress = common_pb2.Progress(summary=summary, fraction=fraction)
        self._send(coordinator_pb2.ProgressReport(attempt=self.ref, progress=progress))

    async def spent(
        self, nanos: int = 0, currency: str = "USD", usage: common_pb2.Usage | None = None
    ) -> None:
        """Book a cost; on return it is on disk.

        Args:
            nanos: How much, in 10^-9 of the currency.
            currency: Its code.
            usage: What was used, as far as known.
        """
        amount = common_pb2.Money(currency=currency, nanos=nanos) if nanos else None
        entry_id = self._environment.new_id("spent-")
        await self._send(
            coordinator_pb2.Spent(attempt=self.ref, entry_id=entry_id, amount=amount, usage=usage)
        )

    @asynccontextmanager
    async def claim(
        self, *paths: str, names: Sequence[str] = (), shared: bool = False
    ) -> AsyncIterator[claims_pb2.Claim]:
        """Hold paths and named resources while the block runs; wait for them first.

        Args:
            paths: Globs in gitignore syntax, relative to the repository's top.
            names: Anything else that has a name, such as `port/5432`.
            shared: Whether others may hold them shared at the same time.

        Raises:
            CoordError: FAILED_PRECONDITION with reason DEADLOCK or STALE_TOKEN; ABORTED with reason
                CLAIM_LOST where the claim was taken back, which cancels the block.
        """
        claim_id, owner = self._environment.new_id("claim-"), asyncio.current_task()
        resources = [claims_pb2.Resource(path=path, shared=shared) for path in paths]
        resources += [claims_pb2.Resource(name=name, shared=shared) for name in names]
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=resources, attempt=self.ref)
        try:
            claim = await self._questions.ask(claim_id, request)
            self._claims[claim_id] = owner
            yield claim
        except asyncio.CancelledError:
            if claim_id not in self._lost or (owner is not None and owner.uncancel()):
                raise
            message = f"the claim on {', '.join([*paths, *names])} was taken back"
            raise CoordError(grpc.StatusCode.ABORTED, "CLAIM_LOST", message) from None
        finally:
            self._claims.pop(claim_id, None)
            self._send(coordinator_pb2.ClaimRelease(claim_id=claim_id))

    @asynccontextmanager
    async def rate(
        self,
        *buckets: str,
        requests: int = 1,
        tokens: int = 0,
        input_tokens: int = 0,
        output_tokens: int = 0,
    ) -> AsyncIterator[RateUse]:
        """Wait until a call to a model may be made, and settle it after the block.

        Args:
            buckets: Those that the call counts for; none for those of the worker.
            requests: How many calls.
            tokens: The most that they use, of either direction.
            input_tokens: Likewise, of input.
            output_tokens: Likewise, of output.

        Raises:
            CoordError: FAILED_PRECONDITION with reason LARGER_THAN_BUCKET or TOO_MANY.
        """
        rate_id = self._environment.new_id("rate-")
        estimate = limiter_pb2.Quantities(
            requests=requests, tokens=tokens, input_tokens=input_tokens, output_tokens=output_tokens
        )
        use = RateUse(estimate)
        request = coordinator_pb2.RateRequest(
            rate_id=rate_id, attempt=self.ref, buckets=buckets, estimate=estimate
        )
        granted = False
        try:
            await self._questions.ask(rate_id, request)
            granted = True
            yield use
        finally:
            actual = use.actual if granted else None
            self._send(coordinator_pb2.RateSettlement(rate_id=rate_id, actual=actual))

    async def conflicts(self) -> list[coordinator_pb2.ConflictWith]:
        """Return with whom what is in the worktree conflicts, and where.

        Raises:
            CoordError: FAILED_PRECONDITION with reason NO_WORKTREE.
        """
        check_id = self._environment.new_id("check-")
        check = coordinator_pb2.ConflictCheck(check_id=check_id, attempt=self.ref)
        return list((await self._questions.ask(check_id, check)).conflicts)

    async def run(self, *argv: str, grace_s: float = 5.0) -> int:
        """Run a command in the worktree; it is ended when the attempt has to stop.

        Args:
            argv: The command.
            grace_s: How long its processes then have between SIGTERM and SIGKILL.

        Returns:
            Its exit status.
        """
        return await run_process(*argv, folder=self.folder, grace_s=grace_s)

    def lose(self, claim_id: str) -> None:
        """Note that a claim was taken back: what runs under it is cancelled."""
        if owner := self._claims.get(claim_id):
            self._lost.add(claim_id)
            owner.cancel()

    def _request(self, estimate: Estimate) -> admission_pb2.CallRequest:
        return estimate.request(self._environment.new_id("call-"), self.ref)

    async def _ask(self, request: admission_pb2.CallRequest) -> admission_pb2.CallAdmission:
        admission: admission_pb2.CallAdmission = await self._questions.ask(request.call_id, request)
        return admission

    async def _tell(self, settlement: admission_pb2.CallSettlement) -> None:
        self._send(settlement)
