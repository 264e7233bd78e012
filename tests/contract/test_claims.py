"""Claims as shells meet them: who waits, whose lease ends, and what is refused."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from coord.errors import unavailable
from coord.times import SECOND, duration, timestamp_ns
from coord.v1 import claims_pb2, common_pb2
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord_coordinator.sqlite import SqliteCoordinatorStore
from coord_coordinator.store import ClaimChange
from coord_runtime.tokens import Kind

from tests.claims_rig import HELD, WAITING, shells
from tests.coordinator_rig import refusal
from tests.serving import WAYS, Clock


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
