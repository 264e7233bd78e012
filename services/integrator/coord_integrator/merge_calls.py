"""The calls about changes and the merge queue, and the loop that runs it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from coord.errors import CoordError, failed_precondition, not_found
from coord.v1 import common_pb2
from coord.v1 import integrator_pb2 as pb
from coord_runtime.calls import Call
from coord_runtime.checks import (
    MESSAGE_BYTES_MAX,
    check_one_of,
    check_range,
    check_text,
    invalid_field,
    page_size,
)
from coord_runtime.paging import next_page_token, page_start
from coord_runtime.service import Service
from coord_runtime.tokens import Kind

from coord_integrator.explain import explain
from coord_integrator.loops import Loop
from coord_integrator.pauses import OPERATOR, STOP
from coord_integrator.rooms import Rooms
from coord_integrator.settings import IntegratorSettings
from coord_integrator.store import UNFINISHED, ChangeRow

T = TypeVar("T")

log = structlog.get_logger(__name__)

_FLAKES_SHOWN = 10
_FOLLOW_EVERY = 10
_PRIORITY_MAX = 1_000
# Each run has up to 64 KiB of output.
_RUNS_DEFAULT, _RUNS_MAX = 2, 20


class MergeCalls(Service):
    """The integrator's calls about changes and the merge queue."""

    def __init__(self, rooms: Rooms, settings: IntegratorSettings) -> None:
        self._rooms = rooms
        self._settings = settings
        self._steps = 0
        self._underway: set[asyncio.Task[Any]] = set()
        self._merging = Loop("merging", self._merge)
        self._reporting = Loop("reporting", self._report)
        rooms.merging.slots.when_ended(self._merging.wake)

    async def cancel_change(
        self, request: pb.CancelChangeRequest, call: Call
    ) -> pb.CancelChangeResponse:
        """Take a change out of the merge queue."""
        del call
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        row = self._change(request.change_id)
        if row.change.state != pb.CHANGE_STATE_CANCELLED:
            message = request.message or "taken out by the operator"
            moved = await self._to_its_end(self._rooms.merging.endings.cancel(row, message))
            if moved is None:
                raise _ended(self._change(request.change_id))
            row = moved
            self._merging.wake()
            self._reporting.wake()
        return pb.CancelChangeResponse(change=row.change)

    async def check_target(
        self, request: pb.CheckTargetRequest, call: Call
    ) -> pb.CheckTargetResponse:
        """Check the target as it stands, unless it is known to be green."""
        del call
        merging = self._rooms.merging
        green = await merging.readiness.is_green()
        if green or request.known_only:
            return pb.CheckTargetResponse(green=green)
        reason = await self._to_its_end(merging.queue.check_target())
        return pb.CheckTargetResponse(green=reason is None, reason=reason)

    async def explain_change(
        self, request: pb.ExplainChangeRequest, call: Call
    ) -> pb.ExplainChangeResponse:
        """Say why a change has not landed yet."""
        del call
        row = self._change(request.change_id)
        situation = self._rooms.merging.queue.situation()
        situation = replace(situation, paused=self._paused())
        position = situation.position(request.change_id)
        return pb.ExplainChangeResponse(
            change=self._with_runs(row),
            position=position,
            reasons=explain(row, situation),
            risk=situation.line[position - 1].risk if position else 0.0,
            trials=situation.trials_with(request.change_id),
        )

    async def get_change(self, request: pb.GetChangeRequest, call: Call) -> pb.GetChangeResponse:
        """Return one change with its runs."""
        del call
        return pb.GetChangeResponse(change=self._with_runs(self._change(request.change_id)))

    async def list_changes(
        self, request: pb.ListChangesRequest, call: Call
    ) -> pb.ListChangesResponse:
        """List changes in the order in which they were submitted."""
        del call
        for state in request.states:
            check_one_of("states", state, pb.ChangeState.values())
        if request.page_token and not request.page_token.isdecimal():
            raise invalid_field("page_token", "use the token of the answer before")
        size, after = page_size(request.page_size), int(request.page_token or 0)
        found = self._rooms.store.list_changes(request.states, after=after, limit=size + 1)
        shown = found[:size]
        return pb.ListChangesResponse(
            changes=[row.change for _, row in shown],
            next_page_token=str(shown[-1][0]) if len(found) > size else "",
            merge_queue=await self._merge_queue(),
        )

    async def list_target_runs(
        self, request: pb.ListTargetRunsRequest, call: Call
    ) -> pb.ListTargetRunsResponse:
        """List the runs of the check on the target alone, newest first."""
        del call
        check_range("page_size", request.page_size, 0, _RUNS_MAX)
        size, before = request.page_size or _RUNS_DEFAULT, page_start(request)
        found = self._rooms.store.target_runs(before=before[0] if before else None, limit=size + 1)
        more = len(found) > size
        return pb.ListTargetRunsResponse(
            runs=[run for _, run in found[:size]],
            next_page_token=next_page_token(request, [found[size - 1][0]]) if more else "",
        )

    async def pause_merging(
        self, request: pb.PauseMergingRequest, call: Call
    ) -> pb.PauseMergingResponse:
        """Let nothing land."""
        check_text("message", request.message, MESSAGE_BYTES_MAX)
        message = request.message or "paused by the operator"
        await self._to_its_end(self._pause(_holder(call), message))
        return pb.PauseMergingResponse()

    async def reprioritize_change(
        self, request: pb.ReprioritizeChangeRequest, call: Call
    ) -> pb.ReprioritizeChangeResponse:
        """Change when a waiting change is served."""
        del call
        check_range("priority", request.priority, -_PRIORITY_MAX, _PRIORITY_MAX)
        priority = request.priority if request.HasField("priority") else None
        urgent = request.urgent if request.HasField("urgent") else None
        self._change(request.change_id)
        row = await self._rooms.store.reprioritize_change(
            request.change_id, priority, urgent=urgent
        )
        if row is None:
            raise _ended(self._change(request.change_id))
        self._merging.wake()
        return pb.ReprioritizeChangeResponse(change=row.change)

    async def resume_merging(
        self, request: pb.ResumeMergingRequest, call: Call
    ) -> pb.ResumeMergingResponse:
        """Let changes land again."""
        del request
        await self._rooms.merging.pauses.let_go(_holder(call))
        self._merging.wake()
        return pb.ResumeMergingResponse()

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that is not undone when its caller goes away."""
        task = asyncio.create_task(work)
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_failure)
            raise

    def _change(self, change_id: str) -> ChangeRow:
        row = self._rooms.store.change(change_id)
        if row is None:
            raise not_found("CHANGE_NOT_FOUND", f"there is no change {change_id!r}")
        return row

    def _with_runs(self, row: ChangeRow) -> pb.Change:
        row.change.runs.extend(self._rooms.store.runs(row.change.change_id))
        return row.change

    async def _pause(self, by: str, message: str) -> None:
        """Cut off the step that is under way, so that none lands after the answer."""
        runs = await self._merging.stop()
        try:
            await self._rooms.merging.pauses.hold(by, message)
        finally:
            if runs:
                self._merging.start()

    async def _merge_queue(self) -> pb.MergeQueue:
        target, store = self._rooms.target, self._rooms.store
        standing = await target.read()
        situation = self._rooms.merging.queue.situation()
        _, flakes = store.run_counts()
        queue = pb.MergeQueue(
            target=target.branch,
            paused=self._paused(),
            slots=situation.slots,
            trials=situation.trials,
            flakes=store.flakes(_FLAKES_SHOWN),
            flakes_total=flakes,
        )
        if standing is not None:
            queue.landing_branch = standing.branch
            queue.target_commit = standing.tip
        unfinished = [row for _, row in store.list_changes(UNFINISHED)]
        queue.waiting = len(unfinished)
        if unfinished:
            queue.waiting_since.CopyFrom(unfinished[0].change.submitted_at)
        return queue

    def _paused(self) -> common_pb2.Reason | None:
        if full := self._rooms.full_disk():
            return common_pb2.Reason(code="DISK_FULL", message=full)
        return self._rooms.merging.pauses.reason(self._rooms.target.seen)

    async def _merge(self) -> float:
        rooms = self._rooms
        try:
            await rooms.lost_work.see_to()
            await rooms.submissions.hand_over_rest()
            busy = await rooms.merging.queue.step()
            if not busy and self._steps % _FOLLOW_EVERY == 0:
                await rooms.merging.lander.bring_along()
        except Exception as error:
            await rooms.merging.pauses.failed(error)
            raise
        finally:
            self._reporting.wake()
        await rooms.merging.pauses.passed()
        self._steps += 1
        if busy:
            self._rooms.looking.wake()
        return 0.0 if busy else self._settings.poll_s

    async def _report(self) -> float:
        await self._rooms.reporter.send()
        return self._settings.renew_s


def _holder(call: Call) -> str:
    """Return who pauses: the coordinator does so with a stop, people for themselves."""
    return STOP if call.principal.kind is Kind.SERVICE else OPERATOR


def _tell_failure(task: asyncio.Task[Any]) -> None:
    """Log how work has failed whose caller went away."""
    if not task.cancelled() and (error := task.exception()):
        log.warning("what a caller left to its end has failed", error=str(error))


def _ended(row: ChangeRow) -> CoordError:
    name = pb.ChangeState.Name(row.change.state).removeprefix("CHANGE_STATE_")
    message = f"{row.change.change_id} waits no more: it is {name}"
    return failed_precondition("CHANGE_ENDED", message, state=name)
