"""What a run shows while it goes on: a live view on a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import click
from coord.environment import SYSTEM
from coord.times import MINUTE, SECOND, timestamp_ns
from coord.v1 import coordinator_pb2, integrator_pb2, limiter_pb2, queue_pb2
from coord_worker.pool import WorkerState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coord_cli.amounts import format_length, format_money
from coord_cli.output import failure_name, state_name
from coord_cli.snapshot import Snapshot, time_left_ns
from coord_cli.stuck import Reasons

PoolStates = Mapping[str, WorkerState]

_STATES = (
    (queue_pb2.TASK_STATE_MERGING, "cyan"),
    (queue_pb2.TASK_STATE_RUNNING, "yellow"),
    (queue_pb2.TASK_STATE_ASSIGNED, "yellow"),
    (queue_pb2.TASK_STATE_PENDING, "white"),
    (queue_pb2.TASK_STATE_FAILED, "red"),
    (queue_pb2.TASK_STATE_ABORTED, "red"),
    (queue_pb2.TASK_STATE_CANCELLED, "magenta"),
)
# What is drawn beside rows of workers, changes and failures, and the least of each that is shown.
_LINES_ELSE = 12
_ROWS_MIN = 3
_FAILED_MAX = 3
_FAILED = frozenset(
    {
        queue_pb2.TASK_STATE_FAILED,
        queue_pb2.TASK_STATE_CANCELLED,
    }
)
# A rate of the first moments would say nothing.
_RATE_AFTER_NS = 10 * SECOND


class View(Protocol):
    """Shows how a run goes."""

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str, waits: Reasons) -> None:
        """Show how things stand.

        Args:
            snapshot: How they do.
            pool: The workers that this command has started.
            note: What is out of the ordinary.
            waits: What a task waits for, by id.
        """

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""


def make_view(console: Console, *, apart: bool) -> View:
    """Return the view that suits where the output goes; with `apart` that is not for progress."""
    if apart:
        return PlainView(to_error=True)
    return LiveView(console) if console.is_terminal else PlainView()


class PlainView:
    """Prints a line for each change, for logs."""

    def __init__(self, *, to_error: bool = False) -> None:
        self._to_error = to_error
        self._begun_ns = SYSTEM.monotonic_ns()
        self._printed_ns = self._begun_ns
        self._told: dict[str, object] = {}
        self._note = ""

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str, waits: Reasons) -> None:
        """Print what has changed since the last time; after a minute of silence also why."""
        if note and note != self._note:
            self._print(note)
        self._note = note
        for name, state in pool.items():
            if state in {WorkerState.RESTARTING, WorkerState.GIVEN_UP}:
                self._tell(f"worker {name}", f"worker {name} {state.value}")
        for task in snapshot.tasks:
            if task.state != queue_pb2.TASK_STATE_PENDING or task.attempts:
                self._tell(task.spec.id, _change(task))
        for task_id, reason in waits.items():
            if SYSTEM.monotonic_ns() - self._printed_ns >= MINUTE:
                # Not by its message: that counts the seconds.
                self._tell("", f"{task_id}: {reason.message}", (task_id, reason.code))

    def _tell(self, subject: str, line: str, news: object = None) -> None:
        """Print a line on a subject, unless the news of it are those of the last time."""
        news = news or line
        if self._told.get(subject) != news:
            self._told[subject] = news
            self._print(line)

    def _print(self, line: str) -> None:
        self._printed_ns = SYSTEM.monotonic_ns()
        age_s = (self._printed_ns - self._begun_ns) / 1e9
        click.echo(f"{age_s:8.1f}s  {line}", err=self._to_error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


def _change(task: queue_pb2.Task) -> str:
    attempt = task.attempts[-1] if task.attempts else queue_pb2.Attempt()
    parts = [task.spec.id, state_name(task.state)]
    if task.state in {queue_pb2.TASK_STATE_ASSIGNED, queue_pb2.TASK_STATE_RUNNING}:
        parts.append(f"attempt {attempt.number} by {attempt.worker}")
    reason = failure_name(task.reason or attempt.reason)
    if reason and task.state != queue_pb2.TASK_STATE_COMPLETE:
        why = _first_line(task.message or attempt.message)
        if why or reason != state_name(task.state):
            parts.append(f"({reason}: {why})" if why else f"({reason})")
    return " ".join(parts)


class LiveView:
    """Draws the whole state of a run, again and again."""

    def __init__(self, console: Console) -> None:
        self._begun_ns = SYSTEM.monotonic_ns()
        self._spent_before: int | None = None
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, snapshot: Snapshot, pool: PoolStates, note: str, waits: Reasons) -> None:
        """Draw how things stand."""
        del waits
        spent = snapshot.balance.posted.nanos
        self._spent_before = spent if self._spent_before is None else self._spent_before
        age = Age(SYSTEM.monotonic_ns() - self._begun_ns, self._spent_before)
        parts = draw(snapshot, pool, note, age, self._console.height)
        self._live.update(Group(*parts), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


@dataclass(frozen=True)
class Age:
    """How long a view is there, and what the run had cost before, in billionths of a dollar."""

    elapsed_ns: int
    spent_before: int = 0


def draw(
    snapshot: Snapshot, pool: PoolStates, note: str, age: Age, height: int
) -> Iterator[RenderableType]:
    """Yield the parts of the live view, top to bottom: what matters most comes first.

    Args:
        snapshot: How things stand.
        pool: The workers that this command has started.
        note: What is out of the ordinary.
        age: How long the view is there.
        height: Lines of the terminal.
    """
    now_ns = SYSTEM.now_ns()
    rows = max((height - _LINES_ELSE) // 2, _ROWS_MIN)
    left_ns = None if note else time_left_ns(snapshot, now_ns)
    yield _headline(snapshot, age, left_ns)
    done = snapshot.counts.get(queue_pb2.TASK_STATE_COMPLETE, 0)
    # A bar alone does not end its line.
    yield Padding(ProgressBar(total=len(snapshot.tasks), completed=done))
    yield _counts(snapshot)
    if snapshot.merge_queue.HasField("paused"):
        why = _first_line(snapshot.merge_queue.paused.message)
        yield Text(f"merging is paused: {why}", style="bold red")
    if note:
        yield Text(note, style="bold yellow")
    yield from _failed(snapshot.tasks)
    yield Text()
    yield _workers(snapshot, pool, now_ns, rows)
    if snapshot.changes:
        yield Text()
        yield _merging(snapshot, rows)


def _headline(snapshot: Snapshot, age: Age, left_ns: int | None) -> Text:
    parts = [snapshot.run, format_length(age.elapsed_ns)]
    if left_ns is not None:
        parts.append(f"about {format_length(left_ns)} left")
    parts.append(_cost(snapshot, age))
    parts += [_bucket(bucket) for bucket in snapshot.buckets]
    return Text("   ".join(parts), style="bold")


def _cost(snapshot: Snapshot, age: Age) -> str:
    balance = snapshot.balance
    text = format_money(balance.posted.nanos)
    if balance.HasField("cap"):
        text += f" of {format_money(balance.cap.nanos)}"
    spent, hours = balance.posted.nanos - age.spent_before, age.elapsed_ns / 3.6e12
    if spent > 0 and age.elapsed_ns >= _RATE_AFTER_NS:
        text += f" ({format_money(round(spent / hours))} an hour)"
    return text


def _bucket(bucket: limiter_pb2.Bucket) -> str:
    parts = [
        f"{getattr(bucket.available, dimension)} of {getattr(bucket.limits, dimension).burst}"
        f" {dimension.replace('_', ' ')} left"
        for dimension in ("requests", "tokens", "input_tokens", "output_tokens")
        if bucket.limits.HasField(dimension)
    ]
    return f"{bucket.name}: {', '.join(parts)}"


def _counts(snapshot: Snapshot) -> Text:
    done = snapshot.counts.get(queue_pb2.TASK_STATE_COMPLETE, 0)
    text = Text(f"{done} of {len(snapshot.tasks)} tasks landed", style="green")
    for state, color in _STATES:
        if number := snapshot.counts.get(state, 0):
            text.append(f"   {number} {state_name(state).lower()}", style=color)
    return text


def _failed(tasks: Sequence[queue_pb2.Task]) -> Iterator[Text]:
    failed = [task for task in tasks if task.state in _FAILED]
    for task in failed[-_FAILED_MAX:]:
        why = failure_name(task.reason) or state_name(task.state)
        yield Text(f"{task.spec.id} {why}: {_first_line(task.message)}", style="red", no_wrap=True)
    if len(failed) > _FAILED_MAX:
        yield Text(f"and {len(failed) - _FAILED_MAX} more that failed before", style="red")


def _workers(snapshot: Snapshot, pool: PoolStates, now_ns: int, rows: int) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for column in ("worker", "task", "attempt", "for", "spent"):
        # Where it is narrow, what an agent says gives way: ids may differ at their ends only.
        table.add_column(column, no_wrap=True)
    table.add_column()
    numbers = {task.spec.id: _attempt_number(task) for task in snapshot.tasks}
    known = {worker.name: worker for worker in snapshot.workers}
    names = [*pool, *(name for name, worker in known.items() if worker.connected)]
    shown = list(dict.fromkeys(names))
    for name in shown[:rows]:
        worker = known.get(name)
        if worker is None or not worker.connected or not worker.attempts:
            state, why = _idle(name, worker, pool)
            why_text = Text(why, style="dim", no_wrap=True)
            table.add_row(name, Text(state, style="dim"), "", "", "", why_text)
            continue
        for attempt in worker.attempts:
            number = numbers.get(attempt.attempt.task_id, "")
            table.add_row(name, attempt.attempt.task_id, number, *_attempt_cells(attempt, now_ns))
    if len(shown) > rows:
        table.add_row(f"and {len(shown) - rows} more")
    return table


def _attempt_number(task: queue_pb2.Task) -> str:
    return str(task.attempts[-1].number) if task.attempts else ""


def _idle(name: str, worker: coordinator_pb2.Worker | None, pool: PoolStates) -> tuple[str, str]:
    """Return the state of a worker without a task, and why that is so where it needs saying."""
    connected = worker is not None and worker.connected
    state = "idle" if connected or name not in pool else pool[name].value
    if worker is not None and worker.reason.code in {"AGENT_UNAVAILABLE", "RATE_LIMITED"}:
        return state, _first_line(worker.reason.message)
    return state, ""


def _attempt_cells(attempt: coordinator_pb2.WorkerAttempt, now_ns: int) -> tuple[Text | str, ...]:
    age_ns = now_ns - timestamp_ns(attempt.assigned_at)
    spent = format_money(attempt.spent.nanos) if attempt.spent.nanos else ""
    summary = Text(_first_line(attempt.progress.summary), style="dim", no_wrap=True)
    return format_length(age_ns), spent, summary


def _merging(snapshot: Snapshot, rows: int) -> RenderableType:
    table = Table("merge queue", "", box=None, pad_edge=False)
    for change in snapshot.changes[:rows]:
        state = integrator_pb2.ChangeState.Name(change.state).removeprefix("CHANGE_STATE_")
        table.add_row(change.attempt.task_id, state.lower())
    if (hidden := len(snapshot.changes) - rows) > 0:
        table.add_row(f"and {hidden} more", "")
    return table


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
