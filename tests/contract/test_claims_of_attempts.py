"""Claims of workers and their attempts, what dispatch makes of them, and who is told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from coord.v1 import claims_pb2, queue_pb2
from coord.v1 import coordinator_pb2 as pb
from coord.v1.queue_pb2_grpc import QueueServiceStub
from coord_coordinator.guard_file import GuardFile
from coord_runtime.tokens import Kind

from tests.claims_rig import HELD, shells
from tests.coordinator_rig import SERVICES, ref, spec
from tests.serving import PROJECT, served


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
        async with asyncio.timeout(60):
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
        async with asyncio.timeout(60):
            while not file.exists():
                await asyncio.sleep(0.01)
        draft.mkdir()
        await people.ask("ann", "1", "src/*.py")
        # The claim itself makes it try twice: later tries come without any change.
        later = tries + 3
        async with asyncio.timeout(60):
            while tries < later:
                await asyncio.sleep(0.01)
        assert "ann" not in file.read_text()
        draft.rmdir()
        async with asyncio.timeout(60):
            while "ann" not in file.read_text():
                await asyncio.sleep(0.01)
