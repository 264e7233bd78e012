"""Notices that nothing can go on any more, and why."""

from collections.abc import Mapping, Sequence

from coord.times import from_seconds, timestamp_ns
from coord.v1 import common_pb2, coordinator_pb2, queue_pb2

from coord_cli.command import Services
from coord_cli.snapshot import WORKING, Snapshot

_HOPELESS = frozenset(
    {
        "AGENT_UNAVAILABLE",
        "BUDGET_SPENT",
        "DISK_FULL",
        "MERGING_PAUSED",
        "MISSING_CAPABILITY",
        "NO_WORKER",
        "OTHER_TARGET",
        "SETUP_FAILED",
    }
)
_ASKED_MAX = 50

Reasons = Mapping[str, common_pb2.Reason]


class StuckWatch:
    """Watches one run.

    Args:
        services: Who is asked for reasons.
        patience_s: For how long nothing may have been possible. It covers the moments between an
            event and what follows from it.

    Attributes:
        full_disk: Whose disk is full, as of the last look, where nothing can go on for that.
        waits: What the first task that can go on waits for, by id, as of the last look.
    """

    def __init__(self, services: Services, patience_s: float) -> None:
        self._services = services
        self._patience_ns = from_seconds(patience_s)
        self._since_ns: int | None = None
        self.full_disk = ""
        self.waits: Reasons = {}

    def forget(self) -> None:
        """Begin anew: something is about to become possible."""
        self._since_ns = None

    async def look(self, snapshot: Snapshot, now_ns: int) -> Reasons:
        """Return why each open task is stuck, once that was so for long enough; else nothing."""
        reasons = await self._reasons(snapshot, now_ns)
        full = (one.message for one in reasons.values() if one.code == "DISK_FULL")
        self.full_disk = next(full, "")
        if not reasons:
            self._since_ns = None
            return {}
        if self._since_ns is None:
            self._since_ns = now_ns
        return reasons if now_ns - self._since_ns >= self._patience_ns else {}

    async def _reasons(self, snapshot: Snapshot, now_ns: int) -> Reasons:
        self.waits = {}
        later = next((task.spec.id for task in snapshot.open if _in_backoff(task, now_ns)), "")
        if later:
            self.waits = _first(later, await explain(self._services, later))
            return {}
        reasons: dict[str, common_pb2.Reason] = {}
        waiting = [task for task in snapshot.open if not task.deps_left]
        # As long as an agent works, the first answer is enough.
        waiting.sort(key=lambda task: task.state not in WORKING)
        for task in waiting[:_ASKED_MAX]:
            found = await explain(self._services, task.spec.id)
            hopeless = next((reason for reason in found if is_hopeless(reason)), None)
            if hopeless is None:
                self.waits = _first(task.spec.id, found)
                return {}
            reasons[task.spec.id] = hopeless
        return reasons


def _first(task_id: str, found: Sequence[common_pb2.Reason]) -> Reasons:
    return {task_id: found[0]} if found else {}


def _in_backoff(task: queue_pb2.Task, now_ns: int) -> bool:
    return task.HasField("not_before") and timestamp_ns(task.not_before) > now_ns


def is_hopeless(reason: common_pb2.Reason) -> bool:
    """Return whether waiting alone will not help.

    A rate limit helps itself, if it names a time; who has paused merging will let it go on.
    """
    if reason.metadata.get("cause") == "PAUSED":
        return False
    never_fits = reason.code == "RATE_LIMITED" and not reason.metadata.get("seconds")
    return reason.code in _HOPELESS or never_fits


async def explain(services: Services, task_id: str) -> list[common_pb2.Reason]:
    """Return what holds a task back."""
    request = coordinator_pb2.ExplainDispatchRequest(project=services.project, task_id=task_id)
    answer = await services.coordinator.ExplainDispatch(request)
    return list(answer.reasons)
