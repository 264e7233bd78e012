import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from coord.client import connect
from coord.errors import CoordError
from coord.outbox import Outbox
from coord.session import SessionSettings, WorkerSession
from coord.v1 import admission_pb2, claims_pb2, common_pb2, coordinator_pb2

from tests.integration.fake_coordinator import FakeCoordinator, Session, fake_coordinator

ATTEMPT = common_pb2.AttemptRef(task_id="t1", fencing_token=7)
QUICK = SessionSettings(backoff_initial_s=0.01, backoff_max_s=0.05, name_wait_s=0.2)


@dataclass
class Worker:
    session: WorkerSession
    heard: list[coordinator_pb2.ConnectResponse]

    def kinds(self) -> list[str | None]:
        return [response.WhichOneof("message") for response in self.heard]


@asynccontextmanager
async def worker(fake: FakeCoordinator, settings: SessionSettings = QUICK) -> AsyncIterator[Worker]:
    heard: list[coordinator_pb2.ConnectResponse] = []
    hello = coordinator_pb2.Hello(project="p", worker="w1", instance="i1", slots=1)
    channel = connect(fake.address, "secret")
    session = WorkerSession(channel, hello, heard.append, lambda: [ATTEMPT], settings=settings)
    task = asyncio.create_task(session.run())
    try:
        yield Worker(session, heard)
        session.leave()
        await asyncio.wait_for(task, 60)
    finally:
        task.cancel()
        await channel.close()


def started() -> coordinator_pb2.Started:
    return coordinator_pb2.Started(attempt=ATTEMPT)


def progress(summary: str) -> coordinator_pb2.ProgressReport:
    return coordinator_pb2.ProgressReport(
        attempt=ATTEMPT, progress=common_pb2.Progress(summary=summary)
    )


async def test_a_worker_says_hello_with_what_it_holds_and_its_token() -> None:
    async with fake_coordinator() as fake, worker(fake):
        await fake.until_hellos()
    assert fake.hellos[0].protocol_version == 3
    assert list(fake.hellos[0].held) == [ATTEMPT]
    assert fake.tokens == ["Bearer secret"]


async def test_a_report_is_done_when_it_is_acknowledged() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        fake.acknowledges = False
        done = one.session.send(started())
        await fake.until_said("started")
        assert not done.done()
        fake.acknowledges = True
        one.session.send(progress("more"))
        await asyncio.wait_for(done, 60)


async def test_heartbeats_name_the_attempts_held() -> None:
    async with fake_coordinator() as fake, worker(fake):
        await fake.until(lambda: len(fake.heartbeats) >= 2)
    assert list(fake.heartbeats[0].held) == [ATTEMPT]


async def test_cut_streams_lose_nothing_and_repeat_nothing() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        fake.repeat = 2
        await fake.until_hellos()
        for round_ in range(8):
            for number in range(3):
                one.session.send(progress(f"{round_}.{number}"))
            fake.send(revoke=coordinator_pb2.Revoke(attempt=ATTEMPT))
            if round_ % 2:
                await fake.until_said("progress", 3 * round_)
            hellos = len(fake.hellos)
            fake.cut()
            await fake.until_hellos(hellos + 1)
        await fake.until_said("progress", 24)
        await fake.until(lambda: one.kinds().count("revoke") == 8)
    said = [report.progress.summary for report in fake.said("progress")]
    assert said == [f"{round_}.{number}" for round_ in range(8) for number in range(3)]
    assert len({hello.instance for hello in fake.hellos}) == 1
    assert len(fake.hellos) == 1 + 8
    numbers = [heard.sequence for heard in one.heard if heard.WhichOneof("message") == "revoke"]
    assert len(numbers) == len(set(numbers))


async def test_who_is_cut_off_right_after_each_welcome_comes_back_ever_later() -> None:
    settings = SessionSettings(backoff_initial_s=0.01, backoff_max_s=60.0)
    async with fake_coordinator() as fake, worker(fake, settings):
        fake.hangs_up = True
        begin = asyncio.get_running_loop().time()
        await fake.until_hellos(7)
        assert asyncio.get_running_loop().time() - begin > 0.5 * 0.01 * (2**6 - 1)
        fake.hangs_up = False
        await fake.until_hellos(8)


async def test_a_coordinator_that_forgot_the_session_gets_what_it_did_not_acknowledge() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        await asyncio.wait_for(one.session.send(started()), 60)
        fake.acknowledges = False
        last = one.session.send(progress("kept"))
        await fake.until_said("progress")
        fake.cut()
        fake.sessions.clear()
        fake.acknowledges = True
        await asyncio.wait_for(last, 60)
    assert len(fake.said("started")) == 1
    assert [report.progress.summary for report in fake.said("progress")] == ["kept", "kept"]
    assert fake.effects[-1].sequence == 1


async def test_a_new_session_is_known_also_where_its_welcome_was_lost() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        await asyncio.wait_for(one.session.send(started()), 60)
        fake.send(revoke=coordinator_pb2.Revoke(attempt=ATTEMPT))
        await fake.until(lambda: one.kinds() == ["revoke"])
        # The coordinator has forgotten all and met the worker again, but the worker never heard.
        fake.sessions["i1"] = Session()
        fake.cut()
        await fake.until_hellos(2)
        fake.send(cancel=coordinator_pb2.Cancel(attempt=ATTEMPT))
        await asyncio.wait_for(one.session.send(progress("on")), 60)
        await fake.until(lambda: one.kinds() == ["revoke", "cancel"])
    assert fake.effects[-1].sequence == 1


