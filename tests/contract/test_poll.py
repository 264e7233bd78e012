"""Workers that keep no stream open say and hear the same."""

from typing import Any

import grpc
import pytest
from coord.v1 import common_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.coordinator_pb2_grpc import CoordinatorServiceStub
from coord_runtime.tokens import Kind

from tests.coordinator_rig import FLAGS, SERVICES, Fleet, ref, refusal, spec
from tests.serving import PROJECT, WAYS, served


class Polling:
    """A worker that polls."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self._stub: Any = CoordinatorServiceStub(fleet.running.channel(Kind.WORKER, name))
        self.hello = pb.Hello(
            protocol_version=2, project=PROJECT, worker=name, instance=f"{name}-1", slots=1
        )
        self.unacknowledged: list[pb.ConnectRequest] = []
        self.handled = 0
        self._sequence = 0

    def say(self, **message: Any) -> None:
        self._sequence += 1
        self.unacknowledged.append(pb.ConnectRequest(sequence=self._sequence, **message))

    async def poll(self, wait_s: int = 10) -> list[pb.ConnectResponse]:
        first = pb.ConnectRequest(acknowledged=self.handled, hello=self.hello)
        request = pb.PollRequest(
            project=PROJECT, messages=[first, *self.unacknowledged], wait={"seconds": wait_s}
        )
        response = await self._stub.Poll(request)
        welcome, *rest = response.messages
        self.hello.session_id = welcome.welcome.session_id
        self.hello.confirmed = welcome.acknowledged
        kept = [one for one in self.unacknowledged if one.sequence > welcome.acknowledged]
        self.unacknowledged = kept
        new = [message for message in rest if message.sequence > self.handled]
        self.handled = max([self.handled, *(one.sequence for one in new)])
        return new


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_that_polls_works_like_one_on_a_stream(way: str, tmp_path: Any) -> None:
    async with served(SERVICES, tmp_path, way, flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = Polling(fleet, "w")
        assert await worker.poll(0) == []
        await fleet.add(spec("a"))
        attempt = common_pb2.AttemptRef()
        for message in await worker.poll():
            attempt = ref(message.assigned)
        worker.handled = 0  # As if the answer had been lost: it comes again.
        assert ref((await worker.poll())[0].assigned) == attempt
        worker.say(started=pb.Started(attempt=attempt))
        worker.say(complete=pb.Complete(attempt=attempt))
        while worker.unacknowledged:
            await worker.poll(1)
        task = await fleet.task("a")
        assert task.state == queue_pb2.TASK_STATE_COMPLETE
        assert len(task.attempts) == 1


async def test_who_polls_has_its_slot_back_once_its_hello_names_a_stopped_attempt_no_more(
    tmp_path: Any,
) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        worker = Polling(fleet, "w")
        await worker.poll(0)
        await fleet.add(spec("a"), spec("b"))
        (assigned,) = await worker.poll()
        worker.hello.held.append(ref(assigned.assigned))
        await fleet.queue.CancelTasks(queue_pb2.CancelTasksRequest(project=PROJECT, task_ids=["a"]))
        (cancel,) = await worker.poll()
        assert cancel.HasField("cancel")
        assert await worker.poll(0) == []
        assert await fleet.why("b") == ["ALL_BUSY"]
        del worker.hello.held[:]
        (assigned,) = await worker.poll()
        assert ref(assigned.assigned).task_id == "b"


async def test_a_poll_that_does_not_begin_with_hello_is_refused(tmp_path: Any) -> None:
    async with served(SERVICES, tmp_path, "grpc", flags=FLAGS) as running:
        fleet = Fleet(running)
        stub: Any = CoordinatorServiceStub(running.channel(Kind.WORKER, "w"))
        beat = pb.ConnectRequest(heartbeat=pb.Heartbeat())
        for messages in ([], [beat]):
            error = await refusal(stub.Poll(pb.PollRequest(project=PROJECT, messages=messages)))
            assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL")
        assert not (
            await fleet.coordinator.ListWorkers(pb.ListWorkersRequest(project=PROJECT))
        ).workers
