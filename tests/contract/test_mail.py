"""Messages: who gets them, how long they are kept, and what is refused."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from coord.errors import unavailable
from coord.times import SECOND, duration
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord_coordinator import mail, service
from coord_coordinator.sqlite import SqliteCoordinatorStore
from coord_runtime.tokens import Kind

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, refusal
from tests.serving import PROJECT, Clock, served


async def send(fleet: Fleet, message_id: str, **more: Any) -> list[str]:
    message = pb.WorkerMessage(message_id=message_id, **more)
    request = pb.SendMessageRequest(project=PROJECT, message=message)
    return list((await fleet.coordinator.SendMessage(request)).workers)


async def test_a_message_of_the_operator_reaches_names_roles_and_everybody(
    tmp_path: Path,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        one, two = await fleet.worker("one", roles=["reviewer"]), await fleet.worker("two")
        assert await send(fleet, "1", worker="two", thread="t", body="x") == ["two"]
        assert await send(fleet, "2", role="reviewer") == ["one"]
        assert await send(fleet, "3", everybody=True) == ["one", "two"]
        heard = await two.hear("worker_message")
        assert (heard.sender, heard.thread, heard.body) == ("operator", "t", "x")
        assert (await one.hear("worker_message")).message_id == "2"
        stub: Any = CoordinatorServiceStub(running.channel(Kind.WORKER, "one"))
        message = pb.WorkerMessage(message_id="4", everybody=True, sender="two")
        answer = await stub.SendMessage(pb.SendMessageRequest(project=PROJECT, message=message))
        assert list(answer.workers) == ["two"]  # Not the sender, which is who has the token.


async def test_the_operator_reads_what_workers_send_until_it_is_said_to_be_read(
    tmp_path: Path,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        for number in ("1", "2"):
            asked = pb.WorkerMessage(message_id=number, worker="operator", body="may I?")
            await worker.acknowledgement(await worker.say(worker_message=asked))
        await send(fleet, "3", everybody=True)
        read = fleet.coordinator.ReadMessages
        found = (await read(pb.ReadMessagesRequest(project=PROJECT))).messages
        assert [(one.message_id, one.sender, one.body) for one in found] == [
            ("1", "w", "may I?"),
            ("2", "w", "may I?"),
        ]
        left = (await read(pb.ReadMessagesRequest(project=PROJECT, read_ids=["1", "3"]))).messages
        assert [one.message_id for one in left] == ["2"]
        stub: Any = CoordinatorServiceStub(running.channel(Kind.WORKER, "w"))
        error = await refusal(stub.ReadMessages(pb.ReadMessagesRequest(project=PROJECT)))
        assert error.code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_name_that_was_never_seen_and_a_role_that_none_has_are_refused(
    tmp_path: Path,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        for recipient in ({"worker": "w"}, {"role": "r"}, {"everybody": True}):
            error = await refusal(send(fleet, "1", **recipient))
            assert (error.code, error.reason) == (
                grpc.StatusCode.NOT_FOUND,
                "WORKER_NOT_FOUND",
            )
        for wrong in ({}, {"worker": "no name"}, {"everybody": True, "thread": "no id"}):
            error = await refusal(send(fleet, "1", **wrong))
            assert error.reason == "INVALID_FIELD"


async def _send_for_a_minute_and_for_two(fleet: Fleet, worker: str) -> None:
    for name, seconds in (("short", 60), ("long", 120)):
        kept = duration(seconds * SECOND)
        await send(fleet, f"{name}-{worker}", worker=worker, time_to_live=kept)


async def test_a_message_is_kept_until_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "_SWEEP_S", 0.01)
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        worker.stream.cancel()
        await _send_for_a_minute_and_for_two(fleet, "w")
        clock.pass_ns(90 * SECOND)
        await asyncio.sleep(0.2)  # The sweep goes by the real clock.
        again = await fleet.worker("w", instance="w-2")
        assert (await again.hear("worker_message")).message_id == "long-w"


async def test_what_has_expired_while_no_coordinator_was_there_is_not_delivered(
    tmp_path: Path,
) -> None:
    clock = Clock()
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        worker.stream.cancel()
        await _send_for_a_minute_and_for_two(fleet, "w")
        await _send_for_a_minute_and_for_two(fleet, "operator")
    clock.pass_ns(90 * SECOND)
    async with served(SERVICES, tmp_path, "grpc", clock, FLAGS) as running:
        fleet = Fleet(running)
        again = await fleet.worker("w", instance="w-2")
        assert (await again.hear("worker_message")).message_id == "long-w"
        notes = await fleet.coordinator.ReadMessages(pb.ReadMessagesRequest(project=PROJECT))
        assert [one.message_id for one in notes.messages] == ["long-operator"]


async def test_a_broadcast_reaches_who_comes_back_after_a_restart_and_waits_for_nobody_else(
    tmp_path: Path,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        crew = [await fleet.worker(name) for name in ("back", "new", "gone")]
        for worker in crew:
            worker.stream.cancel()
        assert await send(fleet, "1", everybody=True, thread="t") == ["back", "gone", "new"]
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        assert await send(fleet, "1", everybody=True, thread="t") == ["back", "gone", "new"]
        back = await fleet.back(crew[0], "back")
        new = await fleet.worker("new", instance="new-2")
        for worker in (back, new):
            heard = await worker.hear("worker_message")
            assert (heard.message_id, heard.thread) == ("1", "t")
        # What was handled before the next kill is not said again, whatever was sent twice.
        for worker in (back, new):
            said = pb.WorkerMessage(message_id=f"{worker.welcome.session_id}", worker="operator")
            await worker.acknowledgement(await worker.say(worker_message=said))
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        back = await fleet.back(back, "back")
        new = await fleet.worker("new", instance="new-3")
        assert await send(fleet, "2", everybody=True) == ["back", "gone", "new"]
        assert (await back.hear("worker_message")).message_id == "2"
        assert (await new.hear("worker_message")).message_id == "2"


async def test_what_expires_is_looked_for_again_after_the_store_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired: list[str] = []
    failures = iter([unavailable("STORE_FAILED", "the disk is full", retry_after_ns=0)])

    async def expire(self: SqliteCoordinatorStore, now_ns: int) -> list[str]:
        for failure in failures:
            raise failure
        found = await expire_letters(self, now_ns)
        expired.extend(found)
        return found

    expire_letters = SqliteCoordinatorStore.expire_letters
    monkeypatch.setattr(SqliteCoordinatorStore, "expire_letters", expire)
    monkeypatch.setattr(service, "_LOOP_AGAIN_S", 0.01)
    monkeypatch.setattr(mail, "_SWEEP_S", 0.01)
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        await send(fleet, "1", worker="operator", time_to_live=duration(1))
        async with asyncio.timeout(60):
            while expired != ["1"]:
                await asyncio.sleep(0.01)


async def test_a_full_mailbox_refuses_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "_WAITING_MAX", 2)
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = await fleet.worker("w")
        for message_id in ("1", "2"):
            await send(fleet, message_id, worker="w")
        error = await refusal(send(fleet, "3", worker="w"))
        assert (error.code, error.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "MAILBOX_FULL",
        )
        assert await send(fleet, "2", worker="w") == ["w"]  # It is there already.
        for _ in range(2):
            await worker.hear("worker_message")
        await worker.acknowledgement(
            await worker.say(worker_message=pb.WorkerMessage(message_id="own", worker="w"))
        )
        registry = running.node.registry
        assert registry.get_sample_value("coord_coordinator_messages_routed_total") == 2
