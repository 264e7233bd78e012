import io
from types import SimpleNamespace

import pytest
from coord.times import MINUTE, SECOND, timestamp
from coord.v1 import (
    common_pb2,
    coordinator_pb2,
    integrator_pb2,
    ledger_pb2,
    limiter_pb2,
    queue_pb2,
)
from coord_cli.snapshot import Snapshot, time_left_ns
from coord_cli.stuck import is_hopeless
from coord_cli.view import Age, LiveView, PlainView, draw, make_view
from coord_worker.pool import WorkerState
from rich.console import Console, Group

COMPLETE = queue_pb2.TASK_STATE_COMPLETE
PENDING = queue_pb2.TASK_STATE_PENDING
RUNNING = queue_pb2.TASK_STATE_RUNNING


def task(
    task_id: str, state: queue_pb2.TaskState, *, took_s: int = 0, deps: tuple[str, ...] = ()
) -> queue_pb2.Task:
    attempt = queue_pb2.Attempt(number=1, worker="w1", started_at=timestamp(SECOND))
    if took_s:
        attempt.ended_at.CopyFrom(timestamp((1 + took_s) * SECOND))
    attempts = [] if state == PENDING else [attempt]
    spec = queue_pb2.TaskSpec(id=task_id, deps=deps)
    return queue_pb2.Task(spec=spec, state=state, attempts=attempts)


def snapshot(*tasks: queue_pb2.Task, slots: int = 1, paused: str = "") -> Snapshot:
    attempt = coordinator_pb2.WorkerAttempt(
        attempt=common_pb2.AttemptRef(task_id="busy[1]"),
        progress=common_pb2.Progress(summary="half [way]"),
        spent=common_pb2.Money(currency="USD", nanos=20_000_000),
    )
    worker = coordinator_pb2.Worker(name="w1", connected=True, slots=slots, attempts=[attempt])
    changes = [
        integrator_pb2.Change(
            attempt=common_pb2.AttemptRef(task_id=f"c{number}"),
            state=integrator_pb2.CHANGE_STATE_QUEUED,
        )
        for number in range(20)
    ]
    queue = integrator_pb2.MergeQueue(landing_branch="main")
    if paused:
        queue.paused.message = paused
    usd = common_pb2.Money(currency="USD", nanos=1_500_000_000)
    limit = limiter_pb2.RateLimit(per_minute=50, burst=50)
    bucket = limiter_pb2.Bucket(
        name="anthropic",
        limits=limiter_pb2.BucketLimits(requests=limit),
        available=limiter_pb2.Quantities(requests=42),
    )
    balance = ledger_pb2.Balance(posted=usd, cap=usd)
    return Snapshot("spring", tasks, [worker], changes, queue, balance, [bucket])


def drawn(
    of: Snapshot, note: str = "", *, spent_before: int = 0, height: int = 44, width: int = 120
) -> str:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    pool = {"w1": WorkerState.RUNNING, "w2": WorkerState.RESTARTING}
    console.print(Group(*draw(of, pool, note, Age(MINUTE, spent_before), height)))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_the_view_shows_tasks_workers_the_merge_queue_and_the_cost() -> None:
    busy = task("busy[1]", RUNNING)
    busy.attempts[0].number = 7
    tasks = (task("a", COMPLETE, took_s=60), task("b", PENDING), busy)
    lines = drawn(snapshot(*tasks)).splitlines()
    assert lines[0] == (
        "spring   1m 00s   about 1m 00s left   $1.50 of $1.50 ($90.00 an hour)   anthropic: 42 of"
        " 50 requests left"
    )
    assert lines[2] == "1 of 3 tasks landed   1 running   1 pending"
    assert lines[4].split() == ["worker", "task", "attempt", "for", "spent"]
    assert lines[5].split()[:3] == ["w1", "busy[1]", "7"]
    assert lines[5].endswith("half [way]")
    assert lines[6].split() == ["w2", "restarting"]
    assert "and 4 more" in lines[-1]


def test_what_is_wrong_is_shown_first_and_in_a_low_terminal_too() -> None:
    failed = [task(f"f{number}", queue_pb2.TASK_STATE_FAILED) for number in range(5)]
    for one in failed:
        one.reason, one.message = queue_pb2.FAILURE_REASON_TIMEOUT, "too slow\nand more"
    lines = drawn(snapshot(*failed, paused="main is red\nand more"), "draining", height=5)
    text = lines.splitlines()
    first = text.index("merging is paused: main is red")
    assert first <= 3
    assert text[first : first + 6] == [
        "merging is paused: main is red",
        "draining",
        "f2 TIMEOUT: too slow",
        "f3 TIMEOUT: too slow",
        "f4 TIMEOUT: too slow",
        "and 2 more that failed before",
    ]
    assert "and 17 more" in text[-1]


