"""What the queue has answered is on disk: by kills, and by the system calls before each answer."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from coord.v1 import common_pb2
from coord.v1 import queue_pb2 as pb

from tests.crash.queue_campaign import PROJECT, Campaign, served_alone

_ROUNDS = 10
_SYNC = re.compile(r"\b(?:fsync|fdatasync)\(\d+<[^>]*queue\.db-wal>\) += 0|sync resumed>.* = 0")
_ANSWER = re.compile(r"\b(?:sendmsg|sendto|write|writev)\(\d+<TCP.*answer-")

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not there")


async def test_no_kill_takes_back_an_answer(tmp_path: Path) -> None:
    said = await Campaign(tmp_path, seed=3).run(kills=5)
    assert said.completed


@needs_strace
async def test_each_answer_leaves_after_its_sync(tmp_path: Path) -> None:
    answers = await traced(tmp_path, "-m", "coord_queue")
    assert answers == [True] * 3 * _ROUNDS


@needs_strace
async def test_the_traced_run_sees_where_a_sync_is_missing(tmp_path: Path) -> None:
    answers = await traced(tmp_path, "-m", "tests.crash.unsynced_queue")
    assert answers == [False] * 3 * _ROUNDS


async def traced(tmp_path: Path, *program: str) -> list[bool]:
    """Make writes one after another; return for each answer whether a sync came before it."""
    log = tmp_path / "calls"
    calls = "trace=fsync,fdatasync,sendmsg,sendto,write,writev"
    strace = ("strace", "-f", "-yy", "-s", "4096", "-e", calls, "-o", str(log))
    async with served_alone(tmp_path / "state", before=strace, program=program) as (_, stub):
        for number in range(_ROUNDS):
            spec = pb.TaskSpec(id=f"answer-{number}")
            await stub.AddTasks(pb.AddTasksRequest(project=PROJECT, tasks=[spec]))
            asking = pb.LeaseTasksRequest(project=PROJECT, worker="w", max_tasks=1)
            (lease,) = (await stub.LeaseTasks(asking)).leases
            token = lease.attempt.fencing_token
            attempt = common_pb2.AttemptRef(task_id=spec.id, fencing_token=token)
            done = pb.CompleteTasksRequest(
                project=PROJECT, completions=[pb.Completion(attempt=attempt)]
            )
            await stub.CompleteTasks(done)
        # A call is written down after it was made: one more, so that the last answer is there.
        await stub.GetQueueStats(pb.GetQueueStatsRequest(project=PROJECT))
    return list(answers_synced(log))


def answers_synced(log: Path) -> Iterator[bool]:
    synced = False
    for line in log.read_text().splitlines():
        if _SYNC.search(line):
            synced = True
        elif _ANSWER.search(line):
            yield synced
            synced = False