async def test_leaving_waits_until_everything_is_acknowledged() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        await fake.until_hellos()
        fake.acknowledges = False
        one.session.send(started())
        one.session.leave()
        await fake.until_said("started")
        fake.cut()
        fake.acknowledges = True
    assert len(fake.said("started")) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "BAD_TOKEN"),
        (grpc.StatusCode.PERMISSION_DENIED, "OTHER_WORKER"),
        (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_VERSION"),
    ],
)
async def test_a_refusal_ends_the_session(code: grpc.StatusCode, reason: str) -> None:
    async with fake_coordinator() as fake:
        fake.refusals = [CoordError(code, reason, "no")]
        with pytest.raises(CoordError, match=reason):
            async with worker(fake) as one:
                one.session.send(started())


async def test_a_taken_name_is_tried_again_for_a_while() -> None:
    taken = CoordError(grpc.StatusCode.ALREADY_EXISTS, "WORKER_CONNECTED", "taken")
    async with fake_coordinator() as fake:
        fake.refusals = [taken] * 3
        async with worker(fake):
            await fake.until_hellos()
        fake.refusals = [taken] * 1_000
        with pytest.raises(CoordError, match="WORKER_CONNECTED"):
            async with worker(fake) as one:
                one.session.send(started())


async def test_an_unavailable_coordinator_is_tried_again() -> None:
    async with fake_coordinator() as fake:
        fake.refusals = [CoordError(grpc.StatusCode.UNAVAILABLE, "DRAINING", "later")] * 4
        async with worker(fake):
            await fake.until_hellos()


async def test_a_new_session_numbers_what_is_left_anew() -> None:
    outbox = Outbox()
    for _ in range(3):
        outbox.add(coordinator_pb2.ConnectRequest(started=started()))
    outbox.welcome(resumed=False)
    outbox.acknowledge(1)
    outbox.welcome(resumed=True)
    assert [request.sequence for request in outbox.unwritten()] == [2, 3]
    outbox.welcome(resumed=False)
    assert [request.sequence for request in outbox.unwritten()] == [1, 2]
    outbox.add(coordinator_pb2.ConnectRequest(started=started()))
    assert [request.sequence for request in outbox.unwritten()] == [3]


async def test_a_gap_ends_the_stream_and_not_the_session() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        await fake.until_hellos()
        (session,) = fake.sessions.values()
        session.sent = 1
        fake.send(revoke=coordinator_pb2.Revoke(attempt=ATTEMPT))
        await fake.until_hellos(2)
        missing = coordinator_pb2.Cancel(attempt=ATTEMPT)
        session.unacknowledged.insert(
            0, coordinator_pb2.ConnectResponse(sequence=1, cancel=missing)
        )
        fake.cut()
        await fake.until(lambda: len(one.heard) == 2)
    assert one.kinds() == ["cancel", "revoke"]


async def test_a_message_is_handled_once_by_its_id_also_in_a_new_session() -> None:
    letter = coordinator_pb2.WorkerMessage(message_id="m", worker="w1")
    async with fake_coordinator() as fake, worker(fake) as one:
        await fake.until_hellos()
        fake.send(worker_message=letter)
        await fake.until(lambda: "worker_message" in one.kinds())
        fake.sessions.clear()
        fake.cut()
        await fake.until_hellos(2)
        fake.send(worker_message=letter)
        fake.send(revoke=coordinator_pb2.Revoke(attempt=ATTEMPT))
        async with asyncio.timeout(60):
            while "revoke" not in one.kinds():
                await asyncio.sleep(0.01)
    assert one.kinds() == ["worker_message", "revoke"]


async def test_claims_end_with_their_session() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        await asyncio.wait_for(one.session.send(claims_pb2.ClaimRequest(claim_id="c")), 60)
        fake.sessions.clear()
        fake.cut()
        await fake.until_hellos(2)
        async with asyncio.timeout(60):
            while not one.heard:
                await asyncio.sleep(0.01)
    assert [heard.claim_lost.claim.claim_id for heard in one.heard] == ["c"]


async def test_a_claim_that_nobody_waits_for_is_given_back() -> None:
    refusal = coordinator_pb2.Refusal(id="c")
    granted = coordinator_pb2.Proceed(claim=claims_pb2.Claim(claim_id="c"))
    async with fake_coordinator() as fake, worker(fake) as one:
        await asyncio.wait_for(one.session.send(claims_pb2.ClaimRequest(claim_id="c")), 60)
        fake.send(refusal=refusal)
        fake.send(proceed=granted)
        (release,) = await fake.until_said("claim_release")
    assert release.claim_id == "c"
    assert one.kinds() == ["refusal"]


async def test_a_worker_that_hears_nothing_connects_again() -> None:
    async with fake_coordinator() as fake:
        fake.grace_s = 0.3
        async with worker(fake) as one:
            await fake.until_hellos(2)
            await asyncio.wait_for(one.session.send(started()), 60)


async def test_calls_are_not_asked_of_a_coordinator_that_does_not_know_them() -> None:
    async with fake_coordinator() as fake, worker(fake) as one:
        await fake.until_hellos()
        async with asyncio.timeout(60):
            while one.session._version != 2:
                await asyncio.sleep(0.01)
        with pytest.raises(CoordError, match="UNSUPPORTED_VERSION"):
            one.session.send(admission_pb2.CallRequest(call_id="1"))
        await one.session.send(started())
