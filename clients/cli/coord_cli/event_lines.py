"""Events as people read them: one line each."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from coord.times import SECOND, timestamp_ns
from coord.v1 import coordinator_pb2, integrator_pb2, ledger_pb2, limiter_pb2, queue_pb2

from coord_cli.amounts import format_length, format_money
from coord_cli.claiming import resource_text
from coord_cli.output import failure_name, state_name

_CHARS_MAX = 300


def event_line(event: coordinator_pb2.Event) -> str:
    """Return an event as one line: when, what kind, what."""
    kind = event.WhichOneof("event") or ""
    body = getattr(event, kind)
    text = " ".join(" ".join(_WORDS[kind](body)).split())
    shown = text if len(text) <= _CHARS_MAX else f"{text[:_CHARS_MAX]}..."
    return f"{_clock(occurred_ns(event))}  {event.name:<30} {shown}"


def occurred_ns(event: coordinator_pb2.Event) -> int:
    """Return when an event happened, by the clock of its service."""
    return timestamp_ns(getattr(event, event.WhichOneof("event") or "").meta.occurred_at)


def _clock(ns: int) -> str:
    seconds, rest = divmod(ns, SECOND)
    hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}.{rest // 10**6:03}"


def _queue(event: queue_pb2.QueueEvent) -> Iterator[str]:
    if event.kind:  # Its name says what has happened.
        yield event.task_id
        yield ", ".join(event.deps) or event.message
        return
    yield f"{event.task_id}:"
    if event.from_state:
        yield f"{state_name(event.from_state)} ->"
    yield state_name(event.to_state)
    if event.worker:
        yield f"by {event.worker}"
    if event.reason:
        yield failure_name(event.reason)
    yield event.message


def _coordinator(event: coordinator_pb2.CoordinatorEvent) -> Iterator[str]:
    if event.HasField("claim"):
        what = ", ".join(map(resource_text, event.claim.resources))
        yield f"{event.claim.holder}: {what} ({event.claim.claim_id})"
    elif event.HasField("routed"):
        recipient = event.routed.worker or event.routed.role or "everybody"
        yield f"{event.routed.sender} to {recipient} ({event.routed.message_id})"
    else:
        who = f"{event.worker}: " if event.worker else ""
        yield f"{who}{event.reason.message or event.reason.code.lower()}"


def _limiter(event: limiter_pb2.LimiterEvent) -> Iterator[str]:
    yield f"{event.bucket}:"
    if event.HasField("exhausted"):
        wait_ns = event.exhausted.retry_after.ToNanoseconds()
        yield f"is empty; {event.exhausted.worker} waits {format_length(wait_ns)}"
        return
    if event.HasField("paused"):
        until = event.paused.until.ToJsonString()
        yield f"its provider wants no calls until {until}; {event.paused.worker} was told so"
        return
    if event.HasField("removed"):
        yield "was removed"
        return
    for dimension, limit in event.configured.limits.ListFields():
        yield f"{limit.per_minute} {dimension.name} a minute, {limit.burst} at once;"


def _ledger(event: ledger_pb2.LedgerEvent) -> Iterator[str]:
    if event.HasField("cost_posted"):
        entry = event.cost_posted.entry
        yield f"{format_money(entry.amount.nanos)} for"
        yield ", ".join(_scope(scope) for scope in reversed(entry.scopes))
        if tokens := entry.usage.input_tokens + entry.usage.output_tokens:
            yield f"({tokens} tokens {entry.usage.model})"
        return
    told = getattr(event, event.WhichOneof("kind") or "")
    if not told.balance.budgets:
        yield f"{_scope(told.balance.scope)}: no cap any more"
    for budget in told.balance.budgets:
        if event.HasField("budget_set") or budget.window == told.window:
            yield f"{_scope(told.balance.scope)}: {format_money(budget.posted.nanos)} spent of"
            yield format_money(budget.cap.nanos) + _WINDOWS.get(budget.window, "")


_WINDOWS: Mapping[int, str] = {
    ledger_pb2.BUDGET_WINDOW_DAY: " a day",
    ledger_pb2.BUDGET_WINDOW_MONTH: " a month",
}


def _scope(scope: ledger_pb2.Scope) -> str:
    kind = ledger_pb2.ScopeKind.Name(scope.kind).removeprefix("SCOPE_KIND_").lower()
    return f"{kind} {scope.id}"


def _integrator(event: integrator_pb2.IntegratorEvent) -> Iterator[str]:
    match event.WhichOneof("kind"):
        case "worktree_ready":
            worktree = event.worktree_ready.worktree
            yield f"{worktree.worker}: on {worktree.branch} at {worktree.base_commit[:10]}"
        case "worktree_snapshotted":
            snapshot = event.worktree_snapshotted
            yield f"{snapshot.worker}: kept as {snapshot.snapshot.ref}"
        case "worktree_removed":
            yield f"{event.worktree_removed.worker}: its worktree is gone"
        case "change_moved":
            yield from _change(event.change_moved.change)
        case "conflict_changed":
            yield from _conflict(event.conflict_changed)
        case "merging_paused":
            reason = event.merging_paused.reason
            yield f"paused: {reason.message}" if reason.code else "merging goes on"


def _conflict(changed: integrator_pb2.ConflictChanged) -> Iterator[str]:
    conflict = changed.conflict
    other = conflict.other.worker or "the target"
    verb = "conflict no more" if changed.resolved else "conflict"
    yield f"{conflict.worker} and {other} {verb} in {', '.join(conflict.other.paths)}"


def _change(change: integrator_pb2.Change) -> Iterator[str]:
    yield f"{change.attempt.task_id}: +{change.lines_added} -{change.lines_removed}"
    if change.landed_commit:
        yield f"as {change.landed_commit[:10]}"
    yield change.message


_WORDS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "coordinator": _coordinator,
    "integrator": _integrator,
    "ledger": _ledger,
    "limiter": _limiter,
    "queue": _queue,
}
