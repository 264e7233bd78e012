"""What holds for every call, over gRPC and in process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from coord.client import connect
from coord.errors import CoordError, from_rpc
from coord.times import SECOND
from coord.v1 import queue_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_queue.service import QueueService
from coord_runtime.tokens import Kind, Principal, TokenMint
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import generate_latest

from tests.serving import PROJECT, WAYS, Served, served


@pytest.fixture(params=WAYS)
async def running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(QueueService, tmp_path, request.param) as one:
        yield one


async def refusal(call: Any) -> CoordError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)


async def test_a_call_without_a_token_is_refused(running: Served) -> None:
    channel: grpc.aio.Channel = running.node._local
    if running.way == "grpc":
        channel = grpc.aio.insecure_channel(running.node.address)
    async with channel:
        stub: Any = QueueServiceStub(channel)
        error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "NO_TOKEN")


@pytest.mark.parametrize("token", ["nonsense", "coord1.e30.AAAA", "a.b.c", "coord1.%%%.%%%"])
async def test_a_token_of_somebody_else_is_refused(tmp_path: Path, token: str) -> None:
    async with served(QueueService, tmp_path, "grpc") as running:
        async with connect(running.node.address, token) as channel:
            stub: Any = QueueServiceStub(channel)
            error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_TOKEN")


async def test_a_token_minted_with_another_key_is_refused(running: Served) -> None:
    forged = TokenMint(b"another").mint(Principal(Kind.OPERATOR, "operator", PROJECT))
    async with connect(running.node.address, forged) as channel:
        stub: Any = QueueServiceStub(channel)
        error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT)))
    assert error.reason == "INVALID_TOKEN"


async def test_a_worker_acts_for_itself_alone(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel(Kind.WORKER, "w1"))
    mine = pb.LeaseTasksRequest(project=PROJECT, worker="w1", max_tasks=1)
    assert not (await stub.LeaseTasks(mine)).leases
    theirs = pb.LeaseTasksRequest(project=PROJECT, worker="w2", max_tasks=1)
    error = await refusal(stub.LeaseTasks(theirs))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOUR_WORKER")


async def test_a_worker_reads_of_all(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel(Kind.WORKER, "w1"))
    for worker in ("", "w2"):
        request = pb.ListTasksRequest(project=PROJECT, worker=worker)
        assert not (await stub.ListTasks(request)).tasks


async def test_a_worker_may_not_do_what_the_operator_may(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel(Kind.WORKER, "w1"))
    error = await refusal(stub.CancelTasks(pb.CancelTasksRequest(project=PROJECT)))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_FOR_WORKERS")


async def test_a_token_is_for_one_project(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project="other")))
    assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOUR_PROJECT")


@pytest.mark.parametrize("project", ["", ".hidden", "a/b", "x" * 129])
async def test_a_project_needs_a_proper_name(running: Served, project: str) -> None:
    stub: Any = QueueServiceStub(running.channel())
    error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project=project)))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert error.metadata == {"field": "project"}


async def test_a_batch_of_more_than_a_thousand_is_refused_whole(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    tasks = [pb.TaskSpec(id=f"t{number}") for number in range(1_001)]
    error = await refusal(stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=tasks)))
    assert error.reason == "TOO_MANY_ITEMS"
    assert not (await stub.ListTasks(pb.ListTasksRequest(project=PROJECT))).tasks


async def test_a_text_with_nul_is_refused(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    tasks = [pb.TaskSpec(id="t", title="a\0b")]
    error = await refusal(stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=tasks)))
    assert error.reason == "INVALID_FIELD"


async def test_the_same_request_id_gets_the_same_answer(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    request = pb.AddTasksRequest(project=PROJECT, request_id="r", tasks=[pb.TaskSpec(id="t")])
    first = await stub.AddTasks(request)
    assert await stub.AddTasks(request) == first
    assert first.existing == 0
    request.tasks[0].title = "another body"
    assert (await refusal(stub.AddTasks(request))).reason == "REQUEST_ID_REUSED"


async def test_the_same_request_id_of_another_caller_is_another_request(running: Served) -> None:
    request = pb.AddTasksRequest(project=PROJECT, request_id="r", tasks=[pb.TaskSpec(id="t")])
    await QueueServiceStub(running.channel()).AddTasks(request)
    other: Any = QueueServiceStub(running.channel(Kind.OPERATOR, "other"))
    assert (await other.AddTasks(request)).existing == 1


async def test_a_request_id_is_remembered_across_a_restart(tmp_path: Path) -> None:
    request = pb.AddTasksRequest(project=PROJECT, request_id="r", tasks=[pb.TaskSpec(id="t")])
    answers = []
    for _ in range(2):
        async with served(QueueService, tmp_path, "grpc") as running:
            answers.append(await QueueServiceStub(running.channel()).AddTasks(request))
    assert answers[0] == answers[1]


async def test_a_draining_service_sends_callers_away_for_a_while(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    running.node._pipeline.draining = True
    error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert error.retry_after_ns == SECOND


async def test_a_failing_handler_is_an_internal_error_and_the_next_call_is_served(
    running: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub: Any = QueueServiceStub(running.channel())
    path = "/coord.v1.QueueService/GetQueueStats"
    method = running.node._pipeline.methods[path]

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(
        running.node._pipeline.methods, path, type(method)(**{**vars(method), "handler": broken})
    )
    if running.way == "in process":
        error = await refusal(stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT)))
        assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    await stub.ListTasks(pb.ListTasksRequest(project=PROJECT))


async def test_calls_are_counted_by_method_and_code(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    await stub.ListTasks(pb.ListTasksRequest(project=PROJECT))
    await refusal(stub.GetTask(pb.GetTaskRequest(project=PROJECT, task_id="none")))
    metrics = generate_latest(running.node.registry).decode()
    labels = 'grpc_method="{}",grpc_service="coord.v1.QueueService",grpc_type="unary"'
    listed = labels.format("ListTasks")
    assert f'grpc_server_handled_total{{grpc_code="OK",{listed}}} 1.0' in metrics
    missing = labels.format("GetTask")
    assert f'grpc_server_handled_total{{grpc_code="NotFound",{missing}}} 1.0' in metrics
    assert f"grpc_server_started_total{{{listed}}} 1.0" in metrics


async def test_a_cancelled_caller_does_not_undo_its_write(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    tasks = [pb.TaskSpec(id=f"t{number}") for number in range(1_000)]
    call = asyncio.ensure_future(stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=tasks)))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    stats = await stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT))
    assert stats.ready in (0, 1_000)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:5000", "example.org:1"])
async def test_an_address_that_others_can_reach_is_refused_without_tls(
    tmp_path: Path, address: str
) -> None:
    with pytest.raises(CoordError) as caught:
        async with served(QueueService, tmp_path, "grpc", flags={"node": {"listen": address}}):
            pass
    assert caught.value.reason == "INSECURE_ADDRESS"
    async with served(QueueService, tmp_path, "grpc"):
        pass  # Nothing was left running or locked.


async def test_a_folder_has_one_owner_and_the_next_is_told_who(tmp_path: Path) -> None:
    async with served(QueueService, tmp_path, "grpc"):
        with pytest.raises(CoordError) as caught:
            async with served(QueueService, tmp_path, "grpc"):
                pass
    assert caught.value.reason == "FOLDER_LOCKED"
    assert caught.value.metadata["pid"].isdigit()


async def test_metrics_are_served_on_a_port_of_their_own(tmp_path: Path) -> None:
    flags = {"node": {"metrics": "127.0.0.1:0"}}
    async with served(QueueService, tmp_path, "grpc", flags=flags) as running:
        await QueueServiceStub(running.channel()).ListTasks(pb.ListTasksRequest(project=PROJECT))
        url = f"http://{running.node.metrics_address}/metrics"
        text = await asyncio.to_thread(lambda: urlopen(url).read().decode())
    assert "grpc_server_handled_total" in text
    assert "coord_queue_lease_expiries_total" in text
    flags = {"node": {"metrics": "0.0.0.0:0"}}
    with pytest.raises(CoordError, match="other machines"):
        async with served(QueueService, tmp_path, "grpc", flags=flags):
            pass


async def test_health_and_reflection_answer(tmp_path: Path) -> None:
    async with served(QueueService, tmp_path, "grpc") as running:
        async with grpc.aio.insecure_channel(running.node.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service="coord.v1.QueueService")
            answer = await health.Check(request)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            await running.node.drain()
            answer = await health.Check(request)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            untyped: Any = channel
            reflect: Any = reflection_pb2_grpc.ServerReflectionStub(untyped)
            call: Any = reflect.ServerReflectionInfo()
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            services = (await call.read()).list_services_response.service
            assert "coord.v1.QueueService" in {service.name for service in services}
            call.cancel()


async def test_a_watch_goes_on_where_it_was(running: Served) -> None:
    stub: Any = QueueServiceStub(running.channel())
    for name in ("a", "b", "c"):
        tasks = [pb.TaskSpec(id=name)]
        await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=tasks))
    call = stub.WatchQueueEvents(pb.WatchQueueEventsRequest(project=PROJECT, after=1))
    events: list[pb.QueueEvent] = []
    while len(events) < 2:
        events += (await call.read()).events
    assert [event.task_id for event in events] == ["b", "c"]
    tasks = [pb.TaskSpec(id="d")]
    await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=tasks))
    assert [event.meta.sequence for event in (await call.read()).events] == [4]
    call.cancel()
