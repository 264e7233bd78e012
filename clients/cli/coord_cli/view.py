"""What a run shows while it goes on: a live view on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import click
from coord.environment import SYSTEM
from coord.times import SECOND, timestamp_ns
from coord.v1 import coordinator_pb2, integrator_pb2, limiter_pb2, queue_pb2
from coord_worker.pool import WorkerState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coord_cli.amounts import format_length, format_money
from coord_cli.output import failure_name, state_name
from coord_cli.snapshot import Snapshot, time_left_ns

PoolStates = Mapping[str, WorkerState]

_STATES = (
    (queue_pb2.TASK_STATE_COMPLETE, "green"),
    (queue_pb2.TASK_STATE_MERGING, "cyan"),
    (queue_pb2.TASK_STATE_RUNNING, "yellow"),
    (queue_pb2.TASK_STATE_ASSIGNED, "yellow"),
    (queue_pb2.TASK_STATE_PENDING, "white"),
    (queue_pb2.TASK_STATE_FAILED, "red"),
    (queue_pb2.TASK_STATE_ABORTED, "red"),
    (queue_pb2.TASK_STATE_CANCELLED, "magenta"),
)
_ROWS_MAX = 16
# A rate of the first moments would say nothing.
_RATE_AFTER_NS = 10 * SECOND


class View(Protocol):
    """Shows how a run goes."""

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str) -> None:
        """Show how things stand. `note` says what is out of the ordinary."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""


def make_view(console: Console, *, quiet: bool) -> View:
    """Return the view that suits where the output goes."""
    if quiet:
        return QuietView()
    return LiveView(console) if console.is_terminal else PlainView()