def test_in_80_columns_what_an_agent_says_gives_way_to_the_ids() -> None:
    moment = snapshot(task("a", PENDING))
    name = "refactor-the-module-of-many/and-its-tests-1"
    (attempt,) = moment.workers[0].attempts
    attempt.attempt.task_id = name
    attempt.assigned_at.GetCurrentTime()
    line = next(one for one in drawn(moment, width=80).splitlines() if name in one)
    assert line.split()[:2] == ["w1", name]
    assert line.rstrip().endswith("  half …")


def test_the_rate_is_of_what_was_spent_since_the_beginning() -> None:
    assert "($30.00 an hour)" in drawn(snapshot(task("b", PENDING)), spent_before=10**9)
    assert "an hour" not in drawn(snapshot(task("b", PENDING)), spent_before=1_500_000_000)


def test_a_note_takes_the_place_of_the_estimate() -> None:
    text = drawn(snapshot(task("a", COMPLETE, took_s=60), task("b", PENDING)), "draining")
    assert "draining" in text
    assert "about" not in text


def test_the_time_left_follows_the_longest_chain_or_the_slots() -> None:
    done = task("a", COMPLETE, took_s=60)
    chain = [task("b", PENDING), task("c", PENDING, deps=("b",)), task("d", PENDING)]
    assert time_left_ns(snapshot(done, *chain, slots=8), 0) == 2 * MINUTE
    assert time_left_ns(snapshot(done, *chain, slots=1), 0) == 3 * MINUTE
    assert time_left_ns(snapshot(*chain), 0) is None
    running = task("e", RUNNING)
    assert time_left_ns(snapshot(done, running, slots=8), 21 * SECOND) == 40 * SECOND
    assert time_left_ns(snapshot(done, running, slots=8), 90 * SECOND) == 0
    assert time_left_ns(snapshot(done), 0) is None


def test_plain_output_tells_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    view, pool = PlainView(), {"w1": WorkerState.RUNNING}
    failed = task("b", queue_pb2.TASK_STATE_FAILED)
    failed.reason, failed.message = queue_pb2.FAILURE_REASON_TIMEOUT, "too slow\nmore"
    cancelled = task("c", queue_pb2.TASK_STATE_CANCELLED)
    cancelled.reason = queue_pb2.FAILURE_REASON_CANCELLED
    for moment in (
        snapshot(task("a", PENDING)),
        snapshot(task("a", RUNNING)),
        snapshot(task("a", RUNNING)),
        snapshot(task("a", COMPLETE), failed, cancelled),
    ):
        view.show(moment, pool, "", {})
    view.show(moment, {"w1": WorkerState.GIVEN_UP}, "draining", {})
    lines = [line.split("s  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "a RUNNING attempt 1 by w1",
        "a COMPLETE",
        "b FAILED (TIMEOUT: too slow)",
        "c CANCELLED",
        "draining",
        "worker w1 given up",
    ]


def test_the_view_suits_where_the_output_goes() -> None:
    assert isinstance(make_view(Console(file=io.StringIO()), apart=False), PlainView)
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert isinstance(make_view(terminal, apart=False), LiveView)
    assert isinstance(make_view(terminal, apart=True), PlainView)


@pytest.mark.parametrize(
    ("code", "metadata", "hopeless"),
    [
        ("BUDGET_SPENT", {}, True),
        ("NO_WORKER", {}, True),
        ("MERGING_PAUSED", {}, True),
        ("RATE_LIMITED", {"seconds": "3"}, False),
        ("RATE_LIMITED", {}, True),
        ("ALL_BUSY", {}, False),
        ("CHANGE_CHECKING", {}, False),
    ],
)
def test_what_waiting_cannot_help(code: str, metadata: dict[str, str], *, hopeless: bool) -> None:
    assert is_hopeless(common_pb2.Reason(code=code, metadata=metadata)) == hopeless


def test_lines_tell_after_a_minute_of_silence_what_is_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = 0
    monkeypatch.setattr("coord_cli.view.SYSTEM", SimpleNamespace(monotonic_ns=lambda: now_ns))
    view = PlainView()
    told = []
    for seconds, code in ((59, "LIMIT"), (60, "LIMIT"), (200, "LIMIT"), (201, "CHECK"), (202, "X")):
        now_ns = seconds * SECOND
        reason = common_pb2.Reason(code=code, message=f"{code} for {300 - seconds} s")
        view.show(snapshot(), {}, "", {"a": reason})
        told.append(capsys.readouterr().out)
    limit, check = "    60.0s  a: LIMIT for 240 s\n", "   201.0s  a: CHECK for 99 s\n"
    assert told == ["", limit, "", check, ""]
