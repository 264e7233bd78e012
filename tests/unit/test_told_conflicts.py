"""What workers are told of conflicts, and which of those hold tasks back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from coord.environment import SYSTEM
from coord.v1 import claims_pb2, common_pb2, integrator_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord_coordinator.claims import Claims
from coord_coordinator.conflicts import Conflicts
from coord_coordinator.fleet import Fleet
from coord_coordinator.metrics import CoordinatorMetrics
from coord_coordinator.sqlite import MIGRATIONS, SqliteCoordinatorStore
from coord_coordinator.workers import Worker, WorkerAttempt
from coord_runtime.database import Database, Options
from coord_runtime.globs import Comparison
from prometheus_client import CollectorRegistry

_LIMIT_BYTES = 64 * 2**10


class Radar:
    """The integrator, as far as the coordinator asks it: it says what the test puts in."""

    GetConflictMatrix = WatchIntegratorEvents = None

    def __init__(self) -> None:
        self.integrator = self
        self.conflicts: list[integrator_pb2.LiveConflict] = []
        self._events: asyncio.Queue[integrator_pb2.IntegratorEvent] = asyncio.Queue()

    async def ask(self, *_: Any) -> integrator_pb2.GetConflictMatrixResponse:
        return integrator_pb2.GetConflictMatrixResponse(conflicts=self.conflicts)

    async def follow(self, *_: Any) -> AsyncIterator[integrator_pb2.IntegratorEvent]:
        while True:
            yield await self._events.get()

    def say(self, about: integrator_pb2.LiveConflict, *now: integrator_pb2.LiveConflict) -> None:
        """Say that a conflict has changed; `now` are all that there are."""
        self.conflicts = list(now)
        changed = integrator_pb2.ConflictChanged(conflict=about, resolved=about not in now)
        self._events.put_nowait(integrator_pb2.IntegratorEvent(conflict_changed=changed))


class Told:
    """A fleet that is told of conflicts."""

    def __init__(self, folder: Path) -> None:
        options = Options(SYSTEM, inline=True, synchronous=False, migrations=MIGRATIONS)
        store = SqliteCoordinatorStore(Database(folder / "coordinator.db", options))
        self.fleet, self.radar = Fleet("p", SYSTEM, store), Radar()
        claims = Claims(self.fleet, store, CoordinatorMetrics(CollectorRegistry()))
        radar: Any = self.radar
        self.conflicts = Conflicts(self.fleet, radar, claims, has_repository=True)
        self.obstacle = claims.obstacle

    def worker(self, name: str, token: int, *, version: int = 2, started: bool = True) -> Worker:
        worker = self.fleet.join(pb.Hello(worker=name, slots=1, protocol_version=version))
        spec = queue_pb2.TaskSpec(id=f"task-{name}")
        self.fleet.give(worker, WorkerAttempt(at(name, token), spec, 0, started=started))
        return worker

    async def look(
        self, about: integrator_pb2.LiveConflict, *now: integrator_pb2.LiveConflict
    ) -> None:
        """Have the coordinator take in what the radar says."""
        seen = self.fleet.changed.seen()
        self.radar.say(about, *now)
        await asyncio.wait_for(self.fleet.changed.wait(seen), 60)

    def holds_back(self, path: str) -> str:
        """Return why a task that declares a path waits; empty where it does not."""
        claim = claims_pb2.Claim(holder="w", resources=[claims_pb2.Resource(path=path)])
        reason = self.obstacle(claim, Comparison())
        return f"{reason.code}: {reason.message}" if reason else ""


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[Told]:
    told = Told(tmp_path)
    seen = told.fleet.changed.seen()
    running = asyncio.create_task(told.conflicts.run())
    await told.fleet.changed.wait(seen)  # The first look at everything.
    yield told
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await told.fleet.close()


def at(name: str, token: int) -> common_pb2.AttemptRef:
    return common_pb2.AttemptRef(task_id=f"task-{name}", fencing_token=token)


def between(
    one: str, token: int, other: str, other_token: int, *paths: str, hunks: str = "<<<"
) -> integrator_pb2.LiveConflict:
    side = integrator_pb2.WorktreeConflict(worker=other, paths=paths, hunks=hunks)
    if other:
        side.attempt.CopyFrom(at(other, other_token))
    return integrator_pb2.LiveConflict(worker=one, attempt=at(one, token), other=side)


def heard(worker: Worker) -> list[tuple[int, list[tuple[str, int, tuple[str, ...], str]]]]:
    """Return of each message of which attempt it is, and whose, which, where and what."""
    messages = [one.conflict for one in worker.session.undelivered() if one.HasField("conflict")]
    return [
        (
            message.attempt.fencing_token,
            [
                (one.worker, one.attempt.fencing_token, tuple(one.paths), one.hunks)
                for one in message.conflicts
            ],
        )
        for message in messages
    ]


async def test_both_sides_hear_of_each_other_once_and_when_it_is_another_or_over(
    told: Told,
) -> None:
    a, b = told.worker("a", 1), told.worker("b", 2)
    first = between("a", 1, "b", 2, "x")
    await told.look(first, first)
    await told.look(first, first)
    assert heard(a) == [(1, [("b", 2, ("x",), "<<<")])]
    assert heard(b) == [(2, [("a", 1, ("x",), "<<<")])]
    more = between("a", 1, "b", 2, "x", "y")
    await told.look(more, more)
    assert heard(b)[1:] == [(2, [("a", 1, ("x", "y"), "<<<")])]
    await told.look(more)
    assert heard(a)[2:] == [(1, [])]


async def test_who_conflicts_with_the_target_hears_of_nobody(told: Told) -> None:
    a = told.worker("a", 1)
    conflict = between("a", 1, "", 0, "x")
    await told.look(conflict, conflict)
    assert heard(a) == [(1, [("", 0, ("x",), "<<<")])]


async def test_who_has_not_been_told_of_its_attempt_and_who_is_old_hears_nothing(
    told: Told,
) -> None:
    coming, old = told.worker("a", 1, started=False), told.worker("b", 2, version=1)
    conflict = between("a", 1, "b", 2, "x")
    await told.look(conflict, conflict)
    assert heard(coming) == heard(old) == []
    coming.attempts[1].started = True
    await told.look(conflict, conflict)
    assert len(heard(coming)) == 1


async def test_what_the_radar_says_of_an_earlier_attempt_is_nothing_to_the_next_one(
    told: Told,
) -> None:
    a, b = told.worker("a", 3), told.worker("b", 2)
    conflict = between("a", 1, "b", 2, "x")
    await told.look(conflict, conflict)
    assert heard(a) == []
    assert heard(b) == [(2, [("a", 1, ("x",), "<<<")])]


async def test_a_message_holds_the_hunks_that_fit_and_names_all_conflicts(told: Told) -> None:
    a = told.worker("a", 1)
    large = [
        between("a", 1, name, token, f"from-{name}", hunks="h" * (_LIMIT_BYTES // 2))
        for token, name in enumerate("bcd", 2)
    ]
    await told.look(large[0], *large)
    ((_, conflicts),) = heard(a)
    assert [where for _, _, where, _ in conflicts] == [("from-b",), ("from-c",), ("from-d",)]
    assert [len(hunks) for *_, hunks in conflicts] == [_LIMIT_BYTES // 2] * 2 + [0]


async def test_a_task_waits_for_a_conflict_in_its_paths_while_both_sides_are_at_work(
    told: Told,
) -> None:
    told.worker("a", 1)
    b = told.worker("b", 2)
    conflict = between("a", 1, "b", 2, "src/x.py")
    await told.look(conflict, conflict)
    assert told.holds_back("src/") == "CONFLICT: a and b conflict in src/x.py"
    assert told.holds_back("docs/*.md") == ""
    told.fleet.take(b, 2)
    assert told.holds_back("src/") == ""


async def test_a_conflict_with_the_target_holds_no_task_back(told: Told) -> None:
    told.worker("a", 1)
    conflict = between("a", 1, "", 0, "src/x.py")
    await told.look(conflict, conflict)
    assert told.holds_back("src/") == ""
