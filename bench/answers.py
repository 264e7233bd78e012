"""What the no-op server answers: ready-made, of the size of a service's own answers."""

from collections.abc import Callable
from functools import cache
from typing import Any

from coord.times import SECOND, duration, timestamp
from coord.v1 import common_pb2, coordinator_pb2, ledger_pb2, limiter_pb2, queue_pb2
from google.protobuf.message import Message

from bench.samples import spec

_AT = timestamp(1_800_000_000 * SECOND + 123_456_789)
_TOKEN = 1_000_000


@cache
def _lease() -> queue_pb2.Lease:
    attempt = queue_pb2.Attempt(
        number=1, fencing_token=_TOKEN, worker="w00", assigned_at=_AT, lease_expires_at=_AT
    )
    return queue_pb2.Lease(spec=spec("t-00-000000"), attempt=attempt)


@cache
def _added(count: int) -> Message:
    return queue_pb2.AddTasksResponse(task_ids=["t-00-000000"] * count)


@cache
def _leased(count: int) -> Message:
    return queue_pb2.LeaseTasksResponse(leases=[_lease()] * count)


@cache
def _reported(response: Callable[..., Message], state: queue_pb2.TaskState, count: int) -> Message:
    result = queue_pb2.ReportResult(task_id="t-00-000000", state=state)
    return response(results=[result] * count)


@cache
def _granted(count: int) -> Message:
    grant = limiter_pb2.Grant(grant_id="g-00-000000", granted_at=_AT, expires_at=_AT)
    result = limiter_pb2.GrantResult(grant_id="g-00-000000", grant=grant)
    return limiter_pb2.AcquireGrantsResponse(results=[result] * count)


@cache
def _reserved(count: int) -> Message:
    amount = common_pb2.Money(currency="USD", nanos=50_000_000)
    held = ledger_pb2.Reservation(reservation_id="r-00-000000", amount=amount, expires_at=_AT)
    result = ledger_pb2.ReservationResult(reservation_id="r-00-000000", reservation=held)
    return ledger_pb2.ReserveFundsResponse(results=[result] * count)


@cache
def _settled(count: int) -> Message:
    result = ledger_pb2.ReservationReportResult(reservation_id="r-00-000000")
    return ledger_pb2.SettleReservationsResponse(results=[result] * count)


ANSWERS: dict[str, Callable[[Any], Message]] = {
    "AddTasks": lambda request: _added(len(request.tasks)),
    "LeaseTasks": lambda request: _leased(request.max_tasks),
    "StartTasks": lambda request: _reported(
        queue_pb2.StartTasksResponse, queue_pb2.TASK_STATE_RUNNING, len(request.attempts)
    ),
    "CompleteTasks": lambda request: _reported(
        queue_pb2.CompleteTasksResponse, queue_pb2.TASK_STATE_COMPLETE, len(request.completions)
    ),
    "AcquireGrants": lambda request: _granted(len(request.requests)),
    "ConfigureBucket": lambda _: limiter_pb2.ConfigureBucketResponse(),
    "ReserveFunds": lambda request: _reserved(len(request.requests)),
    "SetBudget": lambda _: ledger_pb2.SetBudgetResponse(),
    "SettleReservations": lambda request: _settled(len(request.settlements)),
}


@cache
def welcome() -> Message:
    """Return the answer to Hello."""
    said = coordinator_pb2.Welcome(heartbeat_interval=duration(2 * SECOND), grace=duration(SECOND))
    return coordinator_pb2.ConnectResponse(welcome=said)


def assigned(sequence: int, acknowledged: int) -> Message:
    """Return the message that gives a task."""
    return coordinator_pb2.ConnectResponse(
        sequence=sequence,
        acknowledged=acknowledged,
        assigned=coordinator_pb2.Assigned(lease=_lease()),
    )
