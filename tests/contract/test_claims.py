"""Claims as shells, workers and dispatch meet them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import unavailable
from coord.times import SECOND, duration, timestamp_ns
from coord.v1 import claims_pb2, common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_coordinator.guard_file import GuardFile
from coord_coordinator.sqlite import SqliteCoordinatorStore
from coord_coordinator.store import ClaimChange
from coord_runtime.tokens import Kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, refusal, spec
from tests.serving import PROJECT, WAYS, Clock, served

HELD, WAITING = claims_pb2.CLAIM_STATE_GRANTED, claims_pb2.CLAIM_STATE_WAITING


class Shells:
    """Asks for claims as people do."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.stub = fleet.coordinator

    async def ask(
        self, holder: str, claim_id: str, *paths: str, wait_s: float = 0, **more: Any
    ) -> claims_pb2.ClaimResult:
        resources = [claims_pb2.Resource(path=path) for path in paths]
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=resources, **more)
        return (await self.all(holder, request, wait_s=wait_s))[0]

    async def all(
        self, holder: str, *requests: claims_pb2.ClaimRequest, wait_s: float = 0
    ) -> list[claims_pb2.ClaimResult]:
        asking = claims_pb2.AcquireClaimsRequest(
            project=PROJECT, holder=holder, requests=requests, wait=duration(int(wait_s * SECOND))
        )
        return list((await self.stub.AcquireClaims(asking)).results)

    async def ask_in_vain(self, clock: Clock, holder: str, claim_id: str, path: str) -> None:
        """Ask, and let the time pass for which it is willing to wait."""
        asking = asyncio.create_task(self.ask(holder, claim_id, path, wait_s=0.1))
        while not asking.done():
            await asyncio.sleep(0.01)
            clock.pass_ns(SECOND // 100)
        assert (await asking).HasField("wait")

    async def release(self, holder: str, *ids: str) -> list[str]:
        request = claims_pb2.ReleaseClaimsRequest(project=PROJECT, holder=holder, claim_ids=ids)
        answer = await self.stub.ReleaseClaims(request)
        return [result.error.reason for result in answer.results]

    async def renew(self, holder: str, *ids: str) -> list[claims_pb2.ClaimReportResult]:
        request = claims_pb2.RenewClaimsRequest(project=PROJECT, holder=holder, claim_ids=ids)
        return list((await self.stub.RenewClaims(request)).results)

    async def standing(self, *paths: str) -> list[tuple[str, int]]:
        resources = [claims_pb2.Resource(path=path) for path in paths]
        request = claims_pb2.ListClaimsRequest(project=PROJECT, resources=resources)
        answer = await self.stub.ListClaims(request)
        return [(one.claim_id, one.state) for one in answer.claims]

    async def until_standing(self, *wanted: tuple[str, int]) -> None:
        async with asyncio.timeout(10):
            while await self.standing() != list(wanted):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def shells(
    folder: Path, way: str = "grpc", clock: Clock | None = None
) -> AsyncIterator[Shells]:
    async with served(SERVICES, folder, way, clock, FLAGS) as running:
        yield Shells(Fleet(running))


@pytest.mark.parametrize("way", WAYS)
async def test_who_waits_is_served_in_order_as_claims_are_given_back(
    way: str, tmp_path: Path
) -> None:
    async with shells(tmp_path, way) as people:
        await people.ask("ann", "1", "src/**")
        second = asyncio.create_task(people.ask("bob", "2", "src/a.py", wait_s=30))
        await people.until_standing(("1", HELD), ("2", WAITING))
        third = asyncio.create_task(people.ask("cat", "3", "src/a.*", wait_s=30))
        await people.until_standing(("1", HELD), ("2", WAITING), ("3", WAITING))
        await people.release("ann", "1")
        assert (await second).claim.holder == "bob"
        assert not third.done()
        await people.release("bob", "2")
        assert (await third).claim.fencing_token == 3


async def test_without_waiting_no_place_is_kept(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        await people.ask("ann", "1", "src/**")
        result = await people.ask("bob", "2", "src/a.py")
        assert result.wait.reasons[0].message == "ann holds src/**"
        assert result.wait.reasons[0].metadata["claim"] == "1"
        assert await people.standing() == [("1", HELD)]


async def test_who_waited_in_vain_keeps_its_place_for_ten_seconds(tmp_path: Path) -> None:
    clock = Clock()
    async with shells(tmp_path, clock=clock) as people:
        await people.ask("ann", "1", "src/**", lease=duration(3600 * SECOND))
        await people.ask_in_vain(clock, "bob", "2", "src/a.py")
        await people.ask_in_vain(clock, "cat", "3", "src/a.py")
        assert await people.standing() == [("1", HELD), ("2", WAITING), ("3", WAITING)]
        clock.pass_ns(9 * SECOND)
        await people.ask_in_vain(clock, "bob", "2", "src/a.py")  # Still before cat.
        clock.pass_ns(9 * SECOND)
        await people.until_standing(("1", HELD), ("2", WAITING))


async def test_a_lease_ends_unless_it_is_renewed(tmp_path: Path) -> None:
    clock = Clock()
    async with shells(tmp_path, clock=clock) as people:
        kept = (await people.ask("ann", "1", "/a", lease=duration(30 * SECOND))).claim
        await people.ask("bob", "2", "/b", lease=duration(30 * SECOND))
        assert timestamp_ns(kept.expires_at) == clock.wall_ns + 30 * SECOND
        clock.pass_ns(20 * SECOND)
        renewed = await people.renew("ann", "1")
        assert timestamp_ns(renewed[0].expires_at) == clock.wall_ns + 30 * SECOND
        clock.pass_ns(15 * SECOND)
        await people.until_standing(("1", HELD))
        late = await people.renew("bob", "2", "never")
        assert [one.error.reason for one in late] == ["CLAIM_ENDED", "CLAIM_NOT_FOUND"]


def _failing_once(
    monkeypatch: pytest.MonkeyPatch, state: claims_pb2.ClaimState
) -> Iterator[object]:
    """Have the store refuse the first change after which a claim is in a state.

    Returns:
        Nothing, once it has.
    """
    failures = iter([unavailable("STORE_FAILED", "the disk is full", retry_after_ns=0)])

    async def change(self: SqliteCoordinatorStore, project: str, change: ClaimChange) -> None:
        if any(one.claim.state == state for one in change.saved.values()):
            for failure in failures:
                raise failure
        await change_claims(self, project, change)

    change_claims = SqliteCoordinatorStore.change_claims
    monkeypatch.setattr(SqliteCoordinatorStore, "change_claims", change)
    return failures


async def test_a_claim_that_could_not_be_stored_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing_once(monkeypatch, HELD)
    async with shells(tmp_path) as people:
        assert (await refusal(people.ask("ann", "1", "/a"))).reason == "STORE_FAILED"
        assert await people.standing() == []
        assert (await people.ask("bob", "2", "/a")).HasField("claim")


async def test_a_lease_ends_also_where_that_could_not_be_stored_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = _failing_once(monkeypatch, claims_pb2.CLAIM_STATE_EXPIRED)
    clock = Clock()
    async with shells(tmp_path, clock=clock) as people:
        await people.ask("ann", "1", "/a", lease=duration(30 * SECOND))
        for _ in range(2):
            clock.pass_ns(31 * SECOND)
            await asyncio.sleep(1.1)  # The look goes by the real clock.
        await people.until_standing()
        assert next(failures, None) is None


async def test_a_circle_of_waiting_shells_is_refused(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        await people.ask("ann", "a1", "/a")
        await people.ask("bob", "b1", "/b")
        waiting = asyncio.create_task(people.ask("ann", "a2", "/b", wait_s=30))
        await people.until_standing(("a1", HELD), ("b1", HELD), ("a2", WAITING))
        refused = await people.ask("bob", "b2", "/a", wait_s=30)
        assert refused.refusal.code == "DEADLOCK"
        assert "release what you hold" in refused.refusal.message
        assert await people.release("bob", "b1") == [""]
        assert (await waiting).claim.claim_id == "a2"


async def test_after_a_restart_one_of_a_circle_is_refused_until_it_gives_something_back(
    tmp_path: Path,
) -> None:
    async with shells(tmp_path) as people:
        await people.ask("ann", "a1", "/a")
        await people.ask("bob", "b1", "/b")
        waiting = asyncio.create_task(people.ask("ann", "a2", "/b", wait_s=30))
        await people.until_standing(("a1", HELD), ("b1", HELD), ("a2", WAITING))
        assert (await people.ask("bob", "b2", "/a", wait_s=30)).refusal.code == "DEADLOCK"
        waiting.cancel()
    async with shells(tmp_path) as people:
        assert await people.standing() == [("a1", HELD), ("b1", HELD), ("a2", WAITING)]
        assert (await people.ask("bob", "b2", "/a", wait_s=30)).refusal.code == "DEADLOCK"
        await people.release("ann", "a2")
        assert (await people.ask("bob", "b3", "/a", wait_s=30)).refusal.code == "DEADLOCK"
        again = asyncio.create_task(people.ask("ann", "a3", "/b", wait_s=30))
        await people.until_standing(("a1", HELD), ("b1", HELD), ("a3", WAITING))
        await people.release("bob", "b1")
        assert (await again).claim.holder == "ann"


async def test_the_same_id_is_the_same_claim_and_no_other(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        first = (await people.ask("ann", "1", "/a")).claim
        assert (await people.ask("ann", "1", "/a")).claim == first
        assert (await people.ask("ann", "1", "/b")).refusal.code == "CLAIM_ID_USED"
        assert (await people.ask("bob", "1", "/a")).refusal.code == "CLAIM_ID_USED"
        assert await people.release("bob", "1") == ["CLAIM_NOT_FOUND"]
        assert await people.release("ann", "1") == [""]
        assert await people.release("ann", "1") == [""]
        assert (await people.ask("ann", "1", "/a")).refusal.code == "CLAIM_ENDED"


async def test_a_worker_claims_for_itself_alone(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        worker = CoordinatorServiceStub(people.fleet.running.channel(Kind.WORKER, "w"))
        people.stub = worker
        assert (await people.ask("w", "1", "/a")).HasField("claim")
        error = await refusal(people.ask("other", "2", "/b"))
        assert error.code is grpc.StatusCode.PERMISSION_DENIED
        error = await refusal(people.release("other", "1"))
        assert error.code is grpc.StatusCode.PERMISSION_DENIED
        attempt = common_pb2.AttemptRef(task_id="t", fencing_token=9)
        error = await refusal(people.ask("w", "3", "/c", attempt=attempt))
        assert error.reason == "STALE_TOKEN"


@pytest.mark.parametrize("path", ["", "!src", " ", "a" * 1_025])
async def test_a_glob_that_matches_nothing_is_refused(path: str, tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        error = await refusal(people.ask("ann", "1", path))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        assert await people.standing() == []


async def test_a_thousand_requests_in_one_call_are_served_in_reasonable_time(
    tmp_path: Path,
) -> None:
    requests = [
        claims_pb2.ClaimRequest(
            claim_id=str(number), resources=[claims_pb2.Resource(path=f"pkg{number}/**/*.py")]
        )
        for number in range(1_000)
    ]
    async with shells(tmp_path) as people:
        began = time.monotonic()
        results = await people.all("ann", *requests)
        assert time.monotonic() - began < 10
        assert all(result.HasField("claim") for result in results)
        error = await refusal(people.all("ann", *requests, requests[0]))
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_attempts_claims_end_with_it(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        worker = await people.fleet.worker("w")
        await people.fleet.add(spec("a", paths=["docs/"]))
        attempt = ref(await worker.hear("assigned"))
        await people.ask("w", "more", "/src", attempt=attempt)
        declared = f"a@{attempt.fencing_token}"
        assert await people.standing() == [(declared, HELD), ("more", HELD)]
        await worker.say(complete=pb.Complete(attempt=attempt))
        await people.until_standing()


async def test_declared_paths_keep_two_tasks_apart_and_say_so(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        fleet = people.fleet
        one = await fleet.worker("one")
        await fleet.add(spec("a", paths=["src/**"]))
        first = ref(await one.hear("assigned"))
        two = await fleet.worker("two")
        await fleet.add(spec("b", paths=["src/lib/*.py"]), spec("c", paths=["/docs/"]))
        assert ref(await two.hear("assigned")).task_id == "c"
        await fleet.worker("three")
        await fleet.until_held("b", "CLAIMED")
        await one.say(complete=pb.Complete(attempt=first))
        await fleet.until("b", queue_pb2.TASK_STATE_ASSIGNED)


async def test_declared_paths_keep_two_tasks_of_one_worker_apart(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        fleet = people.fleet
        worker = await fleet.worker("w", slots=3)
        await fleet.add(spec("a", paths=["src/**"]))
        first = ref(await worker.hear("assigned"))
        await fleet.add(spec("b", paths=["src/lib/*.py"]), spec("c", paths=["/docs/"]))
        assert ref(await worker.hear("assigned")).task_id == "c"
        await fleet.until_held("b", "CLAIMED")
        await worker.say(complete=pb.Complete(attempt=first))
        assert ref(await worker.hear("assigned")).task_id == "b"
        assert len((await fleet.task("b")).attempts) == 1, "it was not given in vain before"


async def test_a_shells_claim_keeps_a_task_waiting(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        await people.ask("ann", "1", "src/a.py")
        worker = await people.fleet.worker("w")
        await people.fleet.add(spec("a", paths=["src/"]))
        await people.fleet.until_held("a", "CLAIMED")
        await people.release("ann", "1")
        assert ref(await worker.hear("assigned")).task_id == "a"


async def test_claims_of_attempts_that_ended_unseen_end_after_a_restart(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        worker = await people.fleet.worker("w", slots=2)
        await people.fleet.add(spec("a", paths=["/a"]), spec("b", paths=["/b"]))
        attempts = [ref(await worker.hear("assigned")) for _ in range(2)]
        await people.ask("ann", "hers", "/c")
    without = tuple(one for one in SERVICES if one.NAME != "coordinator")
    async with served(without, tmp_path, "grpc") as running:
        report = queue_pb2.CompleteTasksRequest(
            project=PROJECT, completions=[queue_pb2.Completion(attempt=attempts[0])]
        )
        await _queue(running).CompleteTasks(report)
    async with shells(tmp_path) as people:
        living = f"b@{attempts[1].fencing_token}"
        await people.until_standing((living, HELD), ("hers", HELD))


def _queue(running: Any) -> Any:
    return QueueServiceStub(running.channel(Kind.SERVICE, "coordinator"))


async def test_a_claim_of_a_session_ends_with_it_and_one_of_a_shell_does_not(
    tmp_path: Path,
) -> None:
    async with shells(tmp_path) as people:
        worker = await people.fleet.worker("w")
        path = [claims_pb2.Resource(path="/a")]
        await worker.say(request=claims_pb2.ClaimRequest(claim_id="1", resources=path))
        await worker.hear("proceed")
        await people.ask("w", "2", "/b")
        await people.fleet.coordinator.KillWorker(pb.KillWorkerRequest(project=PROJECT, worker="w"))
        await people.until_standing(("2", HELD))


async def test_who_gives_its_own_claim_back_is_not_told_that_it_has_lost_it(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        worker = await people.fleet.worker("w")
        path = [claims_pb2.Resource(path="/a")]
        await worker.say(request=claims_pb2.ClaimRequest(claim_id="1", resources=path))
        await worker.hear("proceed")
        await worker.say(claim_release=pb.ClaimRelease(claim_id="1"))
        await worker.say(request=claims_pb2.ClaimRequest(claim_id="2", resources=path))
        heard = []
        while "proceed" not in heard:
            heard.append((await worker.stream.read()).WhichOneof("message"))
        assert set(heard) <= {"ack", "proceed"}


async def test_what_becomes_of_a_claim_is_told_under_names_of_its_own(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        await people.ask("ann", "1", "/a")
        await people.release("ann", "1")
        await people.stub.StopProject(pb.StopProjectRequest(project=PROJECT))
        names: list[str] = []
        async for response in people.stub.WatchEvents(pb.WatchEventsRequest(project=PROJECT)):
            names += [event.name for event in response.events]
            if "project:stopped" in names:
                break
        assert names == ["claim:granted", "claim:released", "project:stopped"]


async def test_metrics_tell_what_is_held_and_what_waits(tmp_path: Path) -> None:
    async with shells(tmp_path) as people:
        registry = people.fleet.running.node.registry
        await people.ask("ann", "1", "/a")
        await people.ask("bob", "2", "/a", wait_s=0.01)
        names = ("coord_coordinator_claims_held", "coord_coordinator_claims_waiting")
        assert [registry.get_sample_value(name) for name in names] == [1, 1]


async def test_the_guard_is_told_of_claims_before_their_holder_and_of_attempts_and_stops(
    tmp_path: Path,
) -> None:
    def told() -> Any:
        standing, *claims = (tmp_path / "guard.json").read_text().splitlines()
        return json.loads(standing) | {"claims": claims}

    async def until_told(**wanted: Any) -> None:
        async with asyncio.timeout(10):
            while told() | wanted != told():
                await asyncio.sleep(0.01)

    async with shells(tmp_path) as people:
        await people.ask("ann", "1", "src/*.py")
        claims = [r'src	["ann",0,"1",["src","\u0001.py","\u0003"],"src/*.py"]']
        assert told() == {"stopped": "", "newest": 0, "live": [], "claims": claims}
        await people.release("ann", "1")
        assert told()["claims"] == []
        worker = await people.fleet.worker("w")
        path = [claims_pb2.Resource(path="/b"), claims_pb2.Resource(name="port")]
        await worker.say(request=claims_pb2.ClaimRequest(claim_id="2", resources=path))
        await worker.hear("proceed")
        assert told()["claims"] == ['b\t["w",0,"2",["b","\\u0003"],"/b"]']
        await people.fleet.add(spec("a"), spec("b"))
        first = ref(await worker.hear("assigned"))
        await worker.say(complete=pb.Complete(attempt=first))
        second = ref(await worker.hear("assigned"))
        await until_told(newest=second.fencing_token, live=[second.fencing_token])
        stopping = people.stub.StopProject(pb.StopProjectRequest(project=PROJECT, message="lunch"))
        await worker.hear("revoke")
        await worker.beat()
        await stopping
        await until_told(stopped="lunch", live=[])
    assert not (tmp_path / "guard.json").exists()


async def test_the_guard_is_told_of_what_the_disk_has_refused_once_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coord_coordinator.guard_file._AGAIN_S", 0.05)
    file, draft = tmp_path / "guard.json", tmp_path / "guard.draft"
    tries, write = 0, GuardFile.write

    def counted(self: GuardFile) -> None:
        nonlocal tries
        write(self)
        tries += 1

    monkeypatch.setattr(GuardFile, "write", counted)
    async with shells(tmp_path) as people:
        async with asyncio.timeout(10):
            while not file.exists():
                await asyncio.sleep(0.01)
        draft.mkdir()
        await people.ask("ann", "1", "src/*.py")
        # The claim itself makes it try twice: later tries come without any change.
        later = tries + 3
        async with asyncio.timeout(10):
            while tries < later:
                await asyncio.sleep(0.01)
        assert "ann" not in file.read_text()
        draft.rmdir()
        async with asyncio.timeout(10):
            while "ann" not in file.read_text():
                await asyncio.sleep(0.01)


_PATHS = ("src/**", "src/a.py", "*.md", "docs/", "/top.txt")
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("abc"), st.sampled_from(_PATHS), st.booleans()),
        st.tuples(st.just("release"), st.integers(0, 9)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("pass"), st.sampled_from([5, 40, 70])),
    ),
    max_size=16,
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_STEPS)
async def test_in_every_history_with_restarts_no_two_held_claims_meet(
    steps: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = History(tmp_path_factory.mktemp("history"))
    while steps:
        steps = await history.live(steps)


class History:
    """One history of claims, on one store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = Clock()
        self._tokens: dict[str, int] = {}
        self._asked = 0

    async def live(self, steps: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Take steps up to the next restart; return the rest."""
        async with shells(self._folder, "in process", self._clock) as people:
            await self._look(people)
            for number, (kind, *about) in enumerate(steps):
                if kind == "restart":
                    return steps[number + 1 :]
                await getattr(self, f"_{kind}")(people, *about)
                await self._look(people)
        return []

    async def _ask(self, people: Shells, holder: str, path: str, shared: bool) -> None:
        self._asked += 1
        resource = claims_pb2.Resource(path=path, shared=shared)
        claim_id = str(self._asked)
        request = claims_pb2.ClaimRequest(claim_id=claim_id, resources=[resource])
        asking = asyncio.create_task(people.all(holder, request, wait_s=0.001))
        while not asking.done():
            await asyncio.sleep(0.001)
            self._clock.pass_ns(SECOND // 1_000)
        await asking

    async def _release(self, people: Shells, number: int) -> None:
        found = (await people.stub.ListClaims(_listing())).claims
        if found:
            one = found[number % len(found)]
            assert await people.release(one.holder, one.claim_id) == [""]

    async def _pass(self, people: Shells, seconds: int) -> None:
        del people
        self._clock.pass_ns(seconds * SECOND)

    async def _look(self, people: Shells) -> None:
        found = (await people.stub.ListClaims(_listing())).claims
        held = [one for one in found if one.state == HELD]
        for number, one in enumerate(held):
            for other in held[:number]:
                assert one.holder == other.holder or not meets(one, other), (one, other)
            known = self._tokens.setdefault(one.claim_id, one.fencing_token)
            assert known == one.fencing_token
        assert len(set(self._tokens.values())) == len(self._tokens)


def _listing() -> claims_pb2.ListClaimsRequest:
    return claims_pb2.ListClaimsRequest(project=PROJECT)


def meets(one: claims_pb2.Claim, other: claims_pb2.Claim) -> bool:
    """By a table, not by the code under test."""
    if one.resources[0].shared and other.resources[0].shared:
        return False
    paths = {one.resources[0].path, other.resources[0].path}
    return len(paths) == 1 or paths in _MEETING


_MEETING = [
    {"src/**", "src/a.py"},
    {"src/**", "*.md"},
    {"docs/", "*.md"},
    # A glob without a slash but at its end matches at any depth.
    {"docs/", "src/**"},
    # A folder may be called anything.
    {"docs/", "src/a.py"},
    {"docs/", "/top.txt"},
    {"*.md", "src/a.py"},
    {"*.md", "/top.txt"},
]