class QuietView:
    """Shows nothing: the end alone is of interest."""

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str) -> None:
        """Show nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class PlainView(QuietView):
    """Prints a line for each change, for logs."""

    def __init__(self) -> None:
        self._begun_ns = SYSTEM.monotonic_ns()
        self._told: dict[str, str] = {}
        self._note = ""

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str) -> None:
        """Print what has changed since the last time."""
        if note and note != self._note:
            self._print(note)
        self._note = note
        for name, state in pool.items():
            if state in {WorkerState.RESTARTING, WorkerState.GIVEN_UP}:
                self._tell(f"worker {name}", f"worker {name} {state.value}")
        for task in snapshot.tasks:
            if task.state != queue_pb2.TASK_STATE_PENDING or task.attempts:
                self._tell(task.spec.id, _change(task))

    def _tell(self, subject: str, line: str) -> None:
        if self._told.get(subject) != line:
            self._told[subject] = line
            self._print(line)

    def _print(self, line: str) -> None:
        age_s = (SYSTEM.monotonic_ns() - self._begun_ns) / 1e9
        click.echo(f"{age_s:8.1f}s  {line}")


def _change(task: queue_pb2.Task) -> str:
    attempt = task.attempts[-1] if task.attempts else queue_pb2.Attempt()
    parts = [task.spec.id, state_name(task.state)]
    if task.state in {queue_pb2.TASK_STATE_ASSIGNED, queue_pb2.TASK_STATE_RUNNING}:
        parts.append(f"attempt {attempt.number} by {attempt.worker}")
    reason = failure_name(task.reason or attempt.reason)
    if reason and task.state != queue_pb2.TASK_STATE_COMPLETE:
        parts.append(f"({reason}: {_first_line(task.message or attempt.message)})")
    return " ".join(parts)


class LiveView:
    """Draws the whole state of a run, again and again."""

    def __init__(self, console: Console) -> None:
        self._begun_ns = SYSTEM.monotonic_ns()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str) -> None:
        """Draw how things stand."""
        elapsed_ns = SYSTEM.monotonic_ns() - self._begun_ns
        self._live.update(Group(*draw(snapshot, pool, note, elapsed_ns)), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def draw(
    snapshot: Snapshot, pool: PoolStates, note: str, elapsed_ns: int
) -> Iterator[RenderableType]:
    """Yield the parts of the live view, top to bottom."""
    now_ns = SYSTEM.now_ns()
    left_ns = None if note else time_left_ns(snapshot, now_ns)
    yield _headline(snapshot, elapsed_ns, left_ns)
    done = snapshot.counts.get(queue_pb2.TASK_STATE_COMPLETE, 0)
    yield ProgressBar(total=len(snapshot.tasks), completed=done)
    yield _counts(snapshot)
    yield Text()
    yield _workers(snapshot.workers, pool, now_ns)
    if snapshot.changes or snapshot.merge_queue.HasField("paused"):
        yield Text()
        yield _merging(snapshot)
    if note:
        yield Text()
        yield Text(note, style="bold yellow")


def _headline(snapshot: Snapshot, elapsed_ns: int, left_ns: int | None) -> Text:
    parts = [snapshot.run, format_length(elapsed_ns)]
    if left_ns is not None:
        parts.append(f"about {format_length(left_ns)} left")
    parts.append(_cost(snapshot, elapsed_ns))
    parts += [_bucket(bucket) for bucket in snapshot.buckets]
    return Text("   ".join(parts), style="bold")


def _cost(snapshot: Snapshot, elapsed_ns: int) -> str:
    balance = snapshot.balance
    text = format_money(balance.posted.nanos)
    if balance.HasField("cap"):
        text += f" of {format_money(balance.cap.nanos)}"
    hours = elapsed_ns / 3.6e12
    if balance.posted.nanos and elapsed_ns >= _RATE_AFTER_NS:
        text += f" ({format_money(round(balance.posted.nanos / hours))}/h)"
    return text


def _bucket(bucket: limiter_pb2.Bucket) -> str:
    parts = [
        f"{getattr(bucket.available, dimension)}/{getattr(bucket.limits, dimension).burst}"
        f" {dimension.replace('_', ' ')}"
        for dimension in ("requests", "tokens", "input_tokens", "output_tokens")
        if bucket.limits.HasField(dimension)
    ]
    return f"{bucket.name}: {', '.join(parts)}"


def _counts(snapshot: Snapshot) -> Text:
    text = Text()
    for state, color in _STATES:
        if number := snapshot.counts.get(state, 0):
            text.append(f"{number} {state_name(state).lower()}  ", style=color)
    return text


def _workers(
    workers: Sequence[coordinator_pb2.Worker], pool: PoolStates, now_ns: int
) -> RenderableType:
    table = Table("worker", "task", "for", "spent", "", box=None, pad_edge=False)
    known = {worker.name: worker for worker in workers}
    names = [*pool, *(name for name, worker in known.items() if worker.connected)]
    for name in list(dict.fromkeys(names))[:_ROWS_MAX]:
        worker = known.get(name)
        if worker is None or not worker.connected or not worker.attempts:
            table.add_row(name, Text(_idle(name, worker, pool), style="dim"))
            continue
        for attempt in worker.attempts:
            table.add_row(name, *_attempt_cells(attempt, now_ns))
    return table


def _idle(name: str, worker: coordinator_pb2.Worker | None, pool: PoolStates) -> str:
    if worker is not None and worker.reason.code in {"AGENT_UNAVAILABLE", "RATE_LIMITED"}:
        return _first_line(worker.reason.message)
    connected = worker is not None and worker.connected
    if connected or name not in pool:
        return "idle"
    return pool[name].value


def _attempt_cells(attempt: coordinator_pb2.WorkerAttempt, now_ns: int) -> tuple[Text | str, ...]:
    age_ns = now_ns - timestamp_ns(attempt.assigned_at)
    spent = format_money(attempt.spent.nanos) if attempt.spent.nanos else ""
    summary = Text(_first_line(attempt.progress.summary), style="dim", no_wrap=True)
    return attempt.attempt.task_id, format_length(age_ns), spent, summary


def _merging(snapshot: Snapshot) -> RenderableType:
    table = Table("merge queue", "", box=None, pad_edge=False)
    for change in snapshot.changes[:_ROWS_MAX]:
        state = integrator_pb2.ChangeState.Name(change.state).removeprefix("CHANGE_STATE_")
        table.add_row(change.attempt.task_id, state.lower())
    hidden = len(snapshot.changes) - _ROWS_MAX
    if hidden > 0:
        table.add_row(f"and {hidden} more", "")
    if snapshot.merge_queue.HasField("paused"):
        table.add_row(Text("paused", style="red"), snapshot.merge_queue.paused.message)
    return table


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
